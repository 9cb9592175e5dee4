"""Summarise round trips: centre, spread and jitter."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise


def jitter_ms(rtts_ms: Sequence[float | None]) -> float | None:
    """Interarrival jitter (RFC 3550 §6.4.1) over round trips in sending order, in milliseconds.

    Only neighbours are compared: a lost packet (None) breaks the chain. None without a single pair.
    """
    jitter: float | None = None
    for before, after in pairwise(rtts_ms):
        if before is not None and after is not None:
            so_far = jitter or 0.0
            jitter = so_far + (abs(after - before) - so_far) / 16
    return jitter


def summarise(rtts_ms: Sequence[float | None]) -> dict[str, float | None]:
    """Minimum, mean, median, maximum, population standard deviation and jitter of round trips, to the microsecond.

    Everything is None when nothing was answered; the deviation needs two answers.
    """
    seen = [rtt for rtt in rtts_ms if rtt is not None]
    jitter = jitter_ms(rtts_ms)
    if not seen:
        names = ("rtt_min_ms", "rtt_avg_ms", "rtt_median_ms", "rtt_max_ms", "rtt_stddev_ms", "jitter_ms")
        return dict.fromkeys(names)
    return {
        "rtt_min_ms": round(min(seen), 3),
        "rtt_avg_ms": round(math.fsum(seen) / len(seen), 3),
        "rtt_median_ms": round(statistics.median(seen), 3),
        "rtt_max_ms": round(max(seen), 3),
        "rtt_stddev_ms": round(statistics.pstdev(seen), 3) if len(seen) > 1 else None,
        "jitter_ms": None if jitter is None else round(jitter, 3),
    }
