"""sigprobe measures a connection, keeps every result, and says whose fault it is."""

__version__ = "0.2.0"
__released__ = "2026-11-01"
"""No later than the day this version was released; set together with the version. Earlier clocks are wrong."""
