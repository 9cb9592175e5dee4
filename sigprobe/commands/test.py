"""`sigprobe test`: test the connection, keep the results, send them when there is a way."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sigprobe.commands.support import after_run, common, terminal
from sigprobe.commands.support import cli_values as asked
from sigprobe.record.kinds import Way, way
from sigprobe.words.i18n import N_, _

if TYPE_CHECKING:
    from sigprobe.buffer import Buffer
    from sigprobe.config import Loaded
    from sigprobe.measure.kind import CommonOptions
    from sigprobe.record.profile import Profile
    from sigprobe.runs.session import Plan, RunReport, Saved
    from sigprobe.tag.modem import Choice
    from sigprobe.upload import Report


def test(
    *,
    config: common.ConfigOption = None,
    as_json: common.JsonOption = False,
    ndjson: Annotated[bool, typer.Option("--ndjson", help=N_("Print each result as soon as it is on disk."))] = False,
    csv: Annotated[bool, typer.Option("--csv", help=N_("Print CSV."))] = False,
    csv_dialect: Annotated[
        str, typer.Option("--csv-dialect", metavar="plain|excel-id", help=N_("CSV for Indonesian Excel: ; and comma."))
    ] = "plain",
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="KIND|NAME", help=N_("Only these checks; may be repeated."))
    ] = None,
    tps: Annotated[str, typer.Option("--tps", metavar="ID", help=N_("Number of the TPS for this test."))] = "",
    operator: Annotated[str, typer.Option("--operator", help=N_("Mobile operator, where no modem can tell."))] = "",
    lat: Annotated[float | None, typer.Option("--lat", help=N_("Latitude, for example -6.91474."))] = None,
    lon: Annotated[float | None, typer.Option("--lon", help=N_("Longitude, for example 107.60981."))] = None,
    no_upload: Annotated[bool, typer.Option("--no-upload", help=N_("Keep the results, send nothing now."))] = False,
    max_data: Annotated[
        str, typer.Option("--max-data", metavar="MB", help=N_("The most data this test may use, for example 20MB."))
    ] = "",
    max_time: Annotated[
        float | None, typer.Option("--max-time", metavar="S", min=1, help=N_("The most seconds this test may take."))
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help=N_("Exit 4 when not everything could be sent."))] = False,
    fail_below: Annotated[
        bool, typer.Option("--fail-below", help=N_("Exit 3 when the quality is below the threshold."))
    ] = False,
) -> None:
    loaded = common.settings(config)
    formats = [name for name, wanted in (("json", as_json), ("ndjson", ndjson), ("csv", csv)) if wanted]
    if len(formats) > 1:
        asked.usage(_("Choose one of --json, --ndjson and --csv."))
    if csv_dialect not in ("plain", "excel-id"):
        asked.usage(_("--csv-dialect takes plain or excel-id."))
    targets = asked.chosen(loaded, only or [])
    probe = loaded.config.probe
    tps_id, site = (asked.tps_id(tps), None) if tps else (probe.tps_id, probe.site)
    where = _manual(lat, lon)
    max_bytes = asked.size_bytes(max_data) if max_data else None
    _first_line(loaded, targets, tps_id, site, operator or probe.operator, max_bytes)

    from sigprobe.runs import runner as rounds

    profile = common.load_profile(loaded)
    with common.open_buffer(loaded) as buffer:
        senders = common.collectors(loaded) if not no_upload or asked.needs_token(loaded, targets) else []
        wish = rounds.Wish(
            targets, tps_id if tps else None, operator, position=where, max_bytes=max_bytes, max_time_s=max_time
        )
        plan = rounds.make_plan(loaded, buffer, senders, profile, wish)
        report = _measure(loaded, plan, buffer, where, ndjson=ndjson)
        sent = None
        if not no_upload and not report.interrupted and senders:
            sent = after_run.send(buffer, senders)
        pending = buffer.pending()
        nearby = None if formats else _nearest_signal(loaded, buffer, report)
        _print(formats, csv_dialect, loaded, report, profile, sent, pending, no_upload=no_upload, nearby=nearby)
        if sent is not None:
            after_run.say_about(sent, shown=not formats and not terminal.current().quiet)
        buffer.prune()
    raise typer.Exit(_exit_code(report, sent, profile, strict=strict, fail_below=fail_below, pending=pending))


# --- what was asked for -------------------------------------------------------------------------------------


def _manual(lat: float | None, lon: float | None) -> tuple[float, float] | None:
    if lat is None and lon is None:
        return None
    if lat is None or lon is None:
        asked.usage(_("--lat and --lon belong together."))
    assert lat is not None and lon is not None
    if not (-90 <= lat <= 90 and -180 <= lon <= 180):
        asked.usage(_("--lat takes -90 to 90, --lon -180 to 180, in degrees."))
    return lat, lon


def _first_line(
    loaded: Loaded,
    targets: tuple[CommonOptions, ...],
    tps_id: str | None,
    site: str | None,
    operator: str,
    max_bytes: int | None,
) -> None:
    """Say within half a second what will happen; nothing heavy is loaded yet."""
    from sigprobe import places
    from sigprobe.measure import KINDS
    from sigprobe.render.first_line import first_line

    together = [t.estimate().seconds for t in targets if not KINDS[t.kind].exclusive]
    alone = [t.estimate().seconds for t in targets if KINDS[t.kind].exclusive]
    count = sum(t.estimate().bytes for t in targets)
    limit = max_bytes
    if limit is None and loaded.config.data_budget.per_run_mb is not None:
        limit = loaded.config.data_budget.per_run_mb * 1_000_000
    named = places.operator(operator)
    terminal.current().say(
        first_line(
            f"TPS {tps_id}" if tps_id else site,
            common.place_name(tps_id),
            None if named is None else named.name,
            [t.name for t in targets],
            max(together, default=0.0) + sum(alone),
            count if limit is None else min(count, limit),
            ascii=terminal.current().err_ascii,
        )
    )


# --- doing it -----------------------------------------------------------------------------------------------


def _measure(
    loaded: Loaded, plan: Plan, buffer: Buffer, where: tuple[float, float] | None, *, ndjson: bool
) -> RunReport:
    from sigprobe.render.live import Live
    from sigprobe.runs import runner as rounds
    from sigprobe.runs.session import Hooks

    out = terminal.current()
    with Live(seconds=plan.max_time_s, profile=plan.profile, quiet=bool(out.quiet)) as live:

        def stored(saved: Saved) -> None:
            live.finished(saved.result)
            if ndjson and saved.line is not None:
                out.result(saved.line.decode())

        hooks = Hooks(
            started=lambda o: live.started(o.name, o.kind),
            progress=lambda o, p: live.progress(o.name, p.phase, p.value, p.unit, p.fraction),
            stored=stored,
            waiting_for_place=lambda s: out.say(
                _("Waiting for GPS, at most {s} s. Ctrl-C goes on without it.").format(s=round(s))
            ),
        )
        report = rounds.measure(loaded, plan, buffer, hooks, position=where)
    if ndjson and report.run.line is not None:
        out.result(report.run.line.decode())
    return report


# --- telling it ---------------------------------------------------------------------------------------------


def _nearest_signal(loaded: Loaded, buffer: Buffer, report: RunReport) -> str | None:
    from sigprobe.commands.nearest import after_blank_spot

    return after_blank_spot(loaded, buffer, report)


def _print(
    formats: list[str],
    dialect: Any,
    loaded: Loaded,
    report: RunReport,
    profile: Profile,
    sent: Report | None,
    pending: int,
    *,
    no_upload: bool,
    nearby: str | None,
) -> None:
    from sigprobe.render import machine

    out = terminal.current()
    records = [s.line or s.result.to_line() for s in report.results]
    error = report.storage_error
    if formats == ["json"]:
        document = machine.document(
            run_id=report.run_id,
            verdict=report.verdict,
            results=records,
            data_used_bytes=report.data_used_bytes,
            saved=report.saved,
            pending=pending,
        )
        out.result(machine.json_text(document))
    elif formats == ["csv"]:
        out.result("".join(machine.csv_rows([*records, report.run.line or report.run.result.to_line()], dialect)))
    elif not formats:
        _screen(loaded, report, profile, sent, pending, no_upload=no_upload, nearby=nearby)
    if error is not None and (formats or out.quiet):
        common.say_code(error.code, str(error))


def _screen(
    loaded: Loaded,
    report: RunReport,
    profile: Profile,
    sent: Report | None,
    pending: int,
    *,
    no_upload: bool,
    nearby: str | None,
) -> None:
    from sigprobe import places
    from sigprobe.record.result import parse_time
    from sigprobe.render.location_warnings import place_doubts
    from sigprobe.render.screen import summary, summary_plain
    from sigprobe.render.view import RunView

    out = terminal.current()
    tags = report.run.result.tags
    error = report.storage_error
    view = RunView(
        results=[s.result for s in report.results],
        verdict=report.verdict,
        tags=tags,
        started_at=parse_time(report.run.result.started_at) or datetime.now(UTC),
        profile=profile,
        zone=places.zone(tags.tps_id),
        place=common.place_name(tags.tps_id),
        data_used_bytes=report.data_used_bytes,
        saved=report.saved,
        pending=pending,
        upload=after_run.upload_line(loaded, sent, pending, no_upload=no_upload or report.interrupted),
        storage_failure=None if error is None else error.code,
        warnings=[
            *([_("Stopped. What was finished is kept.")] if report.interrupted else []),
            *place_doubts(tags.location),
            *([] if report.modem is None else [_which_modem(report.modem)]),
        ],
        nearby=nearby,
        place_may_come=report.place_may_come,
    )
    if out.plain:
        out.show(summary_plain(view))
    else:
        out.show(summary(view, width=out.width, ascii=out.ascii, color=out.color))


def _which_modem(choice: Choice) -> str:
    """Which of several modems was measured, and how to measure another."""
    used = choice.used
    port, name = ", ".join(sorted(used.interfaces)) or "?", used.operator.name or used.operator.plmn
    return _("There are several modems; {used} was measured. To measure {others}, first run: {command}").format(
        used=f"{port} ({name})" if name else port,
        others=", ".join(choice.others) or "?",
        command=f"nmcli device disconnect {next(iter(sorted(used.interfaces)), 'wwan0')}",
    )


def _exit_code(
    report: RunReport, sent: Report | None, profile: Profile, *, strict: bool, fail_below: bool, pending: int
) -> int:
    from sigprobe.record.result import Outcome
    from sigprobe.verdict import shortfalls

    results = [s.result for s in report.results]
    if report.storage_error is not None:
        return common.NOT_SAVED
    if report.interrupted:
        return common.INTERRUPTED
    if strict and (pending or (sent is not None and sent.stopped is not None)):
        return common.NOT_ACKNOWLEDGED
    asked = [r for r in results if way(r.kind) is not Way.WALK]  # what was asked for is enough, however it was reached
    if fail_below and (shortfalls(asked, profile) or any(r.outcome is Outcome.FAILED for r in asked)):
        return common.BELOW_THRESHOLD
    return 0
