"""The verbs of the command line, one file each. Their tops import nothing heavy: a verb loads what it needs."""
