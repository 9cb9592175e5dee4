"""`sigprobe ready`: estimate whether photos can be uploaded from here in time."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from sigprobe.commands.support import opening, options
from sigprobe.commands.support.command_result import CommandResult, Json, Screen
from sigprobe.commands.support.exit_codes import BELOW_THRESHOLD
from sigprobe.words.i18n import N_, _, duration, number, rate

if TYPE_CHECKING:
    from sigprobe.buffer import Buffer
    from sigprobe.verdict.forecast import Forecast, Measurement, Task


@dataclass(frozen=True, slots=True)
class Estimated(CommandResult):
    """How likely an upload is done in time; `fail_below` is the probability below which the exit code is 3."""

    task: Task
    found: Forecast
    within_h: float
    fail_below: float | None
    compact = True

    @property
    def exit_code(self) -> int:
        """3 below the wanted probability, also where none is known."""
        if self.fail_below is None:
            return 0
        probability = self.found.probability
        return BELOW_THRESHOLD if probability is None or probability < self.fail_below else 0

    def text(self, screen: Screen) -> str:
        """The question and its answer in words."""
        return _text(self.task, self.found, self.within_h)

    def document(self) -> Json:
        """The same for programs."""
        from math import isinf

        task, found = self.task, self.found
        return {
            "photos": task.photos,
            "photo_mb": task.photo_mb,
            "minutes": task.minutes,
            "probability": found.probability,
            "needed_bps": None if isinf(found.needed_bps) else round(found.needed_bps),
            "typical_minutes": found.typical_minutes,
            "measurements": found.measurements,
            "failed": found.failed,
            "newest_age_h": found.newest_age_h,
        }


def ready(
    *,
    config: options.ConfigOption = None,
    photos: Annotated[int, typer.Option("--photos", min=1, max=1000, help=N_("How many photos."))] = 4,
    megabytes: Annotated[float, typer.Option("--mb", min=0.01, max=1000, help=N_("Megabytes per photo."))] = 3.0,
    minutes: Annotated[float, typer.Option("--minutes", min=0.1, max=1440, help=N_("Time limit in minutes."))] = 10.0,
    within: Annotated[
        float, typer.Option("--within", metavar="H", min=0.1, max=720, help=N_("Use tests of the last H hours."))
    ] = 24.0,
    as_json: options.JsonOption = False,
    fail_below: Annotated[
        float | None, typer.Option("--fail-below", metavar="P", min=0, max=1, help=N_("Exit 3 below this probability."))
    ] = None,
) -> CommandResult:
    from sigprobe.verdict.forecast import Task, forecast

    loaded = opening.settings(config)
    probe = loaded.config.probe
    task = Task(photos, megabytes, minutes)
    with opening.open_buffer(loaded) as buffer:
        found = forecast(task, list(_measured(buffer, probe.tps_id, probe.site, within)))
    return Estimated(task, found, within, fail_below)


def _measured(buffer: Buffer, tps_id: str | None, site: str | None, within: float) -> Iterator[Measurement]:
    """Uploads measured at this place in the last hours, from this device's own queue."""
    from sigprobe.record.result import is_at_least, parse_time
    from sigprobe.verdict.forecast import Measurement

    for row in buffer.rows():
        if b"throughput" not in row.line:  # a look at the bytes is cheap, and the queue may hold a year
            continue
        record = json.loads(row.line)
        tags = record.get("tags", {})
        if record.get("kind") != "throughput" or (tags.get("tps_id"), tags.get("site")) != (tps_id, site):
            continue
        data = record.get("data", {})
        began = parse_time(str(record.get("started_at")))
        tried = data.get("upload_bps") is not None or data.get("upload_failure") is not None
        if began is None or record.get("outcome") == "skipped" or not tried:
            continue
        age = (time.time() - began.timestamp()) / 3600
        if -1 <= age <= within:
            interval = data.get("upload_ci_bps")
            whole = isinstance(interval, list) and len(interval) == 2
            yield Measurement(
                max(0.0, age),
                data.get("upload_bps"),
                (interval[0], interval[1]) if whole else None,
                data.get("loaded_rtt_ms") or data.get("idle_rtt_ms"),
                is_at_least(data, "upload_bps"),
            )


def _text(task: Task, found: Forecast, within: float) -> str:
    question = _("Can {photos} photos of {mb} MB be sent within {time}?").format(
        photos=task.photos,
        mb=number(task.photo_mb, 0 if task.photo_mb == int(task.photo_mb) else 1),
        time=duration(task.minutes * 60),
    )
    if found.probability is None or found.newest_age_h is None:
        return "\n".join(
            [
                question,
                _("Unknown: no upload was measured here in the last {time}.").format(time=duration(within * 3600)),
                _("Next: {command}").format(command="sigprobe test"),
            ]
        )
    lines = [
        question,
        f"{_word(found.probability)} ({number(found.probability * 100)} %).",
        _("Based on {n} tests in the last {time} (most recently {age} ago), {failed} failed.").format(
            n=found.measurements,
            time=duration(within * 3600),
            age=duration(found.newest_age_h * 3600),
            failed=found.failed,
        ),
    ]
    if found.typical_minutes is not None:
        lines.append(
            _("At the typical speed it takes about {time}; an upload of at least {rate} is needed.").format(
                time=duration(found.typical_minutes * 60), rate=rate(found.needed_bps)
            )
            if found.needed_bps < 1e12
            else _("Waiting for responses alone takes longer than that.")
        )
    if found.probability < 0.75:
        lines.append(_("Smaller photos, more time, or another location would help."))
    return "\n".join(lines)


def _word(probability: float) -> str:
    if probability >= 0.95:
        return _("Almost certainly yes")
    if probability >= 0.75:
        return _("Probably yes")
    if probability >= 0.4:
        return _("Uncertain")
    if probability >= 0.1:
        return _("Probably not")
    return _("Almost certainly not")
