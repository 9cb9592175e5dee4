"""Run one test and one upload from the settings; shared by commands and agent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sigprobe.buffer import Buffer
from sigprobe.net import routes
from sigprobe.runs.clock import clock_offset
from sigprobe.runs.data_budget import LARGE_BYTES, Limits, allowance, day_of, day_share, is_due, on_the_wire
from sigprobe.runs.setup import backoff_of
from sigprobe.upload import Collector, Mode, Report, drain
from sigprobe.upload.clock_offset import keep, offset_file
from sigprobe.upload.unchecked_tls_dates import last_unchecked, note_unchecked

if TYPE_CHECKING:
    from sigprobe.config import Loaded
    from sigprobe.measure.kind import CommonOptions
    from sigprobe.record.profile import Profile
    from sigprobe.runs.session import Hooks, RunPlan, RunReport


@dataclass(frozen=True, slots=True)
class Wish:
    """Options of the command line that override the settings; None and empty mean: use the settings."""

    targets: Sequence[CommonOptions] | None = None
    tps_id: str | None = None
    operator: str = ""
    position: tuple[float, float] | None = None
    max_bytes: int | None = None
    max_time_s: float | None = None
    scheduled: bool = False
    """Large checks are left out while the day's share of data is used up."""
    next_in_s: float | None = None
    """Seconds until the next scheduled run, where its exact time is known; else the schedule's period counts."""


def make_plan(loaded: Loaded, buffer: Buffer, senders: Sequence[Collector], profile: Profile, wish: Wish) -> RunPlan:
    """Build the plan of one session within the remaining data budgets."""
    from sigprobe.net.urls import origin
    from sigprobe.runs.session import RunPlan

    config = loaded.config
    probe = config.probe
    route = routes.main_route()
    limits = config.data_budget
    interface = None if route is None else route.interface
    own = limits.interfaces.get(interface or "")
    unchecked = last_unchecked(buffer.configured_path)
    targets = config.checks() if wish.targets is None else wish.targets
    everywhere = Limits(limits.per_run_mb, limits.per_day_mb, limits.per_month_mb)
    here = None if own is None else Limits(own.per_run_mb, own.per_day_mb, own.per_month_mb)
    note: dict[str, object] = {} if unchecked is None else {"time_unchecked_at": unchecked[0]}
    later: list[str] = []
    if wish.scheduled:
        # a collector that knows this notices a device that falls silent
        note["next_contact_s"] = round(wish.next_in_s or config.schedule.every_min * 60.0)
        groups = [(everywhere, None), *([] if here is None else [(here, interface)])]
        targets, later = in_share(targets, buffer, groups)
    return RunPlan(
        targets=targets,
        tps_id=wish.tps_id or probe.tps_id,
        site=None if wish.tps_id else probe.site,
        election_id=probe.election_id,
        operator=wish.operator or probe.operator or None,
        profile=profile,
        location_timeout_s=config.location.timeout_ms / 1000,
        max_bytes=allowance(
            today(),
            buffer.usage,
            everywhere,
            interface,
            here,
            wish.max_bytes,
        ),
        max_time_s=wish.max_time_s,
        tokens={origin(c.url): c.token for c in senders if c.token is not None},
        ca_files={origin(c.url): c.ca_file for c in senders if c.ca_file is not None},
        note={**note, "left_for_later": later} if later else note,
    )


def in_share(
    targets: Sequence[CommonOptions], buffer: Buffer, groups: Sequence[tuple[Limits, str | None]]
) -> tuple[list[CommonOptions], list[str]]:
    """Return the checks of a scheduled run, and the names of large ones that wait for their share of the day."""
    now = datetime.now(UTC)
    day = day_of(now)
    due = all(
        is_due(day_share(now, buffer.usage, [(limits, interface)]), buffer.usage(day, interface), now)
        for limits, interface in groups
    )
    later = [] if due else [target.name for target in targets if target.estimate().bytes > LARGE_BYTES]
    return [target for target in targets if target.name not in later], later


def measure(
    loaded: Loaded,
    plan: RunPlan,
    buffer: Buffer,
    hooks: Hooks | None = None,
    *,
    position: tuple[float, float] | None = None,
    stop: threading.Event | None = None,
) -> RunReport:
    """Run one session, count its data, and store every result. A set `stop` ends it as Ctrl-C does."""
    from sigprobe.lists import registered
    from sigprobe.runs.session import Session
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
        modem.wait()  # so that the first checks already have the modem's data
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
    """Upload, count the data used, and store the clock offset it measured. Raises StorageError for the queue."""
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
    """Count the data of an upload, store its clock offset, and note collectors with unchecked certificate dates."""
    note_unchecked(buffer.configured_path, report.time_unchecked)
    used = report.bytes_sent + report.bytes_received
    if used:
        route = routes.main_route()
        buffer.add_usage(today(), "" if route is None else route.interface, on_the_wire(used))
    keep(offset_file(buffer.configured_path), report, buffer.boot_id)


def today() -> str:
    """Return the date for the data counters."""
    return day_of(datetime.now(UTC))
