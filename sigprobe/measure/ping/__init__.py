"""Measure round-trip time, loss and jitter to a host."""
