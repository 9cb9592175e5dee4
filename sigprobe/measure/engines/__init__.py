"""The ways to measure throughput, one file each; loaded only when one is used."""
