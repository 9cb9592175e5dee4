"""`sigprobe ready`: can this place send the photos of the result in time?"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sigprobe.commands.support import common, terminal
from sigprobe.words.i18n import N_, _, duration, number, rate

if TYPE_CHECKING:
    from sigprobe.buffer import Buffer
    from sigprobe.verdict.forecast import Forecast, Measurement, Task


def ready(
    *,
    config: common.ConfigOption = None,
    photos: Annotated[int, typer.Option("--photos", min=1, max=1000, help=N_("How many photos."))] = 4,
    megabytes: Annotated[float, typer.Option("--mb", min=0.01, max=1000, help=N_("Megabytes a photo."))] = 3.0,
    minutes: Annotated[float, typer.Option("--minutes", min=0.1, max=1440, help=N_("Within how many minutes."))] = 10.0,
    within: Annotated[
        float, typer.Option("--within", metavar="H", min=0.1, max=720, help=N_("Use tests of the last H hours."))
    ] = 24.0,
    as_json: common.JsonOption = False,
    fail_below: Annotated[
        float | None, typer.Option("--fail-below", metavar="P", min=0, max=1, help=N_("Exit 3 below this probability."))
    ] = None,
) -> None:
    from sigprobe.verdict.forecast import Task, forecast

    loaded = common.settings(config)
    probe = loaded.config.probe
    task = Task(photos, megabytes, minutes)
    with common.open_buffer(loaded) as buffer:
        found = forecast(task, list(_measured(buffer, probe.tps_id, probe.site, within)))
    out = terminal.current()
    if as_json:
        out.result(json.dumps(_document(task, found)))
    else:
        out.show(_text(task, found, within))
    if fail_below is not None and (found.probability is None or found.probability < fail_below):
        raise typer.Exit(common.BELOW_THRESHOLD)


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


def _document(task: Task, found: Forecast) -> dict[str, Any]:
    from math import isinf

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
                _("Not known: no upload was measured here in the last {time}.").format(time=duration(within * 3600)),
                _("Next: {command}").format(command="sigprobe test"),
            ]
        )
    lines = [
        question,
        f"{_word(found.probability)} ({number(found.probability * 100)} %).",
        _("Measured {n}× in the last {time}, most recently {age} ago; {failed} of them failed.").format(
            n=found.measurements,
            time=duration(within * 3600),
            age=duration(found.newest_age_h * 3600),
            failed=found.failed,
        ),
    ]
    if found.typical_minutes is not None:
        lines.append(
            _("At the usual speed it takes about {time}; at least {rate} of upload is needed.").format(
                time=duration(found.typical_minutes * 60), rate=rate(found.needed_bps)
            )
            if found.needed_bps < 1e12
            else _("The waiting for answers alone takes longer than that.")
        )
    if found.probability < 0.75:
        lines.append(_("Smaller photos, more time, or another place would help."))
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
