"""Copy the collector's database while it serves, and put a copy back."""
