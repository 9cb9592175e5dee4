"""`sigprobe upload`: send pending results."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer

from sigprobe.commands.support import draw, opening, options, sentences, terminal
from sigprobe.commands.support.command_result import CommandError, CommandResult, Json, Message, Output, Screen
from sigprobe.commands.support.exit_codes import NOT_ACKNOWLEDGED
from sigprobe.commands.support.signals import code_of
from sigprobe.runs.setup import read_collectors
from sigprobe.words.i18n import N_, _, clock_text, duration, ngettext, number, size

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from sigprobe.buffer import Buffer
    from sigprobe.config import Loaded
    from sigprobe.upload import Collector, Report

LINE_EVERY_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Uploaded(CommandResult):
    """How an upload ended. `set_aside` counts all rejected results, `freed` those that `--again` made pending."""

    report: Report
    set_aside: int
    freed: int
    zone: str
    ended_by: int | None = None
    compact = True
    prose = True

    @property
    def exit_code(self) -> int:
        """Return 130 after Ctrl-C, 143 after SIGTERM, 4 if results stay pending for a reason, else 0."""
        if self.ended_by is not None:
            return self.ended_by
        return NOT_ACKNOWLEDGED if self.report.stopped is not None else 0

    def messages(self, output: Output, screen: Screen) -> Iterable[Message]:
        """Yield why it stopped, when the next attempt is allowed, and what the collector's answers showed."""
        report = self.report
        yield from stop_messages(report)
        when = None if report.stopped == "interrupted" else sentences.local_time(report.retry_at)
        if when is not None:
            text = _("The next attempt is possible from {time}.")
            yield Message(text.format(time=clock_text(when, self.zone, with_date=False)))
        if report.rejected:
            yield sentences.code_error("set_aside")
        yield from sentences.after_upload(report)

    def text(self, screen: Screen) -> str:
        """Return how many results were sent and how many are pending."""
        report = self.report
        if report.stopped is None and not (report.sent or report.pending or report.rejected):
            return _("Nothing to send: no results are waiting.")
        if report.stopped is None:
            text = ngettext("{n} result sent, {pending} waiting.", "{n} results sent, {pending} waiting.", report.sent)
        else:
            text = _("{n} sent, {pending} still waiting; they are safe on this device.")
        return text.format(n=number(report.sent), pending=number(report.pending))

    def document(self) -> Json:
        """Return the same for programs."""
        report = self.report
        return {
            "accepted": report.accepted,
            "duplicate": report.duplicate,
            "rejected": report.rejected,
            "pending": report.pending,
            "set_aside": self.set_aside,
            "waiting_again": self.freed,
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


def upload(
    *,
    config: options.ConfigOption = None,
    wait: Annotated[bool, typer.Option("--wait", help=N_("Keep trying until everything is sent."))] = False,
    max_time: Annotated[
        float | None, typer.Option("--max-time", metavar="S", min=1, help=N_("Stop after this many seconds."))
    ] = None,
    again: Annotated[bool, typer.Option("--again", help=N_("Send results again that were set aside."))] = False,
    as_json: options.JsonOption = False,
) -> CommandResult:
    from sigprobe.runs import runner as rounds

    loaded = opening.settings(config)
    zone = _zone(loaded.config.probe.tps_id)
    ended_by: int | None = None
    with opening.open_buffer(loaded) as buffer:
        if not loaded.config.upload.collectors:
            raise CommandError(sentences.code_text("no_collector"))
        from sigprobe.upload import Report

        freed = buffer.send_again() if again else 0
        if again:
            text = ngettext(
                "{n} result that was set aside is pending again.",
                "{n} results that were set aside are pending again.",
                freed,
            )
            terminal.current().say(text.format(n=number(freed)))
        pending = buffer.pending()
        # an empty queue needs neither network nor token
        senders = opening.collectors(loaded) if pending else []
        if pending and not senders:
            raise CommandError()
        report = Report()
        if pending:
            with _Bar(pending, zone) as bar:
                try:
                    report = _send(loaded, buffer, senders, bar, wait=wait, max_time=max_time)
                except KeyboardInterrupt as stop:
                    # acknowledged results are marked already
                    ended_by = code_of(stop)
                    report = bar.last or report
                    report.stopped, report.pending = "interrupted", buffer.pending()
            rounds.after_drain(buffer, report)
        rejected = buffer.stats().rejected
        buffer.prune()
    return Uploaded(report, rejected, freed, zone, ended_by)


def _zone(tps_id: str | None) -> str:
    from sigprobe import places

    return places.zone(tps_id)


def _send(
    loaded: Loaded, buffer: Buffer, senders: list[Collector], bar: _Bar, *, wait: bool, max_time: float | None
) -> Report:
    if not wait:
        from sigprobe.upload import drain

        return drain(buffer, senders, opening.open_backoff(buffer), limit_s=max_time, progress=bar.show)
    from sigprobe.net.connectivity import Watch
    from sigprobe.upload.drain_until_sent import drain_until_sent

    with Watch() as watch:
        return drain_until_sent(
            buffer,
            lambda: read_collectors(loaded)[0],
            lambda: opening.open_backoff(buffer),
            watch,
            limit_s=max_time,
            progress=bar.show,
            waiting=bar.wait,
        )


class _Bar:
    """Show records, bytes and time left: a bar on a terminal, a line every ten seconds elsewhere."""

    def __init__(self, total: int, zone: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.last: Report | None = None
        self._total = total
        self._zone = zone
        self._clock = clock
        self._begun = self._said_at = clock()
        self._said: str | None = None
        self._bar: Progress | None = None
        self._task: TaskID | None = None

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
        """Draw the progress."""
        self.last = report
        self._said = None
        done = report.sent + report.rejected
        if self._bar is not None and self._task is not None:
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
        """Report why nothing can be sent now and when the next attempt is; once for each reason."""
        self.last = report
        if report.stopped is None or report.stopped == self._said:
            return
        self._said = report.stopped
        out = terminal.current()
        if not out.quiet:
            for note in stop_messages(report, waiting=True):
                draw.message(note)
            when = datetime.now().astimezone() + timedelta(seconds=seconds)
            out.say(
                _("Waiting; the next attempt is at {time}.").format(time=clock_text(when, self._zone, with_date=False))
            )


def stop_messages(report: Report, *, waiting: bool = False) -> Iterator[Message]:
    """Yield why an upload ended: each collector that refused the token, then the cause."""
    for url in report.refused:
        yield Message(f"{url}: {sentences.code_text('collector_token')}", error=True)
    if report.stopped is not None and report.stopped not in ("collector_token", "interrupted"):
        yield Message(sentences.stopped_text(report, waiting=waiting), error=True)
