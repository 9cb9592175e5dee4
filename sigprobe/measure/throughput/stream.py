"""Handle one connection of a transfer, with the kernel's byte counts of it."""

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

NO_LIMIT: Final = 1 << 30
"""A receive window beyond any."""

LEAST_ASKED: Final = 65_536


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
        "limited",
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
        self.limited = False
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

    `lost` says that a packet has been found missing since the last look. `wire` is all that has crossed the interface.
    """

    acked: int = 0
    sent: int = 0
    repeated: int = 0
    reached: int = 0
    lost: bool = False
    wire: int = 0


NONE: Final = Numbers()


def share_bytes(room: int, streams: Sequence[Stream], wanted: int, *, exact: bool, done: bool) -> int:
    """Return how many bytes a stream may ask for; 0 for none.

    All streams together never ask for more than there is `room` for, so that nothing is on its way when the last of it
    has arrived. `wanted` streams share the room. Unless the server takes `exact` numbers they ask for whole MiB; the
    last, smaller piece is asked for by one stream, which is cut off then, and left alone when the transfer is as good
    as `done`.
    """
    rest = room - sum(stream.owed for stream in streams)
    owing = sum(stream.owed > 0 for stream in streams)
    if rest < (LEAST_ASKED if exact else MIB):
        return rest if rest > 0 and not done and not owing else 0
    sharing = max(1, wanted - owing)
    if exact:
        return min(MOST_MIB * MIB, max(LEAST_ASKED, rest // sharing))
    return min(MOST_MIB, -(-(rest // MIB) // sharing)) * MIB


def look(stream: Stream, now: float, *, receiving: bool, rtt_s: float) -> Numbers:
    """Read the kernel's numbers of a stream; all 0 where it has none. `rtt_s` is the idle round trip."""
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
        return Numbers(reached=reached, lost=lost, wire=info.wire)
    stream.acked = min(stream.written, max(0, info.acked - stream.base))
    # the kernel counts the SYN among the acknowledged bytes, not among those sent
    sent = min(stream.written, max(0, info.sent + 1 - stream.base))
    return Numbers(stream.acked, sent, info.retransmits, reached, lost, info.wire)
