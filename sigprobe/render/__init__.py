"""Draw results for people and serialize them for programs."""
