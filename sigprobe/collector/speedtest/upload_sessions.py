"""Count the bytes received in each upload session over time: data that a probe cannot see itself."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

MAX_SESSIONS: Final = 1000
KEEP_S: Final = 120.0
FIRST_STEP_S: Final = 0.01
MAX_SAMPLES: Final = 256
BURST_BYTES: Final = 256 * 1024
BURST_S: Final = 0.02
"""So many bytes in so short a time came from a memory nearby: they show no link's pace."""

LEAST_SHARE: Final = 0.25
"""The least part of an upload's time in which a body is open, where clients send one body behind the other."""


class Arrivals:
    """Bytes over time for one session, in a bounded number of samples: at the bound, every second one is dropped."""

    __slots__ = ("_busy_s", "_first_s", "_last_s", "_samples", "_step_s", "bytes")

    def __init__(self) -> None:
        self.bytes = 0
        self._first_s: float | None = None
        self._busy_s = 0.0
        self._last_s = 0.0
        self._step_s = FIRST_STEP_S
        self._samples: list[tuple[float, int]] = []

    def add(self, count: int, now_s: float, opened_s: float | None = None) -> None:
        """Count bytes that have just arrived, of a body whose head came at `opened_s`."""
        if self._first_s is None:
            self._first_s = now_s
        else:
            # time without an open body does not count, however many bodies are open at once
            since_s = self._last_s if opened_s is None else max(self._last_s, opened_s)
            self._busy_s += now_s - since_s
        self.bytes += count
        self._last_s = now_s
        at_s = now_s - self._first_s
        samples = self._samples
        # a sample is the state at the end of its step, so the running step's is written over
        if len(samples) > 1 and at_s - samples[-2][0] < self._step_s:
            samples[-1] = (at_s, self.bytes)
            return
        samples.append((at_s, self.bytes))
        if len(samples) > MAX_SAMPLES:
            # the first stays (it is where time begins) and so does the last
            self._samples = [samples[0], *samples[1:-1][1::2], samples[-1]]
            self._step_s *= 2

    def last_s(self) -> float:
        """Return the moment of the last arrival, on the caller's clock; 0 before the first."""
        return self._last_s

    def buffered(self) -> bool:
        """Whether bodies came whole and at once: something on the way keeps each until its end.

        Their times then show how fast that passes them on, and nothing of the client's link.
        """
        if self._first_s is None or self.bytes < BURST_BYTES:
            return False
        span_s = self._last_s - self._first_s
        return span_s < BURST_S or self._busy_s < LEAST_SHARE * span_s

    def report(self) -> dict[str, Any]:
        """`bytes`, `elapsed_s` from the first to the last arrival (null before any), `samples` [[s, bytes], …].

        `buffered` is true where the samples are none to read a rate from.
        """
        elapsed_s = None if self._first_s is None else round(self._last_s - self._first_s, 6)
        return {
            "bytes": self.bytes,
            "elapsed_s": elapsed_s,
            "buffered": self.buffered(),
            "samples": [[round(at_s, 4), total] for at_s, total in self._samples],
        }


class Sessions:
    """The sessions of the last minutes: bounded in number (the oldest goes) and in time since their last byte."""

    def __init__(self, *, clock: Callable[[], float], max_sessions: int = MAX_SESSIONS, keep_s: float = KEEP_S) -> None:
        self._clock = clock
        self._max_sessions = max_sessions
        self._keep_s = keep_s
        self._sessions: OrderedDict[str, Arrivals] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    def counter(self, session: str | None) -> Callable[[int], None] | None:
        """Return what counts one upload's bytes; None for an upload without a session."""
        if session is None:
            return None
        arrivals = self._sessions.get(session)
        if arrivals is None:
            self._forget()
            arrivals = self._sessions[session] = Arrivals()
        self._sessions.move_to_end(session)
        clock = self._clock
        opened_s = clock()

        def count(size: int) -> None:
            arrivals.add(size, clock(), opened_s)

        return count

    def report(self, session: str) -> dict[str, Any]:
        """Return what arrived for a session; an unknown one is one for which nothing did."""
        return (self._sessions.get(session) or Arrivals()).report()

    def _forget(self) -> None:
        now = self._clock()
        while self._sessions:
            oldest = next(iter(self._sessions.values()))
            stale = now - oldest.last_s() > self._keep_s
            if not stale and len(self._sessions) < self._max_sessions:
                return
            self._sessions.popitem(last=False)
