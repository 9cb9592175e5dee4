"""Serve the server side of the speed, page and video checks."""
