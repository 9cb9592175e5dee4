"""Authenticate tokens and sessions, and authorise readers."""
