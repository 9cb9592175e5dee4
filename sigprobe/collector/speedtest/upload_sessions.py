"""Count the bytes received in each upload session over time: data that a probe cannot see itself."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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

    def series(self) -> Series:
        """Return what has arrived until now."""
        span_s = 0.0 if self._first_s is None else self._last_s - self._first_s
        return Series(self.bytes, self._first_s, span_s, self._busy_s, tuple(self._samples))

    def report(self) -> dict[str, Any]:
        """See `merged_report`."""
        return merged_report([self.series()])


@dataclass(frozen=True, slots=True)
class Series:
    """Bytes over time as one process saw them: `samples` are seconds since `first_s`, and the bytes until then."""

    bytes: int
    first_s: float | None
    span_s: float
    busy_s: float
    samples: tuple[tuple[float, int], ...]

    def to_json(self) -> str:
        """Return it as text."""
        return json.dumps([self.bytes, self.first_s, self.span_s, self.busy_s, self.samples])

    @classmethod
    def from_json(cls, text: str) -> Series:
        """Return what `to_json` wrote."""
        count, first_s, span_s, busy_s, samples = json.loads(text)
        return cls(count, first_s, span_s, busy_s, tuple((at_s, total) for at_s, total in samples))

    def moved(self, by_s: float) -> Series:
        """Return it on another clock."""
        return self if self.first_s is None else replace(self, first_s=self.first_s + by_s)

    def until(self, at_s: float) -> float:
        """Return the bytes that had arrived at a time on the clock of `first_s`, between two samples by their line."""
        if self.first_s is None or not self.samples or at_s < self.first_s:
            return 0.0
        at_s -= self.first_s
        after = bisect_right(self.samples, at_s, key=lambda sample: sample[0])
        if after == len(self.samples):
            return float(self.samples[-1][1])
        if after == 0:
            return float(self.samples[0][1])
        (from_s, low), (to_s, high) = self.samples[after - 1], self.samples[after]
        return low + (high - low) * (at_s - from_s) / (to_s - from_s)


def merged_report(parts: Sequence[Series]) -> dict[str, Any]:
    """Return what a session's processes saw together: `bytes`, `elapsed_s`, `buffered`, `samples` [[s, bytes], …].

    `elapsed_s` is from the first to the last arrival, null before any. `buffered` is true where bodies came whole and
    at once: something on the way keeps each until its end. The samples then show how fast that passes them on, and
    nothing of the client's link.
    """
    seen = [(part.first_s, part) for part in parts if part.first_s is not None]
    count = sum(part.bytes for part in parts)
    if not seen:
        return {"bytes": count, "elapsed_s": None, "buffered": False, "samples": []}
    first_s = min(began_s for began_s, _ in seen)
    span_s = max(began_s + part.span_s for began_s, part in seen) - first_s
    if len(seen) == 1:
        samples = [[round(at_s, 4), total] for at_s, total in seen[0][1].samples]
    else:
        moments = sorted({began_s + at_s for began_s, part in seen for at_s, _ in part.samples})
        while len(moments) > MAX_SAMPLES:
            moments = [moments[0], *moments[1:-1][1::2], moments[-1]]
        samples = [[round(at_s - first_s, 4), round(sum(part.until(at_s) for _, part in seen))] for at_s in moments]
        # rounding may have moved it
        samples[-1][1] = count
    # a body that alternates between processes is open in one of them at a time
    busy_s = sum(part.busy_s for _, part in seen)
    return {
        "bytes": count,
        "elapsed_s": round(span_s, 6),
        "buffered": count >= BURST_BYTES and (span_s < BURST_S or busy_s < LEAST_SHARE * span_s),
        "samples": samples,
    }


class Sessions:
    """The sessions of the last minutes: bounded in number (the oldest goes) and in time since their last byte."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        max_sessions: int = MAX_SESSIONS,
        keep_s: float = KEEP_S,
        forget: Callable[[str], None] = lambda _session: None,
    ) -> None:
        """`forget` is told of each session that goes."""
        self._clock = clock
        self._tell = forget
        self._max_sessions = max_sessions
        self._keep_s = keep_s
        self._sessions: OrderedDict[str, Arrivals] = OrderedDict()

    def get(self, session: str) -> Arrivals | None:
        """Return what arrived for a session here; None where nothing did."""
        return self._sessions.get(session)

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
            self._tell(self._sessions.popitem(last=False)[0])
