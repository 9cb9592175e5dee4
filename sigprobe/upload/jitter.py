"""Spread uploads in time, so that not all probes reconnect in the same second."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from sigprobe.upload.backoff import Backoff

OWN_LINK_S: Final = 3.0
COLLECTOR_S: Final = 300.0
AWAY_AFTER: Final = 4
"""Failures in a row after which a collector counts as away, and no longer as a hiccup of the way: half a minute."""


def share(probe_id: str, purpose: str) -> float:
    """Return a constant of this probe from 0 to below 1."""
    digest = hashlib.sha256(f"{purpose}:{probe_id}".encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48


def after_link_up_s(probe_id: str) -> float:
    """Return the wait after this device's own link has come up: 0 to 3 seconds."""
    return share(probe_id, "link") * OWN_LINK_S


def next_try_s(backoff: Backoff, urls: Sequence[str], probe_id: str, *, link_up: bool) -> float:
    """Return the seconds until the next attempt: the shortest backoff, plus 0 to 300 if the collectors failed, not the
    link."""
    wait = min((backoff.wait_s(url) for url in urls), default=0.0)
    away = link_up and bool(urls) and min(backoff.of(url).failures for url in urls) >= AWAY_AFTER
    return wait + (share(probe_id, "collector") * COLLECTOR_S if away else 0.0)
