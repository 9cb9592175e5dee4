"""`sigprobe status`: the queue, the last upload, the data used, and what to do next."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from sigprobe.commands.support import automation, opening, options, sentences
from sigprobe.commands.support.command_result import CommandResult, Json, Screen
from sigprobe.words.i18n import N_, number

if TYPE_CHECKING:
    from sigprobe.buffer import Buffer
    from sigprobe.buffer.rows import Imported
    from sigprobe.config import Loaded
    from sigprobe.places import Zone
    from sigprobe.render.status import StatusView


@dataclass(frozen=True, slots=True)
class Status(CommandResult):
    """The queue, the last upload and the data used, as a screen and as a document."""

    view: StatusView
    values: Mapping[str, Json]

    def text(self, screen: Screen) -> str:
        """Return one line a value, and the next command."""
        from sigprobe.render.status import status_text

        return status_text(self.view, width=screen.width, ascii=screen.ascii, plain=screen.plain)

    def document(self) -> Json:
        """Return the same for programs."""
        return self.values


def status(
    *,
    config: options.ConfigOption = None,
    as_json: options.JsonOption = False,
    coverage: Annotated[
        bool, typer.Option("--coverage", help=N_("Show which TPS of the list have no, an old, or a failed test."))
    ] = False,
    list_file: Annotated[
        Path | None,
        typer.Option("--list", metavar="FILE", help=N_("Import a list of TPS (CSV: id, name, lat, lon).")),
    ] = None,
    older_than: Annotated[
        float, typer.Option("--older-than", metavar="H", min=0, help=N_("Hours after which a test counts as old."))
    ] = 24.0,
    csv: Annotated[bool, typer.Option("--csv", help=N_("Print the coverage as CSV."))] = False,
) -> CommandResult:
    loaded = opening.settings(config)
    with opening.open_to_read(loaded) as buffer:
        if coverage or list_file is not None or csv:
            from sigprobe.commands.coverage import find

            return find(buffer, list_file, older_than)
        scheduled = automation.find(buffer.configured_path)
        others = buffer.imported()
        return Status(_view(loaded, buffer, others, scheduled), _document(loaded, buffer, others, scheduled))


def _days(buffer: Buffer) -> tuple[int, int]:
    from sigprobe.runs.data_budget import day_of, month_of

    day = day_of(datetime.now(UTC))
    return buffer.usage(day), buffer.usage(month_of(day))


def _document(loaded: Loaded, buffer: Buffer, others: Imported, scheduled: automation.Automation) -> Mapping[str, Json]:
    stats = buffer.stats()
    day, month = _days(buffer)
    backoff = opening.open_backoff(buffer)
    again = sentences.local_time(backoff.next_at([c.url for c in loaded.config.upload.collectors]))
    from sigprobe.record.result import format_time
    from sigprobe.upload.unchecked_tls_dates import last_unchecked

    unchecked_at, unchecked = last_unchecked(buffer.configured_path) or (None, [])
    first, _zone = _first_of(others)
    return {
        "pending": stats.pending,
        "pending_of_others": others.pending,
        "acked": stats.acked,
        "rejected": stats.rejected,
        "carried": stats.carried,
        "damaged": stats.damaged,
        "oldest_pending_at": stats.oldest_pending_at,
        "imported": {
            "pending": others.pending,
            "acked": others.acked,
            "rejected": others.rejected,
            "carried": others.carried,
            "damaged": others.damaged,
            "oldest_pending_at": others.oldest_pending_at,
            "oldest_measured_at": None if first is None else format_time(first),
        },
        "last_upload_at": stats.last_upload_at,
        "time_unchecked_at": unchecked_at,
        "time_unchecked": unchecked,
        "next_try_at": None if again is None else format_time(again),
        "next_run_at": None if scheduled.next_at is None else format_time(scheduled.next_at),
        "schedule": scheduled.way,
        "probe_id": buffer.probe_id,
        "stream_id": buffer.stream_id,
        "path": str(buffer.path),
        "size_bytes": stats.size_bytes,
        "max_bytes": stats.max_bytes,
        "set_aside_files": list(stats.set_aside_files),
        "newer_files": list(stats.newer_files),
        "other_queues": [str(p) for p in other_queues(buffer.configured_path)],
        "data_used_today_bytes": day,
        "data_used_month_bytes": month,
    }


def other_queues(mine: Path) -> list[Path]:
    """Return the queues of the other two installs: results may be waiting there unnoticed."""
    from sigprobe.files import locations

    known = (locations.queue_file(), locations.SYSTEM_QUEUE)
    found = []
    for path in known:
        try:
            if path.exists() and path.resolve() != mine.resolve():
                found.append(path)
        except OSError:
            continue
    return found


def _view(loaded: Loaded, buffer: Buffer, others: Imported, scheduled: automation.Automation) -> StatusView:
    from sigprobe import places
    from sigprobe.buffer import State
    from sigprobe.record.result import parse_time
    from sigprobe.render.status import StatusView, Usage
    from sigprobe.upload.unchecked_tls_dates import last_unchecked

    stats = buffer.stats()
    unchecked = last_unchecked(buffer.configured_path)
    day, month = _days(buffer)
    budget = loaded.config.data_budget
    backoff = opening.open_backoff(buffer)
    reasons: dict[str, int] = {}
    for row in buffer.rows(State.REJECTED, State.DAMAGED):
        reasons[row.reason or ""] = reasons.get(row.reason or "", 0) + 1
    fix, fix_at = _last_fix(buffer)
    first, first_zone = _first_of(others)
    return StatusView(
        pending=stats.pending,
        acked=stats.acked,
        rejected=stats.rejected + stats.damaged,
        carried=stats.carried,
        imported_pending=others.pending,
        imported_acked=others.acked,
        imported_rejected=others.rejected + others.damaged,
        imported_carried=others.carried,
        oldest_pending_at=parse_time(stats.oldest_pending_at or ""),
        oldest_of_others_at=first,
        zone_of_others=first_zone,
        last_upload_at=parse_time(stats.last_upload_at or ""),
        time_unchecked_at=None if unchecked is None else parse_time(unchecked[0]),
        next_attempt_at=sentences.local_time(backoff.next_at([c.url for c in loaded.config.upload.collectors])),
        next_run_at=scheduled.next_at,
        way=scheduled.way,
        start_with=_start_with(loaded),
        every_min=loaded.config.schedule.every_min,
        reasons=reasons,
        day=Usage(day, _limit(budget.per_day_mb)),
        month=Usage(month, _limit(budget.per_month_mb)),
        buffer_path=str(buffer.path),
        buffer_bytes=stats.size_bytes,
        buffer_limit_bytes=stats.max_bytes,
        other_queues=[str(p) for p in other_queues(buffer.configured_path)]
        + list(stats.newer_files)
        + list(stats.set_aside_files),
        last_fix=fix,
        last_fix_at=fix_at,
        collectors=len(loaded.config.upload.collectors),
        zone=places.zone(loaded.config.probe.tps_id),
    )


def _first_of(others: Imported) -> tuple[datetime | None, Zone]:
    """Return when the first waiting result of another device was measured, and the zone of its TPS."""
    from sigprobe import places
    from sigprobe.record.result import parse_time

    line = others.oldest_pending_line
    record = {} if line is None else json.loads(line)
    return parse_time(str(record.get("started_at"))), places.zone(record.get("tags", {}).get("tps_id"))


def _limit(megabytes: int | None) -> int | None:
    return None if megabytes is None else megabytes * 1_000_000


def _start_with(loaded: Loaded) -> str:
    """Return the command that starts automatic tests on this device: a schedule needs systemd or cron."""
    from shutil import which

    from sigprobe.device import timers
    from sigprobe.files import locations

    possible = timers.has_systemd(system=locations.is_system(loaded.path)) or which("crontab") is not None
    return "sigprobe schedule install" if possible else "sigprobe agent"


_LOOKED_AT: Final = 1000
"""How many of this device's newest results are searched for its last position."""


def _last_fix(buffer: Buffer) -> tuple[str | None, datetime | None]:
    """Return the newest position among this device's own last results, and when its result began."""
    from sigprobe.record.result import parse_time

    text: str | None = None
    when: datetime | None = None
    for row in buffer.rows(newest=_LOOKED_AT, own=True):
        record = json.loads(row.line)
        place = record.get("tags", {}).get("location")
        if isinstance(place, dict) and isinstance(place.get("lat"), float) and isinstance(place.get("lon"), float):
            text = f"{number(place['lat'], 5)} {number(place['lon'], 5)}"
            when = parse_time(str(record.get("started_at")))
    return text, when
