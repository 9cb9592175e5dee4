"""`sigprobe doctor`: check this device, with one fix to paste for each fault."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import typer

from sigprobe.commands.support import common, terminal
from sigprobe.files import locations
from sigprobe.words.i18n import _

if TYPE_CHECKING:
    from sigprobe.config import Loaded
    from sigprobe.device.doctor import Finding


def doctor(*, config: common.ConfigOption = None, as_json: common.JsonOption = False) -> None:
    loaded = common.settings(config)
    out = terminal.current()
    found: list[Finding] = []
    for finding in _findings(loaded):
        found.append(finding)
        if out.err_tty and not out.quiet:
            out.say(f"{'...' if out.err_ascii else '…'} {finding.name}")
    if as_json:
        out.result(
            json.dumps(
                [{"name": f.name, "state": f.state, "detail": f.detail, "fix": _fix(f)} for f in found],
                ensure_ascii=True,
                indent=2,
            )
        )
    else:
        from sigprobe.render.status import DoctorLine, doctor_text

        lines = [DoctorLine(f.name, f.state, f.detail, _fix(f)) for f in found]
        out.show(doctor_text(lines, ascii=out.ascii, plain=out.plain))
        out.show(_("Log file: {path}").format(path=locations.log_file()))
        if out.quiet:
            for finding in found:
                if finding.state == "fail":
                    out.error(f"{finding.name}: {finding.detail} > {finding.fix}")
    raise typer.Exit(1 if any(f.state == "fail" for f in found) else 0)


def _fix(finding: Finding) -> str | None:
    return None if finding.state == "ok" else finding.fix


def _findings(loaded: Loaded) -> Iterator[Finding]:
    from sigprobe.commands.status import other_queues
    from sigprobe.device import doctor as checks
    from sigprobe.tag.clock import read_clock

    settings = loaded.config
    path = common.buffer_path(loaded)
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
    """The first name that a target wants looked up; an address asks no resolver."""
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
        yield checks.Finding(_("Collector"), "warn", _("none is configured"), "sigprobe init"), None, 0.0
    for entry in loaded.config.upload.collectors:
        collector = Collector(entry.url, None, entry.ca_file, entry.allow_unchecked_time, loaded.config.upload.proxy)
        if collector.time_unchecked:
            detail = _("{url}: the dates are not checked, as allow_unchecked_time asks for").format(url=entry.url)
            fix = "sigprobe config show --origin | grep allow_unchecked_time"
            yield checks.Finding(_("Certificate dates"), "warn", detail, fix), None, 0.0
        try:
            token = read_token(entry.token_file)
        except TokenError as error:
            fix = f"chmod 600 {error.path}" if error.reason == "lax" else f"ls -l {error.path}"
            detail = f"{entry.url}: {common.token_sentence(error.reason, error.path)}"
            yield checks.Finding(_("Token"), "fail", detail, fix), None, 0.0
            continue
        if token is None:
            detail = f"{entry.url}: {common.token_sentence('none', '')}"
            yield checks.Finding(_("Token"), "fail", detail, "sigprobe config show --origin"), None, 0.0
            continue
        state: checks.State = "warn" if token.origin == "environment" else "ok"
        yield checks.Finding(_("Token"), state, f"{entry.url}: {token.origin}", "unset SIGPROBE_TOKEN"), None, 0.0
        yield checks.check_collector(replace(collector, token=token.text))
