"""Define the bounds of a plausible time, from this program's own release date. They need no network."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import sigprobe

RELEASED: Final = datetime.fromisoformat(sigprobe.__released__).replace(tzinfo=UTC)
"""No clock that shows the right time shows an earlier one while this version runs."""

LATEST: Final = RELEASED + timedelta(days=15 * 365)
"""No later time is believed. GPS counts weeks modulo 1024, so a wrong count is off by 19.6 years: never within."""


def is_plausible(when: datetime) -> bool:
    """Return True for a time from the release of this version to 15 years after it."""
    return RELEASED <= when <= LATEST


def is_plausible_timestamp(seconds: float) -> bool:
    """Return the same for seconds since 1970."""
    return RELEASED.timestamp() <= seconds <= LATEST.timestamp()
