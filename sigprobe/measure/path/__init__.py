"""Follow the network path from this device outwards, step by step."""
