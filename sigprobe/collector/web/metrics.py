"""Write the metrics of one process, or those of all processes under one supervisor, added up.

Under a supervisor each process keeps its values in a file of its own, in a directory that all of them read
(prometheus-client's multi-process mode). So any of them can answer for all, also while the database is away. Counters
of a process that has ended stay in its file, and the process that takes its place goes on from them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest, multiprocess, values

_DIRECTORY: Final = "PROMETHEUS_MULTIPROC_DIR"


@dataclass(slots=True)
class Metrics:
    """The metrics of a process."""

    registry: CollectorRegistry = field(default_factory=lambda: CollectorRegistry(auto_describe=True))
    _live: list[tuple[Gauge, Callable[[], float]]] = field(default_factory=list)
    _counted: list[tuple[Counter, Callable[[], int]]] = field(default_factory=list)
    _seen: dict[int, int] = field(default_factory=dict)

    def live(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Add a gauge that is asked when metrics are read. Of several processes the sum of the living is shown."""
        self._live.append((Gauge(name, text, registry=self.registry, multiprocess_mode="livesum"), value))

    def counted(self, name: str, text: str, value: Callable[[], int]) -> None:
        """Add a counter that is asked like a gauge; `value` never falls."""
        self._counted.append((Counter(name, text, registry=self.registry), value))

    def refresh(self) -> None:
        """Ask all gauges. Processes under a supervisor do so each second, for the one that is asked."""
        for gauge, value in self._live:
            gauge.set(value())
        for place, (counter, count) in enumerate(self._counted):
            now = count()
            counter.inc(now - self._seen.get(place, 0))
            self._seen[place] = now

    def text(self) -> bytes:
        """Return Prometheus text: of all processes where there are several."""
        self.refresh()
        directory = os.environ.get(_DIRECTORY)
        if directory is None:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        multiprocess.MultiProcessCollector(together, path=directory)  # type: ignore[no-untyped-call]
        return generate_latest(together)


def share(directory: Path) -> None:
    """Let the processes that this one starts keep their metrics in files of this directory."""
    os.environ[_DIRECTORY] = str(directory)


def join(place: int) -> None:
    """Keep the metrics of this process in the files of its place. Call it before any metric is made."""
    values.ValueClass = values.MultiProcessValue(lambda: place)  # type: ignore[no-untyped-call]


def leave(place: int) -> None:
    """Remove the gauges of a process that has ended; its counters stay."""
    multiprocess.mark_process_dead(place)  # type: ignore[no-untyped-call]
