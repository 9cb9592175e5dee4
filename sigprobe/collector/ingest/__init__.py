"""Receive batches, store each record once, and answer with its status."""
