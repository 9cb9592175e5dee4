"""Define the limits and the result of one direction of a throughput test."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from sigprobe.measure.throughput.arrivals import Arrivals
from sigprobe.measure.throughput.connection import FaultError
from sigprobe.measure.throughput.convergence import Speed
from sigprobe.record.window import Window

Ended = Literal["converged", "data_cap", "time_cap"]


@dataclass(frozen=True, slots=True)
class TransferPlan:
    """The bounds of one direction. `streams` None: as many as the beginning of the transfer shows to be useful.

    `cap_bytes` counts bytes on the wire both ways, with headers.
    `rtt_s` is the shortest round trip at rest, `rest_s` the longest. A slow link may take up to `most_s`.
    """

    cap_bytes: int
    max_s: float
    rtt_s: float
    rest_s: float | None = None
    streams: int | None = None
    session: str = ""
    fraction: tuple[float, float] = (0.0, 1.0)
    most_s: float = 0.0


@dataclass(slots=True)
class Transfer:
    """The result of one direction: payload bytes on the link, seconds, why it ended, the speed or the failure.

    `wire_bytes` is all that has crossed the interface both ways, what was under way at the end included.
    """

    bytes: int = 0
    wire_bytes: int = 0
    elapsed_s: float = 0.0
    ended: Ended | None = None
    speed: Speed | None = None
    window: Window | None = None
    fault: FaultError | None = None
    streams: int = 0
    retransmits: int | None = None
    counted_by: str | None = None
    loaded_rtts_s: list[float] = field(default_factory=list)
    series: Arrivals = field(default_factory=Arrivals)
