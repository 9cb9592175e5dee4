"""`sigprobe collector merge`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from sigprobe.commands.support import options, sentences
from sigprobe.commands.support.collector_database import DatabaseOption, using_database
from sigprobe.commands.support.command_result import CommandError, CommandResult, Json, Message, Output, Screen
from sigprobe.commands.support.exit_codes import FAILED
from sigprobe.commands.support.transfer_ui import Bar
from sigprobe.words.i18n import N_, _, ngettext, number

if TYPE_CHECKING:
    from sigprobe.collector.merge.merging import Merged as Counts

_STATUSES = ("accepted", "duplicate", "conflict", "rejected", "retry")


@dataclass(frozen=True, slots=True)
class Merged(CommandResult):
    """What was taken over from another collector."""

    counts: Counts
    compact = True
    prose = True

    def messages(self, output: Output, screen: Screen) -> Iterable[Message]:
        """Yield warnings for results and tokens that were not taken over."""
        statuses = self.counts.statuses
        bad = statuses["conflict"] + statuses["rejected"] + statuses["retry"]
        if bad and output.for_people:
            text = ngettext("Warning: {n} result was not merged:", "Warning: {n} results were not merged:", bad)
            examples = (f"  {name}: {reason}" for name, reason in self.counts.examples)
            yield Message("\n".join([text.format(n=number(bad)), *examples]), error=True)
        for name in self.counts.tokens_left if output.for_people else ():
            text = _("Warning: the token {name} was not taken over, since another token of that name is in use here.")
            yield Message(text.format(name=name), error=True)

    def text(self, screen: Screen) -> str:
        """Return how many results and tokens are new here."""
        statuses = self.counts.statuses
        text = ngettext(
            "{n} result merged, {known} already here.",
            "{n} results merged, {known} already here.",
            statuses["accepted"],
        ).format(n=number(statuses["accepted"]), known=number(statuses["duplicate"]))
        added, revoked = self.counts.tokens_added, self.counts.tokens_revoked
        if added or revoked:
            text += "\n" + _("Tokens: {added} added, {revoked} revoked.").format(
                added=number(added), revoked=number(revoked)
            )
        return text

    def document(self) -> Json:
        """Return the same for programs."""
        return {
            **{name: self.counts.statuses[name] for name in _STATUSES},
            "examples": [{"id": name, "reason": reason} for name, reason in self.counts.examples],
            "tokens_added": self.counts.tokens_added,
            "tokens_revoked": self.counts.tokens_revoked,
            "tokens_left": list(self.counts.tokens_left),
        }


def merge(
    *,
    other: Annotated[
        str,
        typer.Argument(
            metavar="OTHER", show_default=False, help=N_("The other collector's database: a URL, or an SQLite file.")
        ),
    ],
    database: DatabaseOption = None,
    as_json: options.JsonOption = False,
) -> CommandResult:
    """Take over results and tokens of another collector that this one lacks."""
    again = _("Merge again when it works: nothing is stored twice.")
    with using_database(database, again, creates=True) as engine:
        from sigprobe.collector.merge import merging
        from sigprobe.collector.merge.other import OtherError, opened

        try:
            with opened(other) as source, Bar(_("Merging"), 1) as bar:
                return Merged(merging.merge(engine, source, bar.show_of))
        except OtherError as error:
            text = _("The other database cannot be read: {reason}.").format(reason=sentences.message_text(error))
            raise CommandError(text, again, exit_code=FAILED) from None
