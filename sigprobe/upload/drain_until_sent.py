"""Repeat uploads until everything is sent: wait for backoff and jitter, retry at once when a link comes up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from sigprobe.buffer import Buffer
from sigprobe.net.connectivity import Watch
from sigprobe.upload import jitter
from sigprobe.upload.backoff import Backoff
from sigprobe.upload.drain import drain
from sigprobe.upload.report import Mode, Report
from sigprobe.upload.transport import Collector

LOOK_AGAIN_S: Final = 900.0
"""The longest pause: by then a token may have been changed, or another process may have been luckier."""
_LEAST_S: Final = 1.0


def _nothing(*_: object) -> None:
    return None


def drain_until_sent(
    buffer: Buffer,
    collectors: Callable[[], Sequence[Collector]],
    backoff: Callable[[], Backoff],
    watch: Watch,
    *,
    limit_s: float | None = None,
    progress: Callable[[Report], None] = _nothing,
    waiting: Callable[[Report, float], None] = _nothing,
    stop: threading.Event | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Report:
    """Upload until nothing is pending, `stop` is set or `limit_s` has passed. Returns the sum of all uploads.

    Collectors and backoff are read again for every upload, since a token may change and another process may have tried.
    `waiting` gets the state so far and the seconds until the next attempt.
    """
    total = Report()
    ends_at = float("inf") if limit_s is None else clock() + limit_s
    while True:
        left = ends_at - clock()
        senders, memory = collectors(), backoff()
        report = drain(
            buffer,
            senders,
            memory,
            mode=Mode.QUIET,
            limit_s=None if left == float("inf") else max(0.0, left),
            progress=lambda now: progress(_sum(total, now)),
            stop=stop,
        )
        total.add(report)
        stopped = stop is not None and stop.is_set()
        if report.stopped is None or stopped or clock() >= ends_at:
            return total
        urls = [c.url for c in senders if not memory.is_refused(c.url, c.token)]
        pause = jitter.next_try_s(memory, urls, buffer.probe_id, link_up=bool(watch.ways)) if urls else LOOK_AGAIN_S
        pause = min(max(pause, _LEAST_S), LOOK_AGAIN_S + jitter.COLLECTOR_S, ends_at - clock())
        waiting(total, pause)
        if watch.wait(pause):
            watch.wait(min(jitter.after_link_up_s(buffer.probe_id), max(0.0, ends_at - clock())))
            backoff().link_came_up([c.url for c in senders])


def _sum(total: Report, now: Report) -> Report:
    both = Report()
    both.add(total)
    both.add(now)
    return both
