"""Send the queue to a collector, and take a record off it only on a verified receipt."""

from __future__ import annotations

from sigprobe.upload.backoff import Backoff
from sigprobe.upload.drain import Mode, Report, Upload, drain
from sigprobe.upload.transport import Collector, Reply, TransportError, post

__all__ = [
    "Backoff",
    "Collector",
    "Mode",
    "Reply",
    "Report",
    "TransportError",
    "Upload",
    "drain",
    "post",
]
