"""Read how long the bytes of a request have waited in the kernel."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from typing import Final

KEY: Final = "sigprobe.waited_s"
"""Where a request's scope holds it."""

_LAST_DATA_RECEIVED: Final = struct.Struct("=I")
_OFFSET: Final = 52
"""Of `tcpi_last_data_recv` in Linux's `struct tcp_info`, in milliseconds: part of the kernel's interface."""

_CAN: Final = sys.platform == "linux" and hasattr(socket, "TCP_INFO")


def waited_s(transport: asyncio.BaseTransport) -> float:
    """Return the seconds since the newest bytes of a connection came; 0.0 where the system does not say.

    For a request in one packet this is its time in the queue of connections that wait to be accepted, and in ours.
    """
    if not _CAN:
        return 0.0
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return 0.0
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _OFFSET + _LAST_DATA_RECEIVED.size)
    except OSError:
        return 0.0
    if len(info) < _OFFSET + _LAST_DATA_RECEIVED.size:
        return 0.0
    return float(_LAST_DATA_RECEIVED.unpack_from(info, _OFFSET)[0]) / 1000
