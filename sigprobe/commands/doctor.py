"""`sigprobe doctor`: check this device, with a command that fixes each fault."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sigprobe.commands.support import draw, opening, options, sentences, terminal
from sigprobe.commands.support.command_result import CommandResult, Json, Message, Output, Screen
from sigprobe.commands.support.exit_codes import FAILED
from sigprobe.files import locations
from sigprobe.words.i18n import N_, _

if TYPE_CHECKING:
    from sigprobe.config import Loaded
    from sigprobe.device.doctor import Finding, State, Text


@dataclass(frozen=True, slots=True)
class Examined(CommandResult):
    """The findings of all checks."""

    found: Sequence[Finding]

    @property
    def exit_code(self) -> int:
        """Return 1 if a check failed, else 0."""
        return FAILED if any(finding.state == "fail" for finding in self.found) else 0

    def messages(self, output: Output, screen: Screen) -> Iterable[Message]:
        """Yield one line for each failed check under `-q`."""
        for finding in self.found if screen.quiet and output.for_people else ():
            if finding.state == "fail":
                yield Message(f"{finding.name}: {finding.detail} > {finding.fix}", error=True)

    def text(self, screen: Screen) -> str:
        """Return one line a check, its fix below it, and the log file."""
        from sigprobe.render.status import DoctorLine, doctor_text

        lines = [
            DoctorLine(f.name, f.state, f.detail, _fix(f), f.technical if screen.verbose else None) for f in self.found
        ]
        text = doctor_text(lines, width=screen.width, ascii=screen.ascii, plain=screen.plain)
        return text + _("Log file: {path}").format(path=locations.log_file())

    def document(self) -> Json:
        """Return the findings for programs: `check` and `data` are the same in every language."""
        return [
            {
                "check": f.check,
                "name": f.name_en,
                "state": f.state,
                "detail": f.detail_en,
                "fix": _fix(f),
                "data": f.technical,
            }
            for f in self.found
        ]


def doctor(*, config: options.ConfigOption = None, as_json: options.JsonOption = False) -> CommandResult:
    loaded = opening.settings(config)
    out = terminal.current()
    found: list[Finding] = []
    for finding in _findings(loaded):
        found.append(finding)
        if out.err_tty:
            draw.message(Message(f"{'...' if out.err_ascii else '…'} {finding.name}"))
    return Examined(found)


def _fix(finding: Finding) -> str | None:
    return None if finding.state == "ok" else finding.fix


def _findings(loaded: Loaded) -> Iterator[Finding]:
    from sigprobe.commands.status import other_queues
    from sigprobe.device import doctor as checks
    from sigprobe.tag.clock import read_clock

    settings = loaded.config
    path = opening.buffer_path(loaded)
    yield checks.check_python()
    yield from checks.check_install(loaded.path, path, other_queues(path))
    yield from checks.check_queue(path, settings.buffer.max_mb)
    yield checks.check_disk(path.parent if path.parent.exists() else loaded.path.parent)
    if settings.probe.tps_id is not None:
        yield checks.check_place(settings.probe.tps_id)
    yield checks.check_icmp()
    yield checks.check_network()
    yield checks.check_dns(_host(loaded))
    if settings.location.source in ("auto", "gpsd"):
        yield checks.check_gpsd(settings.location.gpsd, wanted=settings.location.source == "gpsd")
    yield from _receivers(settings.location.source, settings.location.nmea)
    server: float | None = None
    error = 0.0
    for finding, when, within in _collectors(loaded):
        yield finding
        if when is not None and server is None:
            server, error = when, within
    yield checks.check_clock(server, error, read_clock().synced, time.time())


def _receivers(source: str, nmea: str | None) -> Iterator[Finding]:
    from sigprobe.device import doctor as checks
    from sigprobe.net import routes
    from sigprobe.tag.gps import open_gps
    from sigprobe.tag.modem import ModemReader

    if source in ("auto", "nmea") and nmea is not None:
        with open_gps(source="nmea", nmea=nmea) as gps:
            yield checks.check_nmea(nmea, gps)
    route = routes.main_route()
    with ModemReader() as modem:
        yield from checks.check_modems(modem, None if route is None else route.interface, wanted=source == "modem")


def _host(loaded: Loaded) -> str:
    """Return the first host name among the targets; an address needs no DNS server."""
    for target in loaded.config.targets:
        host = str(getattr(target, "hostname", None) or urlsplit(getattr(target, "url", "") or "").hostname or "")
        if host and not _is_address(host):
            return host
    return "localhost"


def _is_address(host: str) -> bool:
    from ipaddress import ip_address

    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _collectors(loaded: Loaded) -> Iterator[tuple[Finding, float | None, float]]:
    from sigprobe.device import doctor as checks
    from sigprobe.files.tokens import TokenError, read_token
    from sigprobe.upload import Collector

    if not loaded.config.upload.collectors:
        none = checks.Finding(
            "collector", N_("Collector"), "warn", lambda: _("none is configured"), "sigprobe explain SP-SYN-07"
        )
        yield none, None, 0.0
    for entry in loaded.config.upload.collectors:
        collector = Collector(entry.url, None, entry.ca_file, entry.allow_unchecked_time, loaded.config.upload.proxy)
        if collector.time_unchecked:
            yield _unchecked_dates(entry.url), None, 0.0
        try:
            token = read_token(entry.token_file)
        except TokenError as error:
            fix = shlex.join(["chmod", "600", error.path] if error.reason == "lax" else ["ls", "-ld", error.path])
            yield _token(entry.url, "fail", _why_not(error.reason, error.path), fix), None, 0.0
            continue
        if token is None:
            yield _token(entry.url, "fail", _why_not("none", ""), "sigprobe config show --origin"), None, 0.0
            continue
        state: State = "warn" if token.origin == "environment" else "ok"
        yield _token(entry.url, state, _origin(token.origin), "unset SIGPROBE_TOKEN"), None, 0.0
        yield checks.check_collector(replace(collector, token=token.text))


def _token(url: str, state: State, text: Text, fix: str) -> Finding:
    from sigprobe.device.doctor import Finding

    return Finding("token", N_("Token"), state, lambda: f"{url}: {text()}", fix)


def _why_not(reason: str, path: str) -> Text:
    return lambda: sentences.token_sentence(reason, path)


def _origin(origin: str) -> Text:
    """Return where a token comes from."""
    return lambda: _("from SIGPROBE_TOKEN") if origin == "environment" else _("read from its file")


def _unchecked_dates(url: str) -> Finding:
    from sigprobe.device.doctor import Finding

    return Finding(
        "certificate_dates",
        N_("Certificate dates"),
        "warn",
        lambda: _("{url}: the dates are not checked, as allow_unchecked_time asks for").format(url=url),
        "sigprobe config show --origin | grep allow_unchecked_time",
    )
