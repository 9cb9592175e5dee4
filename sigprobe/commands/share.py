"""`sigprobe share`: the last test as a WhatsApp message."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from sigprobe.commands.support import automation, opening, options, sentences
from sigprobe.commands.support.command_result import CommandError, CommandResult, Json, Screen
from sigprobe.words.i18n import LANGUAGES, N_, _, speaking

if TYPE_CHECKING:
    from sigprobe.render.view import RunView


@dataclass(frozen=True, slots=True)
class Shared(CommandResult):
    """A message for WhatsApp, and the link that opens it there."""

    view: RunView
    language: str
    compact = True

    def text(self, screen: Screen) -> str:
        """Return the message, then the link."""
        from sigprobe.render.share import share_text, whatsapp_link

        message = share_text(self.view)
        return f"{message}\n\n" + _("To send it, open this link: {link}").format(link=whatsapp_link(message))

    def document(self) -> Json:
        """Return the same for programs: `text` in the language of the settings, `texts` in every language.

        The language on the screen does not count, since a program gets the same whoever runs it.
        """
        from sigprobe.render.share import share_text, whatsapp_link

        texts: dict[str, str] = {}
        for one in LANGUAGES:
            with speaking(one):
                texts[one] = share_text(self.view)
        message = texts[self.language]
        return {"text": message, "link": whatsapp_link(message), "texts": texts}


def share(
    *,
    config: options.ConfigOption = None,
    run: Annotated[str, typer.Option("--run", metavar="ID", help=N_("The run to share instead of the last one."))] = "",
    as_json: options.JsonOption = False,
) -> CommandResult:
    from sigprobe.commands.support.stored_runs import runs_of
    from sigprobe.render.stored_run import view_of

    loaded = opening.settings(config)
    profile = opening.load_profile(loaded)
    with opening.open_to_read(loaded) as buffer:
        # the newest thousand records hold any last run; an older one is looked for in all
        runs = runs_of(buffer, None if run else 1000)
    records = [json.loads(line) for line in runs.get(run or next(reversed(runs), ""), [])]
    if not records:
        if run:
            raise CommandError(_("There is no such test on this device. To list all: sigprobe results"))
        raise CommandError(_("There is no test to share yet. Run: sigprobe test"))
    automatic = automation.find(opening.buffer_path(loaded)).way is not None
    tps_id = records[-1].get("tags", {}).get("tps_id")
    name = sentences.place_name(tps_id)
    view = view_of(records, profile, name, automatic=automatic, folder=loaded.path.parent)
    return Shared(view, loaded.config.language or LANGUAGES[0])
