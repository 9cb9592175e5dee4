"""Run small servers on loopback that answer as a test says, mostly wrongly. Each fault is a few lines."""
