"""sigprobe measures a connection, keeps every result, and says whose fault it is."""

__version__ = "0.1.0"
