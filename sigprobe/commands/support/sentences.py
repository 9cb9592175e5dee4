"""Return sentences that several commands print: failure codes, tokens, how an upload ended."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sigprobe.commands.support import terminal
from sigprobe.commands.support.command_result import Message
from sigprobe.words.i18n import _

if TYPE_CHECKING:
    from sigprobe.buffer import StorageError
    from sigprobe.config import Loaded
    from sigprobe.record.messages import MessageError
    from sigprobe.upload import Report


def code_text(code: str, detail: str | None = None, **values: object) -> str:
    """Return the sentence of a failure code and what to do; the technical detail only under `-v`."""
    from sigprobe.render import words

    lines = [f"{words.sentence(code, **values)} {words.screen_code(code)}", words.advice(code, **values)]
    if detail and terminal.current().verbose:
        lines.append(f"({detail})")
    return "\n".join(lines)


def queue_text(error: StorageError, path: Path | None, *, saves: bool) -> str:
    """Return why the queue cannot be used. Only a command that `saves` results says that none was saved."""
    from sigprobe.render import words

    if saves:
        lines = code_text(error.code).split("\n")
    else:
        reasons = {
            "disk_full": _("The storage is full, so the queue cannot be opened."),
            "buffer_limit": _("The queue has reached buffer.max_mb."),
        }
        text = reasons.get(error.code) or _("The queue cannot be opened.")
        advice = {"disk_full": _("Delete other files, then try again.")}.get(error.code) or words.advice(error.code)
        lines = [f"{text} {words.screen_code(error.code)}", advice]
    if path is not None:
        lines.append(_("Queue: {path}").format(path=path))
    if terminal.current().verbose:
        lines.append(f"({error})")
    return "\n".join(lines)


def message_text(error: MessageError, technical: str = "") -> str:
    """Return the text of an error in the language in use; technical details only under `-v`.

    A value that is a message is translated, too, and an error of the system is told by its cause.
    """
    text = _(error.message).format(**{name: _value(value) for name, value in error.values.items()})
    return f"{text}\n({technical})" if technical and terminal.current().verbose else text


def _value(value: object) -> object:
    from sigprobe.record.messages import MessageError

    if isinstance(value, MessageError):
        return message_text(value)
    if isinstance(value, OSError):
        return system_reason(value)
    return value


def code_error(code: str, detail: str | None = None, **values: object) -> Message:
    """Return `code_text` as an error message."""
    return Message(code_text(code, detail, **values), error=True)


def say_code(code: str, detail: str | None = None, **values: object) -> None:
    """Report a failure code at once, for commands that continue."""
    terminal.current().error(code_text(code, detail, **values))


def copied_queue() -> str:
    """Return the message for a queue that is a copy from another device."""
    return _(
        "This queue was copied from another device or directory. From now on this device has a probe id of its own; "
        "earlier results are still sent under the old id. If tests run automatically, run: sigprobe schedule install"
    )


def token_in_environment() -> str:
    """Return the warning for a token from SIGPROBE_TOKEN."""
    return _("Warning: the token comes from SIGPROBE_TOKEN; other programs of this user can read it there.")


def token_sentence(reason: str, path: str) -> str:
    """Return why a token cannot be used, and what to do."""
    command = ""
    if reason == "lax":
        text = _("other users can read or change the token file {path}, so it is not used. Run: {command}")
        command = shlex.join(["chmod", "600", path])
    elif reason == "missing":
        text = _("the token file {path} does not exist. Put the token from the monitoring centre there.")
    elif reason == "directory":
        text = _("{path} is a directory. Set token_file in the settings to a file with the token.")
    elif reason == "unreadable":
        text = _("this user is not allowed to read the token file {path}. Run: {command}")
        command = shlex.join(["ls", "-l", path])
    elif reason == "none":
        text = _("no token is configured. Set token_file in the settings to a file with the token.")
    else:
        text = _("the token in {path} is empty or malformed. Put the token there unchanged, on one line.")
    return text.format(path=path, command=command)


def stopped_text(report: Report, *, waiting: bool) -> str:
    """Return why an upload that a person started ended, and what helps now; technical details only under `-v`."""
    from sigprobe.render import words

    assert report.stopped is not None
    lines = [f"{words.sentence(report.stopped)} {words.screen_code(report.stopped)}"]
    if report.why is not None:
        lines.append(words.sentence(report.why, name=report.whom))
    if report.stopped != "collector_unreachable":
        lines.append(words.upload_advice(report.stopped, report.why))
    elif waiting:
        lines.append(_("No action needed: sigprobe keeps trying until everything is sent."))
    else:
        lines.append(_("To keep trying until everything is sent: sigprobe upload --wait"))
    if report.detail and terminal.current().verbose:
        lines.append(f"({report.detail})")
    return "\n".join(lines)


def after_upload(report: Report) -> Iterator[Message]:
    """Yield the messages after an upload: unchecked certificate dates, and a clock that is far off."""
    yield from unchecked_dates(report)
    yield from wrong_clock(report)


def unchecked_dates(report: Report) -> Iterator[Message]:
    """Yield one message for each collector whose certificate dates were not checked."""
    for url in report.time_unchecked:
        text = _("The dates of the certificate of {url} were not checked, as the settings allow.")
        yield Message(text.format(url=url))


def wrong_clock(report: Report) -> Iterator[Message]:
    """Yield the error for a clock that is far from the collector's."""
    from sigprobe.runs.clock import clock_is_wrong
    from sigprobe.words.i18n import duration

    if clock_is_wrong(report):
        away = duration(abs(report.clock_offset_ms or 0.0) / 1000)
        text = code_text("clock_wrong") + "\n" + _("Difference: {span}").format(span=away)
        yield Message(text, error=True)


def place_name(tps_id: str | None) -> str | None:
    """Return the name of the place of a TPS; None when the shipped table does not have it."""
    from sigprobe import places

    return places.place(tps_id).title


def local_time(seconds: float | None) -> datetime | None:
    """Return wall-clock seconds as an aware time."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def system_reason(error: BaseException) -> str:
    """Return why the system refused something, in words; the system's own text under `-v`."""
    from sigprobe.words.system_errors import reason_text

    text = reason_text(error)
    return f"{text} ({error})" if terminal.current().verbose and str(error) != text else text


def data_plan(loaded: Loaded, every_min: int) -> str:
    """Return what tests every so many minutes cost a day, and how often the large checks fit into the budget."""
    from datetime import UTC, datetime

    from sigprobe.runs.data_budget import LARGE_BYTES, Limits, day_share, plan_day
    from sigprobe.words.i18n import number, size

    limits = loaded.config.data_budget
    groups = [(Limits(limits.per_run_mb, limits.per_day_mb, limits.per_month_mb), None)]
    now = datetime.now(UTC).replace(day=1)  # a whole month before us: what was used so far is no part of the plan
    share = day_share(now, lambda _prefix, _interface: 0, groups)
    checks = loaded.config.checks()
    plan = plan_day(every_min, [check.estimate().bytes for check in checks], share)
    if plan.day_bytes is None:
        text = _("{runs} tests a day, at most {run} each; no data budget limits them.")
        return text.format(runs=number(plan.runs_per_day), run=size(plan.run_bytes))
    text = _("{runs} tests a day use at most {day} a day.")
    first = text.format(runs=number(plan.runs_per_day), day=size(plan.day_bytes))
    if plan.large_per_day is None:
        return first
    names = ", ".join(check.name for check in checks if check.estimate().bytes > LARGE_BYTES)
    if not plan.large_per_day:
        text = _("The budget is too small for the large checks ({names}: up to {large}).")
    else:
        text = _("Large checks ({names}: up to {large}) run about {times} times a day, to keep within the data budget.")
    return f"{first} " + text.format(names=names, large=size(plan.large_bytes), times=number(plan.large_per_day))
