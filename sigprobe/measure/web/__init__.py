"""Fetch a page with its resources, as a browser does."""
