"""`sigprobe ready`: estimate whether photos can be uploaded from here in time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from sigprobe.commands.support import opening, options
from sigprobe.commands.support.command_result import CommandResult, Json, Screen
from sigprobe.commands.support.exit_codes import BELOW_THRESHOLD
from sigprobe.words.i18n import N_, _, duration, ngettext, number, rate

if TYPE_CHECKING:
    from sigprobe.verdict.forecast import Forecast, Task


@dataclass(frozen=True, slots=True)
class Estimated(CommandResult):
    """How likely an upload is done in time; `fail_below` is the probability below which the exit code is 3."""

    task: Task
    found: Forecast
    within_h: float
    fail_below: float | None
    unreachable: tuple[str, ...] = ()
    """Services that did not answer in the newest test of them. Where all failed, no probability is given."""
    compact = True
    prose = True

    @property
    def exit_code(self) -> int:
        """Return 3 below the wanted probability, also if none is known."""
        if self.fail_below is None:
            return 0
        probability = self.found.probability
        return BELOW_THRESHOLD if probability is None or probability < self.fail_below else 0

    def text(self, screen: Screen) -> str:
        """Return the question and its answer in words."""
        return _text(self.task, self.found, self.within_h, self.unreachable)

    def document(self) -> Json:
        """Return the same for programs."""
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
            "interval_minutes": None if found.interval_minutes is None else list(found.interval_minutes),
            "probability_range": None if found.probability_range is None else list(found.probability_range),
            "dead_share": found.dead_share,
            "unreachable": list(self.unreachable),
            "reason": self.reason,
        }

    @property
    def reason(self) -> str | None:
        """Return the code of the reason why there is no probability."""
        if self.found.probability is not None:
            return None
        return "service_unreachable" if self.unreachable else "no_upload_measured"


def ready(
    *,
    config: options.ConfigOption = None,
    photos: Annotated[int, typer.Option("--photos", min=1, max=1000, help=N_("How many photos."))] = 4,
    megabytes: Annotated[float, typer.Option("--mb", min=0.01, max=1000, help=N_("Megabytes per photo."))] = 3.0,
    minutes: Annotated[float, typer.Option("--minutes", min=0.1, max=1440, help=N_("Time limit in minutes."))] = 10.0,
    within: Annotated[
        float, typer.Option("--within", metavar="H", min=0.1, max=720, help=N_("Use tests of the last H hours."))
    ] = 24.0,
    to: Annotated[
        str | None, typer.Option("--to", metavar="NAME", help=N_("Check that this web target answered; default: any."))
    ] = None,
    as_json: options.JsonOption = False,
    fail_below: Annotated[
        float | None, typer.Option("--fail-below", metavar="P", min=0, max=1, help=N_("Exit 3 below this probability."))
    ] = None,
) -> CommandResult:
    from sigprobe.record.kinds import Way, way
    from sigprobe.runs.past_tests import past_tests
    from sigprobe.verdict.forecast import Task, forecast

    loaded = opening.settings(config)
    probe = loaded.config.probe
    known = {target.name for target in loaded.config.targets if way(target.kind) is Way.PAGE}
    if to is not None and to not in known:
        raise typer.BadParameter(_("There is no web target named {name} in the settings.").format(name=to))
    task = Task(photos, megabytes, minutes)
    with opening.open_to_read(loaded) as buffer:
        tests, services = past_tests(buffer, probe.tps_id, probe.site, within)
    asked = {name: good for name, (_age, good) in services.items() if to is None or name == to}
    unreachable = tuple(sorted(name for name, good in asked.items() if not good))
    found = forecast(task, tests)
    if asked and len(unreachable) == len(asked):
        found = replace(found, probability=None, probability_range=None, typical_minutes=None, interval_minutes=None)
    return Estimated(task, found, within, fail_below, unreachable)


def _text(task: Task, found: Forecast, within: float, unreachable: tuple[str, ...]) -> str:
    question = _("Can {photos} photos of {mb} MB be sent within {time}?").format(
        photos=task.photos,
        mb=number(task.photo_mb, 0 if task.photo_mb == int(task.photo_mb) else 1),
        time=duration(task.minutes * 60),
    )
    if found.probability is None and unreachable:
        return "\n".join(
            [
                question,
                _("Unknown: {names} could not be reached in the latest test.").format(names=", ".join(unreachable)),
                _("Next: {command}").format(command="sigprobe test"),
            ]
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
    if found.probability_range is not None:
        lines.append(_few(found.measurements, *found.probability_range))
    if unreachable:
        lines.append(_("Not reached in the latest test: {names}.").format(names=", ".join(unreachable)))
    if found.typical_minutes is not None:
        lines.append(
            _("At the typical speed it takes about {time}; an upload of at least {rate} is needed.").format(
                time=duration(found.typical_minutes * 60), rate=rate(found.needed_bps)
            )
            if found.needed_bps < 1e12
            else _("Waiting for responses alone takes longer than that.")
        )
    if found.interval_minutes is not None and found.needed_bps < 1e12:
        lines.append(_times(*found.interval_minutes))
    if found.probability < 0.75:
        lines.append(_("Smaller photos, more time, or another location would help."))
    return "\n".join(lines)


def _times(low: float | None, high: float | None) -> str:
    """The 80 % interval of the time; an end that is None lies more than a month away."""
    if low is None:
        return _("In 9 of 10 cases it takes more than a month.")
    if high is None:
        return _("In 9 of 10 cases it takes more than {low}; it may take days.").format(low=duration(low * 60))
    return _("In 8 of 10 cases it takes between {low} and {high}.").format(
        low=duration(low * 60), high=duration(high * 60)
    )


def _few(count: int, low: float, high: float) -> str:
    """How far few tests may mislead."""
    text = ngettext(
        "Only {n} test so far: the probability may be between {low} and {high} %.",
        "Only {n} tests so far: the probability may be between {low} and {high} %.",
        count,
    )
    return text.format(n=count, low=number(low * 100), high=number(high * 100))


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
