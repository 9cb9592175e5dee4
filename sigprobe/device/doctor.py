"""Check this device and its surroundings, and offer one command to fix each fault. Changes nothing.

Texts are translated when they are drawn, so one finding can be shown in two languages.
"""

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
from shlex import quote
from typing import TYPE_CHECKING, Final, Literal

from sigprobe import places
from sigprobe.buffer import Buffer, StorageError, sqlite_is_fixed, sqlite_version
from sigprobe.buffer.machine import renewal
from sigprobe.files import locations
from sigprobe.net import routes
from sigprobe.places.tps_messages import doubt
from sigprobe.protocol import batches
from sigprobe.record.clock_limits import CLOCK_WRONG_S
from sigprobe.record.plausible_time import RELEASED, is_plausible_timestamp
from sigprobe.record.result import parse_time
from sigprobe.words.codes import CODES
from sigprobe.words.i18n import N_, _, duration, number, size, speaking
from sigprobe.words.system_errors import reason_text

if TYPE_CHECKING:
    from sigprobe.tag.gps import GpsReader
    from sigprobe.tag.modem import ModemReader
    from sigprobe.upload import Collector, TransportError

State = Literal["ok", "warn", "fail"]
Text = Callable[[], str]
LOW_DISK_BYTES = 100_000_000
_WAIT_S = 5.0
_NMEA_S = 10.0


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check: a stable name for programs, title, status, detail in words, and one command to fix it.

    `technical` is the original message of a library or the system.
    """

    check: str
    title: str
    state: State
    text: Text
    fix: str | None = None
    technical: str | None = None

    @property
    def name(self) -> str:
        """Return the title in the language in use."""
        return _(self.title)

    @property
    def detail(self) -> str:
        """Return the detail in the language in use."""
        return self.text()

    @property
    def name_en(self) -> str:
        """Return the title for programs: always English."""
        with speaking("en"):
            return self.name

    @property
    def detail_en(self) -> str:
        """Return the detail for programs: always English."""
        with speaking("en"):
            return self.text()


def plain(text: object) -> Text:
    """Return a detail that is the same in every language: a path, an address, a number."""
    return lambda: str(text)


def check_install(config_path: Path, queue: Path, others: list[Path]) -> Iterator[Finding]:
    """Report the kind of install, and whether a second queue holds results."""
    system = locations.is_system(config_path)
    shared = locations.SYSTEM_QUEUE.parent
    own = system and queue == locations.queue_file() != locations.SYSTEM_QUEUE

    def detail() -> str:
        kind = _("system install") if system else _("personal install")
        text = f"{kind}: {config_path}; " + _("queue: {path}").format(path=queue)
        return text + ("; " + _("only for this user, because {path} does not exist").format(path=shared) if own else "")

    if own:
        # a second user would get a second queue without noticing
        owner = f"sudo adduser --system --group --home {shared} --no-create-home sigprobe"
        fix = f"{owner} && sudo install -d -o sigprobe -g sigprobe -m 2770 {shared}"
        yield Finding("install", N_("Install"), "warn", detail, fix)
    else:
        yield Finding("install", N_("Install"), "ok", detail)
    for other in others:
        yield _second_queue(other)
    with suppress(OSError):
        if locations.is_closed(queue) or (system and not os.access(queue.parent, os.W_OK)):
            yield Finding(
                "group",
                N_("Group"),
                "fail",
                lambda: _("this user is not allowed to write {path}").format(path=queue.parent),
                'sudo usermod -aG sigprobe "$USER"',
            )


def _second_queue(path: Path) -> Finding:
    return Finding(
        "second_queue",
        N_("Second queue"),
        "warn",
        lambda: _("another queue exists at {path}; its results are not sent from here").format(path=path),
        f"SIGPROBE_BUFFER__PATH={quote(str(path))} sigprobe upload",
    )


def check_place(tps_id: str) -> Finding:
    """Report the place of the TPS number, by the shipped list of villages and its date."""
    place, info = places.place(tps_id), places.table_info()
    if doubt(tps_id):
        return Finding("tps", "TPS", "warn", lambda: doubt(tps_id), "sigprobe config show --origin")
    known = f"{tps_id}: {place.full or '-'}"
    if info is None:
        return Finding(
            "tps",
            "TPS",
            "warn",
            lambda: f"{known}; " + _("the list of villages cannot be read"),
            "pip install --force-reinstall sigprobe",
        )
    return Finding("tps", "TPS", "ok", plain(f"{known} ({info.as_of}, idn-area-data, {info.licence})"))


def check_icmp() -> Finding:
    """Report whether ping can use ICMP; the TCP fallback is correct but coarser."""
    for name, kind in (("icmp-dgram", socket.SOCK_DGRAM), ("icmp-raw", socket.SOCK_RAW)):
        try:
            socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP).close()
        except OSError:
            continue
        return Finding("ping", N_("Ping"), "ok", lambda: _("ICMP is permitted"), technical=name)
    return Finding(
        "ping",
        N_("Ping"),
        "warn",
        lambda: _("ICMP is not permitted; ping is measured with TCP connections"),
        'sudo sysctl -w net.ipv4.ping_group_range="0 2147483647"',
    )


def check_network() -> Finding:
    """Report the default route of this device."""
    route = routes.main_route()
    if route is None:
        return Finding(
            "network",
            N_("Network"),
            "fail",
            lambda: _("no network is connected (no default route)"),
            "nmcli device status",
        )
    return Finding("network", N_("Network"), "ok", plain(f"{route.interface}, {route.gateway or '-'}"))


def check_dns(host: str, resolve: Callable[..., object] = socket.getaddrinfo) -> Finding:
    """Report whether the resolver of this device answers for a configured host."""
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
        wait = round(_WAIT_S)
        return Finding(
            "dns", "DNS", "fail", lambda: _("no answer for {host} within {s} s").format(host=host, s=wait), fix
        )
    error = answer[0]
    if isinstance(error, OSError):
        return Finding("dns", "DNS", "fail", lambda: f"{host}: {reason_text(error)}", fix, _raw(error))
    return Finding("dns", "DNS", "ok", plain(host))


def check_gpsd(address: str, *, wanted: bool) -> Finding:
    """Report whether gpsd answers at the configured address. If not, `fail` only when the settings require it."""
    host, _separator, port = address.rpartition(":")
    try:
        with closing(socket.create_connection((host.strip("[]"), int(port)), 2.0)) as connection:
            connection.settimeout(2.0)
            greeting = connection.recv(4096)
    except (OSError, ValueError) as error:
        reason = error
        return Finding(
            "gps",
            "GPS",
            "fail" if wanted else "warn",
            lambda: _("gpsd does not answer at {address} ({reason})").format(
                address=address, reason=reason_text(reason)
            ),
            "sudo systemctl start gpsd" if shutil.which("gpsd") else "sudo apt install gpsd",
            _raw(error),
        )
    if b'"class":"VERSION"' not in greeting:
        return Finding(
            "gps",
            "GPS",
            "fail",
            lambda: _("the program at {address} is not gpsd").format(address=address),
            f"ss -ltnp sport = :{port}",
        )
    return Finding("gps", "GPS", "ok", plain(address))


def check_nmea(address: str, gps: GpsReader) -> Finding:
    """Report whether NMEA sentences arrive from the configured source; listens long enough for every port speed."""
    until = time.monotonic() + _NMEA_S
    while not gps.answered and gps.may_come() and time.monotonic() < until:
        gps.wait(0.2)
    if gps.answered:
        return Finding("nmea", "GPS", "ok", plain(address))
    scheme, separator, rest = address.partition("://")
    problem = gps.problem
    if scheme == "udp" and problem is None:
        return Finding(
            "nmea",
            "GPS",
            "warn",
            lambda: _("nothing has arrived at {address}; start the app on the phone").format(address=address),
            f"ss -lunp sport = :{rest.rpartition(':')[2]}",
        )
    port = Path(address)
    exists, refused = port.exists(), port.exists() and not os.access(port, os.R_OK)
    if separator:
        fix = f"ss -tunp | grep {rest.rpartition(':')[2]}"
    else:
        fix = 'sudo usermod -aG dialout "$USER"' if refused else "ls -l /dev/tty[UA]*"

    def detail() -> str:
        reason = _("no data")
        if not separator and not exists:
            reason = _("no such file or directory")
        elif refused:
            reason = _("permission denied")
        elif problem is not None:
            reason = _("it cannot be opened")
        return _("no NMEA from {address} ({reason})").format(address=address, reason=reason)

    return Finding("nmea", "GPS", "fail", detail, fix, problem)


def check_modems(modem: ModemReader, interface: str | None, *, wanted: bool) -> Iterator[Finding]:
    """Report each modem, and which one is used; nothing if there is none and none is required."""
    from sigprobe.tag.modem import choose

    modem.wait(_WAIT_S)
    radios = modem.radios()
    if not radios and wanted:
        yield Finding(
            "modem",
            "Modem",
            "fail",
            lambda: _("no modem is found, or ModemManager does not answer"),
            "mmcli -L",
            modem.problem,
        )
    used = choose(radios, interface)
    for radio in radios:
        words = [*sorted(radio.interfaces), radio.operator.name or radio.operator.plmn or "", radio.rat or ""]
        signal = [f"RSRP {number(radio.rsrp_dbm)} dBm"] if radio.rsrp_dbm is not None else []
        signal += [f"RSSI {number(radio.rssi_dbm)} dBm"] if radio.rssi_dbm is not None else []
        state: State = "ok" if radio.registered or radio is not used else "warn"
        yield Finding(
            "modem",
            "Modem",
            state,
            _modem_text([*words, *signal], radio.registration, None if len(radios) == 1 else radio is used),
            None if state == "ok" else "mmcli -m any",
        )


_REGISTRATION: Final = {
    "idle": N_("not registered"),
    "home": N_("registered (home)"),
    "searching": N_("searching for a network"),
    "denied": N_("registration denied"),
    "unknown": N_("registration unknown"),
    "roaming": N_("registered (roaming)"),
}


def _modem_text(words: list[str], registration: str | None, counts: bool | None) -> Text:
    def text() -> str:
        state = _(_REGISTRATION.get(registration or "", registration or ""))
        which = "" if counts is None else _("used for tests") if counts else _("not used")
        return ", ".join(word for word in (*words, state, which) if word)

    return text


def check_disk(directory: Path) -> Finding:
    """Report whether there is room for results."""
    try:
        free = shutil.disk_usage(directory).free
    except OSError as error:
        reason = error
        return Finding(
            "disk",
            N_("Disk"),
            "fail",
            lambda: f"{directory}: {reason_text(reason)}",
            f"ls -ld {quote(str(directory))}",
            _raw(error),
        )
    state: State = "ok" if free >= LOW_DISK_BYTES else "fail" if free < 2_000_000 else "warn"
    return Finding(
        "disk",
        N_("Disk"),
        state,
        lambda: _("{size} free at {path}").format(size=size(free), path=directory),
        f"df -h {directory}",
    )


def check_queue(path: Path, max_mb: int) -> Iterator[Finding]:
    """Report whether the queue is writable, how full it is, and how its commits are protected."""
    try:
        buffer = Buffer(path, max_mb=max_mb)
    except StorageError as error:
        # a check saves nothing, so it does not say that a result was lost
        reasons = {"disk_full": N_("The storage is full, so the queue cannot be opened.")}
        sentence = reasons.get(error.code, N_("The queue cannot be opened."))
        yield Finding(
            "queue",
            N_("Queue"),
            "fail",
            lambda: f"{path}: {_(sentence)}",
            f"ls -ld {quote(str(path.parent))} && df -h {quote(str(path.parent))}",
            str(error),
        )
        return
    with buffer:
        stats = buffer.stats()
        journal = buffer.journal
    oldest = parse_time(stats.oldest_pending_at or "")
    now = time.time()

    def waiting() -> str:
        text = _("{pending} waiting, {size} of {limit}, {path}").format(
            pending=number(stats.pending), size=size(stats.size_bytes), limit=size(stats.max_bytes), path=buffer.path
        )
        if oldest is not None:
            text += ", " + _("oldest {age} old").format(age=duration(now - oldest.timestamp()))
        return text

    full = stats.size_bytes > 0.9 * stats.max_bytes
    yield Finding("queue", N_("Queue"), "warn" if full else "ok", waiting, "sigprobe upload")
    if stats.rejected or stats.damaged:
        yield Finding(
            "set_aside",
            N_("Set aside"),
            "warn",
            lambda: number(stats.rejected + stats.damaged),
            "sigprobe results --state rejected --json",
        )
    moved = renewal(path.parent)
    if moved is not None:
        day = moved[0][:10]
        yield Finding(
            "probe_id",
            N_("Probe id"),
            "warn",
            lambda: _("this queue was copied from another device; since {at} this device has its own probe id").format(
                at=day
            ),
            "sigprobe schedule install",
        )
    if stats.set_aside_files:
        yield Finding(
            "quarantine",
            N_("Quarantine"),
            "warn",
            lambda: _("{n} damaged queue files were set aside").format(n=len(stats.set_aside_files)),
            f"ls -l {quote(str(path.parent / 'quarantine'))}",
        )
    if stats.newer_files:
        newer = stats.newer_files[0]
        yield Finding(
            "newer_queue",
            N_("Newer queue"),
            "warn",
            lambda: _("{path} was written by a newer sigprobe and is left unchanged").format(path=newer),
            "pip install --upgrade sigprobe",
        )
    fixed = sqlite_is_fixed()
    yield Finding(
        "storage_guard",
        N_("Storage"),
        "ok" if fixed else "warn",
        lambda: _("results survive a power cut") if fixed else _("this SQLite has a known fault; update it"),
        "pip install --upgrade apsw",
        f"SQLite {sqlite_version()}, {journal.mode} + {journal.synchronous} ({journal.reason})",
    )


def check_clock(server_time_s: float | None, error_s: float, synced: bool | None, now_s: float) -> Finding:
    """Report whether this device's clock is accurate, by the collector's clock if that was reached."""
    fix = "sudo timedatectl set-ntp true"
    if not is_plausible_timestamp(now_s):
        shown = datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%d")
        released = RELEASED.strftime("%Y-%m-%d")
        return Finding(
            "clock",
            N_("Clock"),
            "fail",
            lambda: _("the date {date} cannot be right: this version was released on {released}").format(
                date=shown, released=released
            ),
            fix,
        )
    if server_time_s is not None:
        off = now_s - server_time_s
        return Finding(
            "clock",
            N_("Clock"),
            "ok" if abs(off) < CLOCK_WRONG_S else "fail",
            lambda: _("{s} s from the collector's clock (± {e} s)").format(s=number(off, 1), e=number(error_s, 1)),
            fix,
        )
    if synced is None:
        return Finding(
            "clock", N_("Clock"), "warn", lambda: _("it is not known whether the network sets the clock"), fix
        )
    return Finding(
        "clock",
        N_("Clock"),
        "ok" if synced else "warn",
        lambda: _("set by the network") if synced else _("not set by the network"),
        fix,
    )


def check_collector(collector: Collector) -> tuple[Finding, float | None, float]:
    """Report whether a collector answers and accepts our token. The batch is empty, so nothing is stored.

    Returns the finding, the collector's clock in seconds (None when it did not answer) and its uncertainty.
    """
    from sigprobe.upload import TransportError, post
    from sigprobe.upload.transport import open_channel

    url = collector.url
    batch = batches.build_batch(())
    try:
        with closing(open_channel(collector)) as channel:
            headers = batches.batch_headers(batch, collector.token)
            reply = post(channel, collector.endpoint(batches.BATCH_PATH), batch.body, headers, _WAIT_S)
    except TransportError as error:
        return _unreached(collector, error), None, 0.0
    except OSError as error:
        reason = error
        text = _about(url, lambda: reason_text(reason))
        return _collector(text, "fail", f"curl -v {collector.endpoint('healthz')}", _raw(error)), None, 0.0
    content_type = reply.headers.get("Content-Type")
    problem = batches.read_problem(reply.status, content_type, reply.body)
    raw = None if problem is None else f"HTTP {problem.status}: {problem.detail or problem.title}"
    if problem is not None and problem.status in (401, 403):
        text = _about(url, _sentence("collector_token", url))
        return _collector(text, "fail", "sigprobe explain SP-SYN-03", raw), None, 0.0
    with suppress(batches.NotAReceiptError):
        receipt = batches.read_receipt(reply.status, content_type, reply.body, batch)
        server = parse_time(receipt.server_time or "")
        when = None if server is None else server.timestamp() + reply.rtt_s / 2
        return _collector(plain(url), "ok"), when, reply.rtt_s / 2
    if problem is not None:
        status = problem.status
        text = _about(url, lambda: _("it refuses at the moment (status {status})").format(status=status))
        return _collector(text, "warn", "sigprobe upload", raw), None, 0.0
    status = reply.status
    text = _about(
        url, lambda: _("something else answered (status {status}), perhaps a login page").format(status=status)
    )
    return _collector(text, "fail", "sigprobe explain SP-SYN-02"), None, 0.0


def _unreached(collector: Collector, error: TransportError) -> Finding:
    """Return the finding for an unreachable collector: the cause in words, and a command to fix it."""
    url = collector.url
    why = error.why if error.why in CODES else None
    fix = f"curl -v {collector.endpoint('healthz')}"
    if why == "tls_untrusted":
        # a private CA is a matter of ca_file; the clock is unrelated
        text = _about(
            url, lambda: _sentence("tls_untrusted", url)() + " " + _("Set ca_file to the CA of the collector.")
        )
        return _collector(text, "fail", "sigprobe config show --origin | grep ca_file", str(error))
    if why in ("tls_expired", "tls_not_yet_valid"):
        fix = "timedatectl"
    elif why == "tls_hostname":
        fix = "sigprobe config show --origin | grep url"
    elif why == "name_not_found":
        fix = "resolvectl status || cat /etc/resolv.conf"
    elif error.reason == "tls":
        why = why or "tls_failed"
    if why is None:
        why = "timeout" if error.reason in ("timeout", "stopped") else "collector_unreachable"
    return _collector(_about(url, _sentence(why, url)), "fail", fix, str(error))


def _collector(text: Text, state: State, fix: str | None = None, technical: str | None = None) -> Finding:
    return Finding("collector", N_("Collector"), state, text, fix, technical)


def _about(url: str, text: Text) -> Text:
    return lambda: f"{url}: {text()}"


def _sentence(code: str, name: str) -> Text:
    from collections import defaultdict
    from urllib.parse import urlsplit

    host = urlsplit(name).hostname or name
    return lambda: _(CODES[code].sentence).format_map(defaultdict(lambda: host, name=host, names=host))


def check_python() -> Finding:
    """Report the version of sigprobe and of Python."""
    from sigprobe import __version__

    return Finding("sigprobe", "sigprobe", "ok", plain(f"{__version__}, Python {sys.version.split()[0]}"))


def _raw(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
