"""Shared parts of the verbs: terminal, values, usage errors, signals, log file."""
