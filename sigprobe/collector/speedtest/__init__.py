"""Serve the other end of the speed, page and video checks."""
