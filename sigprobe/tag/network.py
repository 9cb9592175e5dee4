"""Read the link in use: interface, access, family, gateway, and a hash of the Wi-Fi's name."""

from __future__ import annotations

import array
import hashlib
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sigprobe.net import routes
from sigprobe.record.result import Network, Operator

_SIOCGIWESSID: Final = 0x8B1B  # linux/wireless.h; readable without privileges
_SSID_BYTES: Final = 32


def read_network(operator: Operator, *, proc: Path = routes.PROC, sys: Path = routes.SYS) -> Network:
    """Read the link that most traffic uses now. Reads files only; unknown values are None."""
    route = routes.main_route(proc)
    if route is None:
        return Network(operator=operator)
    access = routes.access(route.interface, sys)
    return Network(
        interface=route.interface,
        access=access,
        family=routes.families(proc),
        gateway=routes.default_gateway(proc=proc),
        operator=operator,
        wifi_ssid_hash=_hash(read_ssid(route.interface)) if access == "wifi" else None,
    )


def read_ssid(interface: str, ioctl: Callable[[int, int, bytes], bytes] | None = None) -> bytes | None:
    """Return the name of an interface's Wi-Fi, or None. The driver answers from memory, nothing is scanned."""
    buffer = array.array("B", bytes(_SSID_BYTES + 1))
    address, _ = buffer.buffer_info()
    request = struct.pack("16sPHH", interface.encode()[:15], address, _SSID_BYTES + 1, 0)
    try:
        call = ioctl or _ioctl()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
            answer = call(handle.fileno(), _SIOCGIWESSID, request)
        length = struct.unpack("16sPHH", answer[: len(request)])[2]
    except (OSError, ImportError, struct.error):
        return None
    return bytes(buffer[: min(length, _SSID_BYTES)]).rstrip(b"\0") or None


def _ioctl() -> Callable[[int, int, bytes], bytes]:
    from fcntl import ioctl

    return ioctl


def _hash(ssid: bytes | None) -> str | None:
    # enough to distinguish access points, without storing the name of a private Wi-Fi
    return None if ssid is None else hashlib.sha256(b"sigprobe-ssid:" + ssid).hexdigest()[:16]
