"""`sigprobe results`: what is kept on this device."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sigprobe.commands.support import common, terminal
from sigprobe.words.i18n import N_, _

if TYPE_CHECKING:
    from sigprobe.buffer import Buffer, Row, State


def results(
    *,
    config: common.ConfigOption = None,
    as_json: common.JsonOption = False,
    ndjson: Annotated[bool, typer.Option("--ndjson", help=N_("Print the stored lines as they are."))] = False,
    csv: Annotated[bool, typer.Option("--csv", help=N_("Print CSV."))] = False,
    csv_dialect: Annotated[
        str, typer.Option("--csv-dialect", metavar="plain|excel-id", help=N_("CSV for Indonesian Excel: ; and comma."))
    ] = "plain",
    state: Annotated[
        list[str] | None,
        typer.Option("--state", metavar="STATE", help=N_("Only pending, acked, rejected, carried or damaged ones.")),
    ] = None,
) -> None:
    from sigprobe.buffer import State

    loaded = common.settings(config)
    known = {s.name.lower(): s for s in State}
    wrong = next((word for word in state or [] if word.lower() not in known), None)
    if wrong is not None or csv_dialect not in ("plain", "excel-id") or as_json + ndjson + csv > 1:
        if wrong is not None:
            text = _("--state {word}: choose from {names}").format(word=wrong, names=", ".join(known))
        elif csv_dialect not in ("plain", "excel-id"):
            text = _("--csv-dialect takes plain or excel-id.")
        else:
            text = _("Choose one of --json, --ndjson and --csv.")
        terminal.current().error(text)
        raise typer.Exit(common.USAGE)
    states = [known[word.lower()] for word in state or []]
    with common.open_buffer(loaded) as buffer:
        if as_json or ndjson or csv:
            for text in _machine(buffer, states, csv_dialect, as_json=as_json, csv=csv):
                terminal.current().result(text)
        else:
            _screen(buffer, states, loaded.config.probe.tps_id)


def _machine(buffer: Buffer, states: list[State], dialect: Any, *, as_json: bool, csv: bool) -> Iterator[str]:
    """All records of the states, oldest first, without a limit; memory stays flat."""
    if csv:
        from sigprobe.render import machine

        for text in machine.csv_rows((row.line for row in buffer.rows(*states)), dialect):
            yield text.rstrip("\n")
        return
    if not as_json:
        for row in buffer.rows(*states):
            yield row.line.decode()
        return
    between = "["
    for row in buffer.rows(*states):
        yield between + json.dumps(_with_state(row), ensure_ascii=True)
        between = ","
    yield "]" if between == "," else "[]"


def _with_state(row: Row) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(row.line)
    return {
        "state": row.state.name.lower(),
        "stored_at": row.put_at,
        "settled_at": row.at,
        "collector": row.collector,
        "reason": row.reason,
        "result": record,
    }


def _screen(buffer: Buffer, states: list[State], tps_id: str | None) -> None:
    from sigprobe import places
    from sigprobe.render.status import LAST, ListedResult, results_text

    out = terminal.current()
    listed = [ListedResult(json.loads(row.line), row.state.name.lower()) for row in buffer.rows(*states, newest=LAST)]
    out.show(results_text(listed, chosen=bool(states), zone=places.zone(tps_id), ascii=out.ascii, plain=out.plain))
