"""Small servers of our own on loopback. They answer as told, mostly with lies; each fault is a few lines."""
