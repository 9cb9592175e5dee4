"""`sigprobe test`: test the connection, store the results, upload them if there is a connection."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from sigprobe.commands.support import after_run, automation, draw, opening, options, sentences, terminal
from sigprobe.commands.support import cli_values as asked
from sigprobe.commands.support.command_result import CommandResult, Dialect, Json, Message, Output, Screen
from sigprobe.commands.support.exit_codes import (
    BELOW_THRESHOLD,
    INTERRUPTED,
    NOT_ACKNOWLEDGED,
    NOT_SAVED,
)
from sigprobe.commands.support.signals import terminated
from sigprobe.record.kinds import Way, way
from sigprobe.words.i18n import N_, _

if TYPE_CHECKING:
    from sigprobe.buffer import Buffer
    from sigprobe.config import Loaded
    from sigprobe.measure.kind import CommonOptions
    from sigprobe.record.profile import Profile
    from sigprobe.render.view import RunView
    from sigprobe.runs.session import RunPlan, RunReport, Saved
    from sigprobe.tag.modem import Choice
    from sigprobe.upload import Report


@dataclass(frozen=True, slots=True)
class Tested(CommandResult):
    """One finished run, how its upload ended, and what the exit code depends on."""

    loaded: Loaded
    report: RunReport
    profile: Profile
    sent: Report | None
    pending: int
    no_upload: bool
    nearby: str | None
    strict: bool
    fail_below: bool
    ended_by: int | None

    @property
    def exit_code(self) -> int:
        """Return 6 not saved, 143 SIGTERM, 130 Ctrl-C, 4 with --strict, 3 with --fail-below, else 0."""
        from sigprobe.record.result import Outcome
        from sigprobe.verdict import shortfalls

        report = self.report
        if report.storage_error is not None:
            return NOT_SAVED
        if report.interrupted or self.ended_by is not None:
            return self.ended_by or INTERRUPTED
        if self.strict and (self.pending or (self.sent is not None and self.sent.stopped is not None)):
            return NOT_ACKNOWLEDGED
        # what the settings ask for counts, not the path it took
        results = [s.result for s in report.results if way(s.result.kind) is not Way.WALK]
        failed = any(r.outcome is Outcome.FAILED for r in results)
        return BELOW_THRESHOLD if self.fail_below and (failed or shortfalls(results, self.profile)) else 0

    def messages(self, output: Output, screen: Screen) -> Iterable[Message]:
        """Yield what could not be saved or sent, if the screen does not show it."""
        shown = output.for_people and not screen.quiet
        error = self.report.storage_error
        if error is not None and not shown:
            yield sentences.code_error(error.code, str(error))
        if self.sent is not None:
            yield from after_run.messages(self.sent, shown=shown)

    def text(self, screen: Screen) -> str:
        """Return the screen of the run."""
        from sigprobe.render.screen import summary, summary_plain

        view = self._view()
        if screen.plain:
            return summary_plain(view)
        return summary(view, width=screen.width, ascii=screen.ascii, color=screen.color)

    def document(self) -> Json:
        """Return the run as one document; its results are the stored records."""
        from sigprobe.render import machine

        report = self.report
        return machine.document(
            run_id=report.run_id,
            verdict=report.verdict,
            results=self._records(),
            data_used_bytes=report.data_used_bytes,
            saved=report.saved,
            pending=self.pending,
        )

    def lines(self) -> Iterable[str]:
        """Return nothing: each record was printed as soon as it was on disk."""
        return ()

    def table(self, dialect: Dialect) -> Iterable[str]:
        """Return one row a record, the run record last."""
        from sigprobe.render import machine

        run = self.report.run
        return machine.csv_rows([*self._records(), run.line or run.result.to_line()], dialect)

    def _records(self) -> list[bytes]:
        return [s.line or s.result.to_line() for s in self.report.results]

    def _view(self) -> RunView:
        from sigprobe import places
        from sigprobe.record.result import parse_time
        from sigprobe.render.location_warnings import place_doubts
        from sigprobe.render.view import RunView

        report = self.report
        tags = report.run.result.tags
        error = report.storage_error
        unasked = self.no_upload or report.interrupted
        way = automation.find(opening.buffer_path(self.loaded)).way
        return RunView(
            results=[s.result for s in report.results],
            verdict=report.verdict,
            tags=tags,
            started_at=parse_time(report.run.result.started_at) or datetime.now(UTC),
            profile=self.profile,
            zone=places.zone(tags.tps_id),
            place=sentences.place_name(tags.tps_id),
            data_used_bytes=report.data_used_bytes,
            interface_bytes=report.interface_bytes,
            saved=report.saved,
            pending=self.pending,
            upload=after_run.upload_line(self.loaded, self.sent, self.pending, way, no_upload=unasked),
            storage_failure=None if error is None else error.code,
            warnings=[
                *([_("Stopped. Finished checks are stored.")] if report.interrupted else []),
                *place_doubts(tags.location),
                *([] if report.modem is None else [_which_modem(report.modem)]),
                *opening.contacts_doubt(self.loaded),
            ],
            folder=self.loaded.path.parent,
            nearby=self.nearby,
            place_may_come=report.place_may_come,
            automatic=way is not None,
        )


def test(
    *,
    config: options.ConfigOption = None,
    as_json: options.JsonOption = False,
    ndjson: Annotated[bool, typer.Option("--ndjson", help=N_("Print each result as soon as it is on disk."))] = False,
    csv: options.CsvOption = False,
    csv_dialect: options.DialectOption = "plain",
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="KIND|NAME", help=N_("Only these checks; may be repeated."))
    ] = None,
    tps: Annotated[str, typer.Option("--tps", metavar="ID", help=N_("TPS number for this test."))] = "",
    operator: options.OperatorOption = "",
    lat: options.LatOption = None,
    lon: options.LonOption = None,
    no_upload: Annotated[bool, typer.Option("--no-upload", help=N_("Store the results, send nothing now."))] = False,
    max_data: Annotated[
        str, typer.Option("--max-data", metavar="MB", help=N_("Data limit of this test, for example 20MB."))
    ] = "",
    max_time: Annotated[
        float | None, typer.Option("--max-time", metavar="S", min=1, help=N_("Stop after this many seconds."))
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help=N_("Exit 4 when not everything could be sent."))] = False,
    fail_below: Annotated[
        bool, typer.Option("--fail-below", help=N_("Exit 3 when the quality is below the threshold."))
    ] = False,
) -> CommandResult:
    loaded = opening.settings(config)
    targets = asked.chosen(loaded, only or [])
    probe = loaded.config.probe
    tps_id, site = (asked.tps_id(tps), None) if tps else (probe.tps_id, probe.site)
    where = options.position(lat, lon, tps_id)
    max_bytes = asked.size_bytes(max_data) if max_data else None
    _first_line(loaded, targets, tps_id, site, operator or probe.operator, max_bytes)

    from sigprobe.runs import runner as rounds

    profile = opening.load_profile(loaded)
    with opening.open_buffer(loaded, saves=True) as buffer, terminated() as ending:
        senders = opening.collectors(loaded) if not no_upload or asked.needs_token(loaded, targets) else []
        wish = rounds.Wish(
            targets,
            tps_id if tps else None,
            operator,
            position=where,
            max_bytes=max_bytes,
            max_time_s=max_time,
            scheduled=bool(os.environ.get("SIGPROBE_SCHEDULED")),  # set by timers and cron lines,
        )
        plan = rounds.make_plan(loaded, buffer, senders, profile, wish)
        report = _measure(loaded, plan, buffer, where)
        sent, ended_by = None, ending.exit_code
        if not no_upload and not report.interrupted and senders:
            try:
                sent = after_run.send(buffer, senders)
            except KeyboardInterrupt:
                # the run is stored; only its upload was stopped
                ended_by = ending.exit_code or INTERRUPTED
                no_upload = True
        pending = buffer.pending()
        nearby = _nearest_signal(loaded, buffer, report) if terminal.current().output.for_people else None
        buffer.prune()
    return Tested(loaded, report, profile, sent, pending, no_upload, nearby, strict, fail_below, ended_by)


# --- what was asked for -------------------------------------------------------------------------------------


def _first_line(
    loaded: Loaded,
    targets: Sequence[CommonOptions],
    tps_id: str | None,
    site: str | None,
    operator: str,
    max_bytes: int | None,
) -> None:
    """Print what will happen, within half a second; nothing heavy is loaded yet."""
    from sigprobe import places
    from sigprobe.render.first_line import first_line
    from sigprobe.render.words import target_name
    from sigprobe.runs.data_budget import on_the_wire

    count = sum(t.estimate().bytes for t in targets)
    limit = max_bytes
    if limit is None and loaded.config.data_budget.per_run_mb is not None:
        limit = loaded.config.data_budget.per_run_mb * 1_000_000
    named = places.operator(operator)
    terminal.current().say(
        first_line(
            f"TPS {tps_id}" if tps_id else site,
            sentences.place_name(tps_id),
            None if named is None else named.name,
            [target_name(t.kind, t.name) for t in targets],
            _expected_s(targets),
            on_the_wire(count) if limit is None else min(on_the_wire(count), limit),
            width=terminal.current().err_width,
            ascii=terminal.current().err_ascii,
        )
    )


def _expected_s(targets: Sequence[CommonOptions]) -> float:
    """Return about how long the checks take: those that run together once, and each that runs alone."""
    from sigprobe.measure import KINDS

    together = [t.estimate().seconds for t in targets if not KINDS[t.kind].exclusive]
    alone = [t.estimate().seconds for t in targets if KINDS[t.kind].exclusive]
    return max(together, default=0.0) + sum(alone)


# --- doing it -----------------------------------------------------------------------------------------------


def _measure(loaded: Loaded, plan: RunPlan, buffer: Buffer, where: tuple[float, float] | None) -> RunReport:
    from sigprobe.render.live import Live
    from sigprobe.runs import runner as rounds
    from sigprobe.runs.session import Hooks

    out = terminal.current()
    expected_s = _expected_s(plan.targets)
    with Live(seconds=plan.max_time_s, expected_s=expected_s, profile=plan.profile, quiet=bool(out.quiet)) as live:

        def stored(saved: Saved) -> None:
            live.finished(saved.result)
            if saved.line is not None:
                draw.event(saved.line)

        hooks = Hooks(
            started=lambda o: live.started(o.name, o.kind),
            progress=lambda o, p: live.progress(o.name, p.phase, p.value, p.unit, p.fraction),
            stored=stored,
            waiting_for_place=lambda s: out.say(
                _("Waiting for GPS, at most {s} s. Ctrl-C continues without it.").format(s=round(s))
            ),
        )
        report = rounds.measure(loaded, plan, buffer, hooks, position=where)
    if report.run.line is not None:
        draw.event(report.run.line)
    return report


# --- reporting it ---------------------------------------------------------------------------------------------


def _nearest_signal(loaded: Loaded, buffer: Buffer, report: RunReport) -> str | None:
    from sigprobe.commands.nearest import after_blank_spot

    return after_blank_spot(loaded, buffer, report)


def _which_modem(choice: Choice) -> str:
    """Return which of several modems was measured, and how to measure another."""
    used = choice.used
    port, name = ", ".join(sorted(used.interfaces)) or "?", used.operator.name or used.operator.plmn
    return _("There are several modems; {used} was measured. To measure {others}, first run: {command}").format(
        used=f"{port} ({name})" if name else port,
        others=", ".join(choice.others) or "?",
        command=f"nmcli device disconnect {next(iter(sorted(used.interfaces)), 'wwan0')}",
    )
