"""Let the second site take over."""
