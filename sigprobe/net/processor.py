"""Measure whether this device had processor time for what it measured.

A device at 100 % and a throttled container read and send late. Their rates are too low and their delays too long, as on
a slow link. Signs: a sleeping thread wakes late, ready threads wait for a processor, or this process uses a whole one.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from sigprobe.record.result import Processor

WAIT_RATIO: Final = 0.3
"""From this share of time on, in which a ready thread waited for a processor, a rate is only a lower bound."""
USED_RATIO: Final = 0.9
LATE_MS: Final = 20.0
"""A thread that wakes so late on average sees packets that much later than they arrived."""

_SLEEP_S: Final = 0.025
_LOOK_S: Final = 0.1
_LEAST_S: Final = 0.2
_TASKS: Final = Path("/proc/self/task")


@dataclass(frozen=True, slots=True)
class Mark:
    """State of the watch at the start of a check."""

    at_s: float
    used_s: float
    wakes: int
    waits_ns: dict[str, int]


class ProcessorWatch:
    """Watch the processor time of this process while the context is open."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, tasks: Path = _TASKS) -> None:
        self._clock = clock
        self._tasks = tasks
        self._over = threading.Event()
        self._looking = threading.Lock()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="processor")
        self._first_ns: dict[str, int] = {}
        self._last_ns: dict[str, int] = {}
        self._late_s: list[float] = []

    def __enter__(self) -> Self:
        """Start to watch."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop to watch."""
        self._over.set()
        self._thread.join()

    def mark(self) -> Mark:
        """Return the present state, for `since`."""
        self._look()
        with self._looking:
            return Mark(self._clock(), _used_s(), len(self._late_s), dict(self._last_ns))

    def since(self, mark: Mark) -> Processor | None:
        """Return the processor time since a mark; None where too little time has passed to tell."""
        seconds = self._clock() - mark.at_s
        if seconds < _LEAST_S:
            return None
        self._look()
        with self._looking:
            waits = [ns - mark.waits_ns.get(name, self._first_ns[name]) for name, ns in self._last_ns.items()]
            late = self._late_s[mark.wakes :]
        wait = round(min(1.0, max(waits) / 1e9 / seconds), 3) if waits else None
        used = round((_used_s() - mark.used_s) / seconds, 3)
        wake_late_ms = round(1000 * sum(late) / len(late), 1) if late else None
        busy = (wait or 0) >= WAIT_RATIO or used >= USED_RATIO or (wake_late_ms or 0) >= LATE_MS
        return Processor(busy, wait, used, wake_late_ms)

    def _watch(self) -> None:
        looked_s = 0.0
        while not self._over.is_set():
            due_s = self._clock() + _SLEEP_S
            if not self._over.wait(_SLEEP_S):
                self._late_s.append(max(0.0, self._clock() - due_s))
            if self._clock() - looked_s >= _LOOK_S:
                self._look()
                looked_s = self._clock()

    def _look(self) -> None:
        found = _waited_ns(self._tasks)
        with self._looking:
            for name, waited_ns in found.items():
                self._first_ns.setdefault(name, waited_ns)
                self._last_ns[name] = max(waited_ns, self._last_ns.get(name, 0))


def _waited_ns(tasks: Path) -> dict[str, int]:
    """Return by thread how long it was ready without a processor since it began; empty where that is not counted."""
    try:
        names = [path.name for path in tasks.iterdir()]
    except OSError:
        return {}
    found = {}
    for name in names:
        try:
            ran, waited, *_ = (tasks / name / "schedstat").read_bytes().split()
            if int(ran):
                found[name] = int(waited)
        except (OSError, ValueError):
            continue  # the thread has ended
    return found


def _used_s() -> float:
    """Return the processor time of this process and of the programs that it ran."""
    told = os.times()
    return told.user + told.system + told.children_user + told.children_system
