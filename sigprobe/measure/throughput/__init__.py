"""Measure download and upload rates within limits of bytes and seconds."""
