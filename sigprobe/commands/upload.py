"""`sigprobe upload`: send what is still waiting."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from sigprobe.commands.support import common, terminal
from sigprobe.runs.setup import read_collectors
from sigprobe.words.i18n import N_, _, clock_text, duration, ngettext, number, size

if TYPE_CHECKING:
    from sigprobe.buffer import Buffer
    from sigprobe.config import Loaded
    from sigprobe.upload import Collector, Report

LINE_EVERY_S: Final = 10.0


def upload(
    *,
    config: common.ConfigOption = None,
    wait: Annotated[bool, typer.Option("--wait", help=N_("Go on until everything is sent."))] = False,
    max_time: Annotated[
        float | None, typer.Option("--max-time", metavar="S", min=1, help=N_("The most seconds this may take."))
    ] = None,
    again: Annotated[bool, typer.Option("--again", help=N_("Send once more what was set aside."))] = False,
    as_json: common.JsonOption = False,
) -> None:
    from sigprobe.runs import runner as rounds

    loaded = common.settings(config)
    zone = _zone(loaded.config.probe.tps_id)
    interrupted = False
    with common.open_buffer(loaded) as buffer:
        if not loaded.config.upload.collectors:
            common.say_code("no_collector")
            raise typer.Exit(common.USAGE)
        from sigprobe.upload import Report

        freed = buffer.send_again() if again else 0
        if again:
            text = ngettext(
                "{n} result that was set aside waits again.", "{n} results that were set aside wait again.", freed
            )
            terminal.current().say(text.format(n=number(freed)))
        pending = buffer.pending()
        # nothing to send wants no network, and no token either
        senders = common.collectors(loaded) if pending else []
        if pending and not senders:
            raise typer.Exit(common.USAGE)
        report = Report()
        if pending:
            with _Bar(pending, zone) as bar:
                try:
                    report = _send(loaded, buffer, senders, bar, wait=wait, max_time=max_time)
                except KeyboardInterrupt:
                    # what was acknowledged is marked already
                    interrupted = True
                    report = bar.last or report
                    report.stopped, report.pending = "interrupted", buffer.pending()
            rounds.after_drain(buffer, report)
        rejected = buffer.stats().rejected
        buffer.prune()
    _print(report, rejected, freed, as_json=as_json, zone=zone)
    if interrupted:
        raise typer.Exit(common.INTERRUPTED)
    raise typer.Exit(common.NOT_ACKNOWLEDGED if report.stopped is not None else 0)


def _zone(tps_id: str | None) -> str:
    from sigprobe import places

    return places.zone(tps_id)


def _send(
    loaded: Loaded, buffer: Buffer, senders: list[Collector], bar: _Bar, *, wait: bool, max_time: float | None
) -> Report:
    if not wait:
        from sigprobe.upload import drain

        return drain(buffer, senders, common.open_backoff(buffer), limit_s=max_time, progress=bar.show)
    from sigprobe.net.connectivity import Watch
    from sigprobe.upload.drain_until_sent import drain_until_sent

    with Watch() as watch:
        return drain_until_sent(
            buffer,
            lambda: read_collectors(loaded)[0],
            lambda: common.open_backoff(buffer),
            watch,
            limit_s=max_time,
            progress=bar.show,
            waiting=bar.wait,
        )


class _Bar:
    """Records, bytes and time left: a bar on a terminal, now and then a line elsewhere."""

    def __init__(self, total: int, zone: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.last: Report | None = None
        self._total = total
        self._zone = zone
        self._clock = clock
        self._begun = self._said_at = clock()
        self._said: str | None = None
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
        self.last = report
        self._said = None
        done = report.sent + report.rejected
        if self._bar is not None:
            self._bar.update(self._task, completed=done, sent=size(report.bytes_sent))
            return
        now = self._clock()
        if now - self._said_at >= LINE_EVERY_S and done:
            self._said_at = now
            left = max(0, self._total - done) * (now - self._begun) / done
            terminal.current().say(
                _("Sent {n} of {total}, {bytes}, about {left} left.").format(
                    n=number(done), total=number(self._total), bytes=size(report.bytes_sent), left=duration(left)
                )
            )

    def wait(self, report: Report, seconds: float) -> None:
        """Say that nothing can be sent now, and until when; once for each reason."""
        self.last = report
        if report.stopped is None or report.stopped == self._said:
            return
        self._said = report.stopped
        out = terminal.current()
        if not out.quiet:
            _say_stop(report, waiting=True)
            when = datetime.now().astimezone() + timedelta(seconds=seconds)
            out.say(_("Waiting; the next try is at {time}.").format(time=clock_text(when, self._zone, with_date=False)))


def _say_stop(report: Report, *, waiting: bool = False) -> None:
    for url in report.refused:
        common.say_code("collector_token", url)
    if report.stopped is not None and report.stopped not in ("collector_token", "interrupted"):
        common.say_stopped(report, waiting=waiting)


def _print(report: Report, rejected: int, freed: int, *, as_json: bool, zone: str) -> None:
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
                    "waiting_again": freed,
                    "collector": report.collector,
                    "bytes_sent": report.bytes_sent,
                    "bytes_received": report.bytes_received,
                    "stopped": report.stopped,
                    "detail": report.detail,
                    "why": report.why,
                    "refused": report.refused,
                    "time_unchecked": report.time_unchecked,
                    "clock_offset_ms": report.clock_offset_ms,
                    "clock_error_ms": report.clock_error_ms,
                }
            )
        )
    _say_stop(report)
    when = None if report.stopped == "interrupted" else common.local_time(report.retry_at)
    if when is not None:
        out.say(_("The next try may be made at {time}.").format(time=clock_text(when, zone, with_date=False)))
    if report.rejected:
        common.say_code("set_aside", None)
    common.say_unchecked(report)
    common.say_clock(report)
    if as_json:
        return
    if report.stopped is None:
        text = ngettext("{n} result sent, {pending} waiting.", "{n} results sent, {pending} waiting.", report.sent)
        out.show(text.format(n=number(report.sent), pending=number(report.pending)))
    else:
        text = _("{n} sent, {pending} still waiting; they are safe on this device.")
        out.show(text.format(n=number(report.sent), pending=number(report.pending)))
