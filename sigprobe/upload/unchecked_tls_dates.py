"""Store when a collector was last asked without a check of its certificate's dates, beside the queue.

Skipping the dates is an opt-in of the settings. The settings may change, so its use is stored.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from sigprobe.files.atomic import note_state, read_state
from sigprobe.record.result import format_time, parse_time


def unchecked_file(queue: Path) -> Path:
    """Return the path of the file, beside the queue."""
    return queue.with_name(queue.name + ".unchecked.json")


def note_unchecked(queue: Path, urls: Sequence[str], now_s: float | None = None) -> None:
    """Store that these collectors were asked so just now (wall-clock seconds); without any, nothing changes."""
    if urls:
        when = datetime.fromtimestamp(max(0.0, time.time() if now_s is None else now_s), UTC)
        note_state(unchecked_file(queue), {"at": format_time(when), "collectors": sorted(set(urls))})


def last_unchecked(queue: Path) -> tuple[str, list[str]] | None:
    """Return the last time (RFC 3339 UTC) and its collectors; None when it never happened, or cannot be read."""
    document = read_state(unchecked_file(queue))
    at, urls = document.get("at"), document.get("collectors")
    if not isinstance(at, str) or parse_time(at) is None or not isinstance(urls, list):
        return None
    return at, [url for url in urls if isinstance(url, str)]
