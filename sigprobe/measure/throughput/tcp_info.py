"""Read the kernel's TCP statistics: bytes that the other end has acknowledged, not bytes in a socket buffer."""

from __future__ import annotations

import socket
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

# linux/tcp.h, struct tcp_info: fields are only ever appended, so a longer answer is read by its beginning
_SEGMENT_SIZES: Final = 16  # sending, receiving
_RTT: Final = 68
_TOTAL_RETRANS: Final = 100
_BYTES_ACKED: Final = 120
_BYTES_RECEIVED: Final = 128
_SEGS_OUT: Final = 136
_SEGS_IN: Final = 140
_DATA_SEGS_IN: Final = 152
_DELIVERED: Final = 192
_BYTES_SENT: Final = 200
_OUT_OF_ORDER: Final = 224
_SIZE: Final = 216
_SIOCOUTQ: Final = 0x5411
_HEADERS: Final = {socket.AF_INET: 66, socket.AF_INET6: 86}
"""Bytes of a segment beside its payload: Ethernet 14, IP 20 or 40, TCP 20 with 12 of time stamps."""


_LATE_BYTES: Final = 65_536
"""So much more than a quarter of what is complete may have come out of order; segments are counted at full size."""

PROBE_BYTES: Final = 300
"""A connection that is opened and closed: five segments without payload."""


@dataclass(frozen=True, slots=True)
class TcpInfo:
    """Since the connection began: bytes acknowledged, bytes put on the way without repeats, segments repeated.

    `reached` is the payload that has got through in any order, in whole segments: what the other end holds of ours
    and is missing a piece before, too. `arrived` is the same of what came in here, and `out_of_order` the segments
    that came in with a piece missing before them (0 where the system does not count them). `rtt_s` is the running mean
    of the last round trips, None before the first. `wire` is all that has crossed the interface, both ways, with
    headers, acknowledgements and repeats.
    """

    acked: int
    sent: int
    retransmits: int
    reached: int
    arrived: int
    out_of_order: int
    rtt_s: float | None = None
    wire: int = 0


def read(sock: socket.socket) -> TcpInfo | None:
    """Return the kernel's numbers; None where the system does not tell them (not Linux, or older than 4.19)."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        raw = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    except OSError:
        return None
    if len(raw) < _SIZE:
        return None
    send_size, receive_size = struct.unpack_from("=II", raw, _SEGMENT_SIZES)
    (rtt_us,) = struct.unpack_from("=I", raw, _RTT)
    (retransmits,) = struct.unpack_from("=I", raw, _TOTAL_RETRANS)
    (acked,) = struct.unpack_from("=Q", raw, _BYTES_ACKED)
    (came_in,) = struct.unpack_from("=I", raw, _DATA_SEGS_IN)
    (delivered,) = struct.unpack_from("=I", raw, _DELIVERED)
    sent, repeated = struct.unpack_from("=QQ", raw, _BYTES_SENT)
    out_of_order = struct.unpack_from("=I", raw, _OUT_OF_ORDER)[0] if len(raw) >= _OUT_OF_ORDER + 4 else 0
    received, segs_out, segs_in = struct.unpack_from("=QII", raw, _BYTES_RECEIVED)
    # what came twice, or is missing a piece before it, has crossed the interface, too
    payload_in = max(received, min(came_in * receive_size, received + received // 4 + _LATE_BYTES))
    wire = payload_in + sent + (segs_out + segs_in) * _HEADERS.get(sock.family, 86)
    return TcpInfo(
        acked,
        sent - repeated,
        retransmits,
        delivered * send_size,
        came_in * receive_size,
        int(out_of_order),
        rtt_us / 1e6 if rtt_us else None,
        wire,
    )


def unacked(sock: socket.socket) -> int:
    """Return bytes written that are not acknowledged yet, sent or still waiting; 0 where the system does not tell."""
    if not sys.platform.startswith("linux"):
        return 0
    import fcntl

    try:
        (count,) = struct.unpack("=i", fcntl.ioctl(sock.fileno(), _SIOCOUTQ, b"\0\0\0\0"))
    except OSError:
        return 0
    return int(count)


def yields_to_loss(sock: socket.socket) -> bool:
    """Return whether the connection's congestion control is one that sends less after each loss."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        name = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0")
    except OSError:
        return False
    return name in (b"cubic", b"reno")


def limit_window(sock: socket.socket, size: int) -> None:
    """Let the other end have at most so many bytes under way, where the system can; what it may send now stays."""
    if sys.platform.startswith("linux"):
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP, size)


def limit_unsent(sock: socket.socket, size: int) -> None:
    """Keep at most about `size` unsent bytes in the socket's buffer, where the system can."""
    option = getattr(socket, "TCP_NOTSENT_LOWAT", 25 if sys.platform.startswith("linux") else None)
    if option is not None:
        sock.setsockopt(socket.IPPROTO_TCP, option, size)
