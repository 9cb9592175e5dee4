"""Telling the service manager how this process is: systemd's notification socket, and nothing where there is none."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress

READY = "READY=1"
STOPPING = "STOPPING=1"
ALIVE = "WATCHDOG=1"


def notify(*lines: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Send these assignments to `$NOTIFY_SOCKET`; False where nobody listens. Never raises."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")) or not hasattr(socket, "AF_UNIX"):
        return False
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        # a manager that does not read must not hold us; an abstract address begins with a zero byte
        out.setblocking(False)
        out.sendto("\n".join(lines).encode(), "\0" + address[1:] if address[0] == "@" else address)
        return True
    return False


def status(text: str) -> str:
    """The assignment that shows a line in `systemctl status`."""
    return "STATUS=" + " ".join(text.split())
