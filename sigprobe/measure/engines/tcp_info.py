"""What the kernel knows of a TCP connection: bytes the other end has acknowledged, not bytes in a socket buffer."""

from __future__ import annotations

import socket
import struct
import sys
from dataclasses import dataclass
from typing import Final

# linux/tcp.h, struct tcp_info: fields are only ever appended, so a longer answer is read by its beginning
_TOTAL_RETRANS: Final = 100
_BYTES_ACKED: Final = 120
_BYTES_SENT: Final = 200
_BYTES_RETRANS: Final = 208
_SIZE: Final = 216
_SIOCOUTQ: Final = 0x5411


@dataclass(frozen=True, slots=True)
class TcpInfo:
    """Since the connection began: bytes acknowledged, bytes put on the way without repeats, segments repeated."""

    acked: int
    sent: int
    retransmits: int


def read(sock: socket.socket) -> TcpInfo | None:
    """The kernel's numbers; None where the system does not tell them (not Linux, or older than 4.19)."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        raw = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    except OSError:
        return None
    if len(raw) < _SIZE:
        return None
    (retransmits,) = struct.unpack_from("=I", raw, _TOTAL_RETRANS)
    (acked,) = struct.unpack_from("=Q", raw, _BYTES_ACKED)
    sent, repeated = struct.unpack_from("=QQ", raw, _BYTES_SENT)
    return TcpInfo(acked, sent - repeated, retransmits)


def unacked(sock: socket.socket) -> int:
    """Bytes written that are not acknowledged yet, sent or still waiting; 0 where the system does not tell."""
    if not sys.platform.startswith("linux"):
        return 0
    import fcntl

    try:
        (count,) = struct.unpack("=i", fcntl.ioctl(sock.fileno(), _SIOCOUTQ, b"\0\0\0\0"))
    except OSError:
        return 0
    return int(count)


def limit_unsent(sock: socket.socket, size: int) -> None:
    """Keep at most about `size` unsent bytes in the socket's buffer, where the system can."""
    option = getattr(socket, "TCP_NOTSENT_LOWAT", 25 if sys.platform.startswith("linux") else None)
    if option is not None:
        sock.setsockopt(socket.IPPROTO_TCP, option, size)
