"""What people and programs see: the screen, the live line, the status, and the one serializer for machines."""
