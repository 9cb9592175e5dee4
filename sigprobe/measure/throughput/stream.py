"""One connection of a transfer, and what the kernel says has got through on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sigprobe.measure.throughput import tcp_info
from sigprobe.measure.throughput.connection import Connection

RETRIES: Final = 2
MIB: Final = 1024 * 1024
MOST_MIB: Final = 100
"""The most that LibreSpeed's servers send for one request."""


class Stream:
    """One connection of a transfer and what went over it. A held one is open, and asks for nothing yet.

    A waiting one has to be poked when what holds it back is over. `owed` is what it has asked for and not received; a
    parked one has found nothing left to ask for.
    """

    __slots__ = (
        "acked",
        "announced",
        "base",
        "connection",
        "held",
        "holes",
        "lost_s",
        "owed",
        "parked",
        "reached_base",
        "retries",
        "rtt_s",
        "waiting",
        "written",
    )

    def __init__(self, connection: Connection, retries: int = RETRIES) -> None:
        self.connection = connection
        self.retries = retries
        self.held = False
        self.waiting = False
        self.owed = 0
        self.parked = False
        self.written = 0
        self.acked = 0
        self.announced = 0
        self.base: int | None = None
        self.reached_base: int | None = None
        self.holes = 0
        self.lost_s = 0.0
        self.rtt_s: float | None = None


@dataclass(frozen=True, slots=True)
class Numbers:
    """Of one stream: bytes acknowledged, bytes on the link, segments repeated, bytes got through in any order.

    `lost` says that a packet has been found missing since the last look.
    """

    acked: int = 0
    sent: int = 0
    repeated: int = 0
    reached: int = 0
    lost: bool = False


NONE: Final = Numbers()


def share_mib(room: int, streams: Sequence[Stream], *, done: bool) -> int:
    """Return how many MiB a stream may ask for, where what is under way is a large part of the whole; 0 for none.

    All streams together never ask for more than there is `room` for, so that nothing is on its way when the last of
    it has arrived. Less than one cannot be asked for: such a one is cut off, and left alone when the
    transfer is as good as `done`.
    """
    rest = (room - sum(stream.owed for stream in streams)) // MIB
    if rest < 1:
        return int(room > 0 and not done and not any(stream.owed for stream in streams))
    return min(MOST_MIB, -(-rest // max(1, sum(not stream.owed for stream in streams))))


def look(stream: Stream, now: float, *, receiving: bool, rtt_s: float) -> Numbers:
    """Read the kernel's numbers of a stream; all 0 where it tells none. `rtt_s` is the idle round trip."""
    sock = stream.connection.sock
    info = tcp_info.read(sock) if sock is not None and stream.connection.fileno() >= 0 else None
    if info is None:
        return NONE
    reached, holes = (info.arrived, info.out_of_order) if receiving else (info.reached, info.retransmits)
    stream.rtt_s = info.rtt_s
    if stream.reached_base is None or stream.written == 0:
        stream.reached_base = reached
    lost = False
    if holes > stream.holes:
        # one gap is told by many segments: what follows within a round trip belongs to the same
        if now - stream.lost_s >= rtt_s:
            lost = True
            stream.lost_s = now
        stream.holes = holes
    reached -= stream.reached_base
    if receiving or stream.base is None:
        return Numbers(reached=reached, lost=lost)
    stream.acked = min(stream.written, max(0, info.acked - stream.base))
    # the kernel counts the SYN among the acknowledged bytes, not among those sent
    sent = min(stream.written, max(0, info.sent + 1 - stream.base))
    return Numbers(stream.acked, sent, info.retransmits, reached, lost)
