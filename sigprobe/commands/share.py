"""`sigprobe share`: the last test as a WhatsApp message."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sigprobe.commands import common, terminal
from sigprobe.i18n import _

if TYPE_CHECKING:
    from sigprobe.buffer import Buffer


def share(
    *,
    config: common.ConfigOption = None,
    run: Annotated[
        str, typer.Option("--run", metavar="ID", help=_("The run to share; the last one if left out."))
    ] = "",
    as_json: common.JsonOption = False,
) -> None:
    from sigprobe.commands.test import place_name
    from sigprobe.render.recall import view_of
    from sigprobe.render.share import share_text, whatsapp_link

    loaded = common.settings(config)
    profile = common.load_profile(loaded)
    out = terminal.current()
    with common.open_buffer(loaded) as buffer:
        records = last_run(buffer, run or None)
    if not records:
        out.error(_("There is no test to share yet. Run: sigprobe test"))
        raise typer.Exit(common.USAGE)
    tps_id = records[-1].get("tags", {}).get("tps_id")
    text = share_text(view_of(records, profile, place_name(tps_id)))
    link = whatsapp_link(text)
    if as_json:
        out.result(json.dumps({"text": text, "link": link}))
        return
    out.show(text)
    out.show("")
    out.show(_("To send it, open this link: {link}").format(link=link))


def last_run(buffer: Buffer, run_id: str | None = None) -> list[dict[str, Any]]:
    """The records of one run of this device, oldest first; the last run that was kept when none is named."""
    runs: dict[str, list[dict[str, Any]]] = {}
    # the newest thousand records hold any last run; an older one is looked for through all
    for row in buffer.rows(newest=None if run_id else 1000):
        if row.own:
            record = json.loads(row.line)
            runs.setdefault(str(record.get("run_id")), []).append(record)
    if run_id is not None:
        return runs.get(run_id, [])
    ended = [records for records in runs.values() if any(r.get("kind") == "run" for r in records)]
    return ended[-1] if ended else (list(runs.values())[-1] if runs else [])
