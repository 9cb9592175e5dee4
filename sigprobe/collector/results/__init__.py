"""Show stored results: API, pages and their views."""
