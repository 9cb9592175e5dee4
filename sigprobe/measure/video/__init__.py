"""Download a segmented video and simulate its playback."""
