"""Checks of this device and its surroundings, each with one fix to paste. Nothing here changes anything."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sigprobe import places
from sigprobe.buffer import Buffer, StorageError, sqlite_is_fixed, sqlite_version
from sigprobe.buffer.machine import renewal
from sigprobe.files import locations
from sigprobe.net import routes
from sigprobe.places.tps_messages import doubt
from sigprobe.protocol import batches
from sigprobe.record.plausible_time import RELEASED, is_plausible_timestamp
from sigprobe.record.result import parse_time
from sigprobe.words.i18n import _, duration, number, size

if TYPE_CHECKING:
    from sigprobe.tag.gps import GpsReader
    from sigprobe.tag.modem import ModemReader
    from sigprobe.upload import Collector

State = Literal["ok", "warn", "fail"]
LOW_DISK_BYTES = 100_000_000
CLOCK_OFF_S = 60.0
_WAIT_S = 5.0
_NMEA_S = 10.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what it looked at, how it stands, the detail in words, and a command or step that mends it."""

    name: str
    state: State
    detail: str
    fix: str | None = None


def check_install(config_path: Path, queue: Path, others: list[Path]) -> Iterator[Finding]:
    """Which install this is, and whether results wait in a second queue that nobody looks at."""
    system = locations.is_system(config_path)
    kind = _("system install") if system else _("personal install")
    detail = f"{kind}: {config_path}; " + _("queue: {path}").format(path=queue)
    shared = locations.SYSTEM_QUEUE.parent
    if system and queue != locations.SYSTEM_QUEUE and queue in locations.known_queues():
        # a second user would have a second queue, and nobody would see it
        detail += "; " + _("this user's own, since there is no {path} to share").format(path=shared)
        owner = f"sudo adduser --system --group --home {shared} --no-create-home sigprobe"
        fix = f"{owner} && sudo install -d -o sigprobe -g sigprobe -m 2770 {shared}"
        yield Finding(_("Install"), "warn", detail, fix)
    else:
        yield Finding(_("Install"), "ok", detail)
    for other in others:
        yield Finding(
            _("Second queue"),
            "warn",
            _("another queue lies at {path}; what is in it is not sent from here").format(path=other),
            f"SIGPROBE_BUFFER__PATH={other} sigprobe upload",
        )
    with suppress(OSError):
        if locations.is_closed(queue) or (system and not os.access(queue.parent, os.W_OK)):
            yield Finding(
                _("Group"),
                "fail",
                _("this user may not write {path}").format(path=queue.parent),
                'sudo usermod -aG sigprobe "$USER"',
            )


def check_place(tps_id: str) -> Finding:
    """Which place the TPS number stands for, by the list of villages that is shipped and its vintage."""
    place, info = places.place(tps_id), places.table_info()
    unlisted = doubt(tps_id)
    if unlisted:
        return Finding("TPS", "warn", unlisted, "sigprobe config show --origin")
    detail = f"{tps_id}: {place.full or '-'}"
    if info is None:
        unread = _("the list of villages cannot be read")
        return Finding("TPS", "warn", f"{detail}; {unread}", "pip install --force-reinstall sigprobe")
    return Finding("TPS", "ok", f"{detail} ({info.as_of}, idn-area-data, {info.licence})")


def check_icmp() -> Finding:
    """Whether ping can be measured by ICMP; the TCP fallback is right but coarser."""
    for name, kind in (("icmp-dgram", socket.SOCK_DGRAM), ("icmp-raw", socket.SOCK_RAW)):
        try:
            socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP).close()
        except OSError:
            continue
        return Finding(_("Ping"), "ok", name)
    return Finding(
        _("Ping"),
        "warn",
        _("ICMP is not permitted, so ping is measured by TCP connections"),
        'sudo sysctl -w net.ipv4.ping_group_range="0 2147483647"',
    )


def check_network() -> Finding:
    """Whether there is a way out of this device at all."""
    route = routes.main_route()
    if route is None:
        return Finding(_("Network"), "fail", _("no default route: no network is connected"), "nmcli device status")
    return Finding(_("Network"), "ok", f"{route.interface}, {route.gateway or '-'}")


def check_dns(host: str, resolve: Callable[..., object] = socket.getaddrinfo) -> Finding:
    """Whether this device's resolver answers for a configured host."""
    import threading

    answer: list[object] = []

    def ask() -> None:
        try:
            answer.append(resolve(host, 443))
        except OSError as error:
            answer.append(error)

    worker = threading.Thread(target=ask, daemon=True)
    worker.start()
    worker.join(_WAIT_S)
    fix = "resolvectl status || cat /etc/resolv.conf"
    if not answer:
        return Finding(_("DNS"), "fail", _("no answer for {host} within {s} s").format(host=host, s=5), fix)
    if isinstance(answer[0], OSError):
        return Finding(_("DNS"), "fail", f"{host}: {answer[0]}", fix)
    return Finding(_("DNS"), "ok", host)


def check_gpsd(address: str, *, wanted: bool) -> Finding:
    """Whether gpsd answers where the settings look for it. Missing, it is a fault only when it was asked for."""
    host, _separator, port = address.rpartition(":")
    try:
        with closing(socket.create_connection((host.strip("[]"), int(port)), 2.0)) as connection:
            connection.settimeout(2.0)
            greeting = connection.recv(4096)
    except (OSError, ValueError) as error:
        return Finding(
            _("GPS"),
            "fail" if wanted else "warn",
            _("gpsd does not answer at {address} ({reason})").format(address=address, reason=error),
            "sudo systemctl start gpsd",
        )
    if b'"class":"VERSION"' not in greeting:
        return Finding(
            _("GPS"), "fail", _("{address} is not gpsd").format(address=address), f"ss -ltnp sport = :{port}"
        )
    return Finding(_("GPS"), "ok", address)


def check_nmea(address: str, gps: GpsReader) -> Finding:
    """Whether NMEA comes from where the settings say. Listens for as long as the speeds of a serial port take."""
    until = time.monotonic() + _NMEA_S
    while not gps.answered and gps.may_come() and time.monotonic() < until:
        gps.wait(0.2)
    if gps.answered:
        return Finding(_("GPS"), "ok", address)
    scheme, separator, rest = address.partition("://")
    if scheme == "udp" and gps.problem is None:
        detail = _("nothing has come to {address}; start the app on the phone").format(address=address)
        return Finding(_("GPS"), "warn", detail, f"ss -lunp sport = :{rest.rpartition(':')[2]}")
    detail = _("no NMEA from {address} ({reason})").format(address=address, reason=gps.problem or _("silent"))
    port = Path(address)
    if separator:
        return Finding(_("GPS"), "fail", detail, f"ss -tunp | grep {rest.rpartition(':')[2]}")
    refused = port.exists() and not os.access(port, os.R_OK)
    return Finding(_("GPS"), "fail", detail, 'sudo usermod -aG dialout "$USER"' if refused else "ls -l /dev/tty[UA]*")


def check_modems(modem: ModemReader, interface: str | None, *, wanted: bool) -> Iterator[Finding]:
    """What each modem tells, and which one counts where there are several; nothing where none is there or wanted."""
    from sigprobe.tag.modem import choose

    modem.wait(_WAIT_S)
    radios = modem.radios()
    if not radios and wanted:
        yield Finding(_("Modem"), "fail", modem.problem or "", "mmcli -L")
    used = choose(radios, interface)
    for radio in radios:
        words = [*sorted(radio.interfaces), radio.operator.name or radio.operator.plmn or "", radio.rat or ""]
        words.append(radio.registration or "")
        words += [f"RSRP {number(radio.rsrp_dbm)} dBm"] if radio.rsrp_dbm is not None else []
        words += [f"RSSI {number(radio.rssi_dbm)} dBm"] if radio.rssi_dbm is not None else []
        if len(radios) > 1:
            words.append(_("this one counts") if radio is used else _("does not count"))
        text = ", ".join(word for word in words if word)
        state: State = "ok" if radio.registered or radio is not used else "warn"
        yield Finding(_("Modem"), state, text, None if state == "ok" else "mmcli -m any")


def check_disk(directory: Path) -> Finding:
    """Whether there is room for results."""
    try:
        free = shutil.disk_usage(directory).free
    except OSError as error:
        return Finding(_("Disk"), "fail", str(error), f"ls -ld {directory}")
    state: State = "ok" if free >= LOW_DISK_BYTES else "fail" if free < 2_000_000 else "warn"
    return Finding(_("Disk"), state, _("{size} free at {path}").format(size=size(free), path=directory), "df -h")


def check_queue(path: Path, max_mb: int) -> Iterator[Finding]:
    """Whether the queue can be written, how full it is, and what guards its commits."""
    try:
        buffer = Buffer(path, max_mb=max_mb)
    except StorageError as error:
        yield Finding(_("Queue"), "fail", f"{path}: {error}", f"ls -ld {path.parent} && df -h {path.parent}")
        return
    with buffer:
        stats = buffer.stats()
        guard = buffer.guard
    waiting = _("{pending} waiting, {size} of {limit}, {path}").format(
        pending=number(stats.pending), size=size(stats.size_bytes), limit=size(stats.max_bytes), path=buffer.path
    )
    oldest = parse_time(stats.oldest_pending_at or "")
    if oldest is not None:
        waiting += ", " + _("oldest {age} old").format(age=duration(time.time() - oldest.timestamp()))
    full = stats.size_bytes > 0.9 * stats.max_bytes
    yield Finding(_("Queue"), "warn" if full else "ok", waiting, "sigprobe upload")
    if stats.rejected or stats.damaged:
        yield Finding(
            _("Set aside"), "warn", number(stats.rejected + stats.damaged), "sigprobe results --state rejected --json"
        )
    moved = renewal(path.parent)
    if moved is not None:
        detail = _("this queue was copied from another device; since {at} this device has a probe id of its own")
        yield Finding(_("Probe id"), "warn", detail.format(at=moved[0][:10]), "sigprobe schedule install")
    if stats.set_aside_files:
        yield Finding(
            _("Quarantine"),
            "warn",
            _("{n} damaged queue files were set aside").format(n=len(stats.set_aside_files)),
            f"ls -l {path.parent / 'quarantine'}",
        )
    if stats.newer_files:
        yield Finding(
            _("Newer queue"),
            "warn",
            _("{path} was made by a newer sigprobe and is left as it is").format(path=stats.newer_files[0]),
            "pip install --upgrade sigprobe",
        )
    fixed = sqlite_is_fixed()
    detail = f"SQLite {sqlite_version()}, {guard.journal_mode} + {guard.synchronous} ({guard.reason})"
    yield Finding(_("Storage guard"), "ok" if fixed else "warn", detail, "pip install --upgrade apsw")


def check_clock(server_time_s: float | None, error_s: float, synced: bool | None, now_s: float) -> Finding:
    """Whether this device's clock can be trusted, by the collector's where that was reached."""
    fix = "sudo timedatectl set-ntp true"
    if not is_plausible_timestamp(now_s):
        shown = datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%d")
        detail = _("the date {date} cannot be right: this version is of {released}")
        released = RELEASED.strftime("%Y-%m-%d")
        return Finding(_("Clock"), "fail", detail.format(date=shown, released=released), fix)
    if server_time_s is not None:
        off = now_s - server_time_s
        detail = _("{s} s from the collector's clock (± {e} s)").format(s=number(off, 1), e=number(error_s, 1))
        return Finding(_("Clock"), "ok" if abs(off) < CLOCK_OFF_S else "fail", detail, fix)
    if synced is None:
        return Finding(_("Clock"), "warn", _("it is not known whether the clock is set by the network"), fix)
    detail = _("set by the network") if synced else _("not set by the network")
    return Finding(_("Clock"), "ok" if synced else "warn", detail, fix)


def check_collector(collector: Collector) -> tuple[Finding, float | None, float]:
    """Whether a collector answers and takes our token: an empty batch, so that nothing is stored.

    Returns the finding, the collector's clock in seconds (None when it did not answer) and its uncertainty.
    """
    from sigprobe.upload import TransportError, post
    from sigprobe.upload.transport import open_channel

    name = _("Collector")
    batch = batches.build_batch(())
    try:
        with closing(open_channel(collector)) as channel:
            headers = batches.batch_headers(batch, collector.token)
            reply = post(channel, collector.endpoint(batches.BATCH_PATH), batch.body, headers, _WAIT_S)
    except (TransportError, OSError) as error:
        tls = isinstance(error, TransportError) and error.reason == "tls"
        fix = "timedatectl" if tls else f"curl -v {collector.endpoint('healthz')}"
        return Finding(name, "fail", f"{collector.url}: {error}", fix), None, 0.0
    content_type = reply.headers.get("Content-Type")
    problem = batches.read_problem(reply.status, content_type, reply.body)
    if problem is not None and problem.status in (401, 403):
        fix = "sigprobe explain SP-SYN-03"
        return Finding(name, "fail", f"{collector.url}: {problem.detail or problem.title}", fix), None, 0.0
    with suppress(batches.NotAReceiptError):
        receipt = batches.read_receipt(reply.status, content_type, reply.body, batch)
        server = parse_time(receipt.server_time or "")
        when = None if server is None else server.timestamp() + reply.rtt_s / 2
        return Finding(name, "ok", collector.url), when, reply.rtt_s / 2
    if problem is not None:
        return Finding(name, "warn", f"{collector.url}: {problem.status} {problem.title}", "sigprobe upload"), None, 0.0
    detail = _("{url}: something else answered (status {status}), perhaps a login page").format(
        url=collector.url, status=reply.status
    )
    return Finding(name, "fail", detail, "sigprobe explain SP-SYN-02"), None, 0.0


def check_python() -> Finding:
    """Which interpreter and version run."""
    from sigprobe import __version__

    return Finding("sigprobe", "ok", f"{__version__}, Python {sys.version.split()[0]}")
