"""Send the queue to a collector; remove a record only after a verified receipt."""

from __future__ import annotations

from sigprobe.upload.backoff import Backoff
from sigprobe.upload.drain import Upload, drain
from sigprobe.upload.report import Mode, Report
from sigprobe.upload.transport import Channel, Collector, Reply, TransportError, open_channel, post

__all__ = [
    "Backoff",
    "Channel",
    "Collector",
    "Mode",
    "Reply",
    "Report",
    "TransportError",
    "Upload",
    "drain",
    "open_channel",
    "post",
]
