"""Report this process's state to systemd's notification socket, if there is one."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress

READY = "READY=1"
STOPPING = "STOPPING=1"
ALIVE = "WATCHDOG=1"


def notify(*lines: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Send these assignments to `$NOTIFY_SOCKET`; False without a listener. Never raises."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")) or not hasattr(socket, "AF_UNIX"):
        return False
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        # a manager that does not read must not block this process; an abstract address begins with a zero byte
        out.setblocking(False)
        out.sendto("\n".join(lines).encode(), "\0" + address[1:] if address[0] == "@" else address)
        return True
    return False


def status(text: str) -> str:
    """Return the assignment for the status line in `systemctl status`."""
    return "STATUS=" + " ".join(text.split())
