"""One round, as the verbs and the agent share it: the plan from the settings, the session, the counters, the drain."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sigprobe import link, paths
from sigprobe.budget import OVERHEAD, Limits, allowance, day_of
from sigprobe.buffer import Buffer
from sigprobe.upload import Backoff, Collector, Mode, Report, drain
from sigprobe.upload.offset import estimate, keep, offset_file
from sigprobe.upload.unchecked import last_unchecked, note_unchecked

if TYPE_CHECKING:
    from sigprobe.config import Loaded
    from sigprobe.measure.kind import CommonOptions
    from sigprobe.profile import Profile
    from sigprobe.session import Hooks, Plan, RunReport
    from sigprobe.tag.gps import GpsReader

GPS_TIME_ERROR_MS: Final = 6_000.0
"""How late the report of a fix may reach us and still be taken for fresh, and a second more."""
GPS_TIME_FROM: Final = datetime(2026, 1, 1, tzinfo=UTC)
CLOCK_WRONG_S: Final = 60.0
"""From here on a wrong clock is said on the screen."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line asks for beyond the settings; None and empty mean: as the settings say."""

    targets: Sequence[CommonOptions] | None = None
    tps_id: str | None = None
    operator: str = ""
    position: tuple[float, float] | None = None
    max_bytes: int | None = None
    max_time_s: float | None = None


@dataclass(frozen=True, slots=True)
class TokenTrouble:
    """A collector that is left out because its token cannot be used: a reason of `TokenError`, or `none`."""

    url: str
    reason: str
    path: str


def queue_path(loaded: Loaded) -> Path:
    """Where the queue lies: as configured, else where the settings file that is in force has it."""
    configured = loaded.config.buffer.path
    return paths.default_queue(loaded.path) if configured is None else Path(configured)


def backoff_of(queue: Path) -> Backoff:
    """The memory of failed tries that lies beside the queue, read anew."""
    return Backoff(queue.with_name(queue.name + ".backoff.json"))


def read_collectors(loaded: Loaded) -> tuple[list[Collector], list[TokenTrouble], bool]:
    """The collectors that may be asked, with their tokens; those that may not; whether a token is the environment's."""
    from sigprobe.credentials import TokenError, read_token

    found: list[Collector] = []
    trouble: list[TokenTrouble] = []
    from_environment = False
    upload = loaded.config.upload
    for entry in upload.collectors:
        try:
            token = read_token(entry.token_file)
        except TokenError as error:
            trouble.append(TokenTrouble(entry.url, error.reason, error.path))
            continue
        if token is None:
            trouble.append(TokenTrouble(entry.url, "none", ""))
            continue
        from_environment = from_environment or token.origin == "environment"
        found.append(Collector(entry.url, token.text, entry.ca_file, entry.allow_unchecked_time, upload.proxy))
    return found, trouble, from_environment


def make_plan(loaded: Loaded, buffer: Buffer, senders: Sequence[Collector], profile: Profile, wish: Wish) -> Plan:
    """What one session is to do, within what the data budgets leave."""
    from sigprobe.measure.urls import origin
    from sigprobe.session import Plan

    config = loaded.config
    probe = config.probe
    route = link.main_route()
    limits = config.data_budget
    interface = None if route is None else route.interface
    own = limits.interfaces.get(interface or "")
    unchecked = last_unchecked(buffer.configured_path)
    return Plan(
        targets=config.checks() if wish.targets is None else wish.targets,
        tps_id=wish.tps_id or probe.tps_id,
        site=None if wish.tps_id else probe.site,
        election_id=probe.election_id,
        operator=wish.operator or probe.operator or None,
        profile=profile,
        location_timeout_s=config.location.timeout_ms / 1000,
        max_bytes=allowance(
            today(),
            buffer.usage,
            Limits(limits.per_run_mb, limits.per_day_mb, limits.per_month_mb),
            interface,
            None if own is None else Limits(own.per_run_mb, own.per_day_mb, own.per_month_mb),
            wish.max_bytes,
        ),
        max_time_s=wish.max_time_s,
        tokens={origin(c.url): c.token for c in senders if c.token is not None},
        ca_files={origin(c.url): c.ca_file for c in senders if c.ca_file is not None},
        note={} if unchecked is None else {"time_unchecked_at": unchecked[0]},
    )


def measure(
    loaded: Loaded,
    plan: Plan,
    buffer: Buffer,
    hooks: Hooks | None = None,
    *,
    position: tuple[float, float] | None = None,
    stop: threading.Event | None = None,
) -> RunReport:
    """Run one session, count its data, and keep every result. A set `stop` ends it as Ctrl-C does."""
    from sigprobe.lists import registered
    from sigprobe.session import Session
    from sigprobe.tag.fix import Expected
    from sigprobe.tag.gps import open_gps
    from sigprobe.tag.modem import ModemReader

    place = loaded.config.location
    fixed = None if place.fixed is None else (place.fixed.lat, place.fixed.lon)
    expected = Expected(plan.tps_id, registered(buffer.configured_path, plan.tps_id))
    with (
        ModemReader() as modem,
        open_gps(
            source=place.source,
            gpsd=place.gpsd,
            nmea=place.nmea,
            fixed=fixed,
            manual=position,
            expected=expected,
        ) as gps,
    ):
        modem.wait()  # so that the first checks already carry what the modem says
        report = Session(
            plan, buffer, gps, hooks, stop=stop, clock_offset=lambda: clock_offset(buffer, gps), modem=modem
        ).run()
    buffer.add_usage(today(), report.interface or "", report.data_used_bytes)
    return report


def send(
    buffer: Buffer,
    senders: Sequence[Collector],
    *,
    mode: Mode = Mode.QUIET,
    limit_s: float | None = None,
    give_way_s: float | None = None,
    progress: Callable[[Report], None] = lambda _: None,
    stop: threading.Event | None = None,
) -> Report:
    """Drain, count the data it took, and keep what it told of the clock. Raises StorageError for the queue."""
    report = drain(
        buffer,
        senders,
        backoff_of(buffer.configured_path),
        mode=mode,
        limit_s=limit_s,
        give_way_s=give_way_s,
        progress=progress,
        stop=stop,
    )
    after_drain(buffer, report)
    return report


def after_drain(buffer: Buffer, report: Report) -> None:
    """Count the data a drain took, keep what it told of the clock, and note whose dates it left unchecked."""
    note_unchecked(buffer.configured_path, report.time_unchecked)
    used = report.bytes_sent + report.bytes_received
    if used:
        route = link.main_route()
        buffer.add_usage(today(), "" if route is None else route.interface, round(used * OVERHEAD))
    keep(offset_file(buffer.configured_path), report, buffer.boot_id)


def clock_offset(buffer: Buffer, gps: GpsReader | None = None) -> tuple[float, float] | None:
    """True time minus this device's clock and its uncertainty, in ms: from receipts or GPS, whichever is surer."""
    learnt = estimate(offset_file(buffer.configured_path), buffer.boot_id)
    told = None if gps is None else gps_offset(gps)
    return min((found for found in (learnt, told) if found is not None), key=lambda found: found[1], default=None)


def gps_offset(gps: GpsReader) -> tuple[float, float] | None:
    """The receiver's time minus this device's clock, in ms; None without a measured fix."""
    import time

    from sigprobe.result import parse_time

    fix = gps.newest()
    if fix is None or fix.at_s is None or fix.time is None or fix.oddity is not None:
        return None
    when = parse_time(fix.time)
    # a receiver whose count of weeks has run over is 19.6 years behind
    if when is None or when < GPS_TIME_FROM:
        return None
    wall_then = time.time() - (time.monotonic() - fix.at_s)
    return round((when.timestamp() - wall_then) * 1000, 3), GPS_TIME_ERROR_MS


def clock_is_wrong(report: Report) -> bool:
    """True when the collector's clock and ours differ so much that a person should know."""
    return (
        report.clock_offset_ms is not None
        and abs(report.clock_offset_ms) - (report.clock_error_ms or 0.0) > CLOCK_WRONG_S * 1000
    )


def today() -> str:
    """The day that data counters go by."""
    return day_of(datetime.now(UTC))
