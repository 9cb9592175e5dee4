"""Fetch one page, and time each phase."""
