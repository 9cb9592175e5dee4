"""`sigprobe upload`: send what is still waiting."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sigprobe.commands import common, terminal
from sigprobe.i18n import _, clock_text, ngettext, number

if TYPE_CHECKING:
    from sigprobe.upload import Report


def upload(
    *,
    config: common.ConfigOption = None,
    wait: Annotated[bool, typer.Option("--wait", help=_("Go on until everything is sent."))] = False,
    as_json: common.JsonOption = False,
) -> None:
    loaded = common.settings(config)
    with common.open_buffer(loaded) as buffer:
        if not loaded.config.upload.collectors:
            common.say_code("no_collector")
            raise typer.Exit(common.USAGE)
        senders = common.collectors(loaded)
        pending = buffer.pending()
        from sigprobe.upload import Report, drain

        if not pending:
            # nothing to send wants no network, and no token either
            report = Report()
        elif not senders:
            raise typer.Exit(common.USAGE)
        else:
            with _Bar(pending) as bar:
                report = drain(buffer, senders, common.open_backoff(buffer), progress=bar.show)
            from sigprobe.budget import day_of

            buffer.add_usage(day_of(datetime.now(UTC)), "", report.bytes_sent + report.bytes_received)
        rejected = buffer.stats().rejected
        buffer.prune()
    _print(report, rejected, as_json=as_json, zone=_zone(loaded.config.probe.tps_id))
    raise typer.Exit(common.NOT_ACKNOWLEDGED if report.stopped is not None else 0)


def _zone(tps_id: str | None) -> str:
    from sigprobe import places

    return places.zone(tps_id)


class _Bar:
    """Records, bytes and time left, on a terminal only."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> _Bar:
        out = terminal.current()
        if out.err_tty and not out.quiet and not out.plain:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn(_("Sending")),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[sent]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task("", total=self._total, sent="")
        return self

    def __exit__(self, *_error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, report: Report) -> None:
        """Draw where the drain stands."""
        if self._bar is not None:
            from sigprobe.i18n import size

            done = report.sent + report.rejected
            self._bar.update(self._task, completed=done, sent=size(report.bytes_sent))


def _print(report: Report, rejected: int, *, as_json: bool, zone: str) -> None:
    out = terminal.current()
    if as_json:
        out.result(
            json.dumps(
                {
                    "accepted": report.accepted,
                    "duplicate": report.duplicate,
                    "rejected": report.rejected,
                    "pending": report.pending,
                    "set_aside": rejected,
                    "collector": report.collector,
                    "bytes_sent": report.bytes_sent,
                    "stopped": report.stopped,
                    "detail": report.detail,
                    "refused": report.refused,
                }
            )
        )
    for url in report.refused:
        common.say_code("collector_token", url)
    if report.stopped is not None and report.stopped != "collector_token":
        common.say_code(report.stopped, report.detail)
    when = common.local_time(report.retry_at)
    if when is not None:
        out.error(_("The next try may be made at {time}.").format(time=clock_text(when, zone, with_date=False)))
    if report.rejected:
        common.say_code("set_aside", None)
    if as_json:
        return
    if report.stopped is None:
        sent = report.sent
        text = ngettext("{n} result sent, {pending} waiting.", "{n} results sent, {pending} waiting.", sent)
        out.show(text.format(n=number(sent), pending=number(report.pending)))
    else:
        text = _("{n} sent, {pending} still waiting; they are safe on this device.")
        out.show(text.format(n=number(report.sent), pending=number(report.pending)))
