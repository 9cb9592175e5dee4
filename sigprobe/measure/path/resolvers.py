"""Find the DNS servers of the system, and those that a forwarder on this device asks.

systemd-resolved, dnsmasq and the like put themselves (127.0.0.53, 127.0.0.1) into resolv.conf. What stands behind them
is written in plain files; without it a dead or lying server of the operator would look like this device's own fault.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sigprobe.measure.dns import agreement
from sigprobe.measure.dns.data import AskedData
from sigprobe.measure.dns.servers import RESOLV_CONF, parse_resolver, system_servers
from sigprobe.measure.path.data import ResolverData
from sigprobe.measure.path.points import place_of
from sigprobe.net import sockets
from sigprobe.net.limits import Context
from sigprobe.record.addresses import is_loopback
from sigprobe.record.host_names import is_ip

if TYPE_CHECKING:
    from sigprobe.measure.path.options import Options

RESOLVED: Final = Path("/run/systemd/resolve/resolv.conf")
FORWARDED: Final = (
    RESOLVED,
    Path("/run/NetworkManager/no-stub-resolv.conf"),
    Path("/run/NetworkManager/resolv.conf"),
    Path("/run/dnsmasq/resolv.conf"),
)
"""Where forwarders write the servers they ask: systemd-resolved first, then those that listen on 127.0.0.1."""
_RESOLVEDS: Final = frozenset({"127.0.0.53", "127.0.0.54"})
_MAX_HOSTS: Final = 2
_MAX_OTHERS: Final = 3


def behind(servers: Sequence[tuple[str, int]], files: Sequence[Path] = FORWARDED) -> list[tuple[str, int]]:
    """Return the servers that a forwarder on this device asks; empty without a forwarder or where they are unknown."""
    if not servers or not all(is_loopback(host) for host, _port in servers):
        return []
    by_resolved = any(host in _RESOLVEDS for host, _port in servers)
    for file in files:
        # its file is there whenever it runs, asked or not
        if by_resolved != (file.name == RESOLVED.name and file.parent.name == RESOLVED.parent.name):
            continue
        found = [(host, port) for host, port in system_servers(file) if not is_loopback(host)]
        if found:
            return found
    return []


def hosts_of(options: Options) -> list[str]:
    """Return the target names that every server is asked for; those that failed come first."""
    failed = {seen.name for seen in options.seen if seen.code is not None}
    hosts = [aim.host for aim in sorted(options.targets, key=lambda aim: aim.name not in failed)]
    named = [h for h in dict.fromkeys(hosts) if h != "default-gateway" and not is_ip(h) and "." in h]
    return named[:_MAX_HOSTS]


def ask(
    options: Options,
    references: Sequence[str],
    context: Context,
    seconds: float,
    pool: Executor,
    *,
    resolv_conf: Path = RESOLV_CONF,
    files: Sequence[Path] = FORWARDED,
    record: str = "A",
) -> tuple[list[ResolverData], list[AskedData], int]:
    """Ask the system's servers, those behind them and others for the targets' names; return two tables and bytes."""
    servers = system_servers(resolv_conf)
    hidden = behind(servers, files)
    system = [*servers, *(server for server in hidden if server not in servers)]
    hosts = hosts_of(options)
    named = [(s.host, s.port) for s in map(parse_resolver, options.resolvers) if s.protocol == "dns"]
    others = [o for o in dict.fromkeys([*named, *((r, 53) for r in references)]) if o not in system][:_MAX_OTHERS]
    asked, used = agreement.ask_all(
        hosts or [""], system, others if hosts else [], context, seconds, pool, record=record
    )
    rows: list[ResolverData] = []
    for host, port in system:
        mine = [row for row in asked if row["system"] and row["resolver"] == sockets.endpoint(host, port)]
        said = next((row for row in mine if row["rcode"] is not None), None)
        rows.append(
            {
                "address": sockets.endpoint(host, port),
                "place": place_of(host),
                "forwarder": bool(hidden) and (host, port) in servers,
                "answers": said is not None,
                "failure": None if said is not None or not mine else mine[0]["failure"],
            }
        )
    return rows, asked, used
