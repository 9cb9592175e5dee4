"""Look names up in the hosts file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sigprobe.record.host_names import is_ip

HOSTS: Final = Path("/etc/hosts")


def in_hosts_file(host: str, path: Path = HOSTS) -> bool:
    """Return whether the hosts file fixes a name, so that no resolver is asked for it."""
    return bool(fixed_addresses(host, path))


def fixed_addresses(host: str, path: Path = HOSTS) -> list[str]:
    """Return the addresses that the hosts file gives a name; empty where it does not hold it."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    rows = (line.partition("#")[0].split() for line in text.splitlines())
    wanted = host.lower()
    return [row[0] for row in rows if wanted in (name.lower() for name in row[1:]) and is_ip(row[0])]
