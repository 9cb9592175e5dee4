"""Log in, tell tokens and sessions apart, and decide who may read."""
