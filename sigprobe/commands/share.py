"""`sigprobe share`: the last test as a WhatsApp message."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from sigprobe.commands.support import common, terminal
from sigprobe.words.i18n import N_, _


def share(
    *,
    config: common.ConfigOption = None,
    run: Annotated[
        str, typer.Option("--run", metavar="ID", help=N_("The run to share; the last one if left out."))
    ] = "",
    as_json: common.JsonOption = False,
) -> None:
    from sigprobe.commands.support.stored_runs import runs_of
    from sigprobe.render.share import share_text, whatsapp_link
    from sigprobe.render.stored_run import view_of

    loaded = common.settings(config)
    profile = common.load_profile(loaded)
    out = terminal.current()
    with common.open_buffer(loaded) as buffer:
        # the newest thousand records hold any last run; an older one is looked for through all
        runs = runs_of(buffer, None if run else 1000)
    records = [json.loads(line) for line in runs.get(run or next(reversed(runs), ""), [])]
    if not records:
        out.error(_("There is no test to share yet. Run: sigprobe test"))
        raise typer.Exit(common.USAGE)
    tps_id = records[-1].get("tags", {}).get("tps_id")
    text = share_text(view_of(records, profile, common.place_name(tps_id)))
    link = whatsapp_link(text)
    if as_json:
        out.result(json.dumps({"text": text, "link": link}))
        return
    out.show(text)
    out.show("")
    out.show(_("To send it, open this link: {link}").format(link=link))
