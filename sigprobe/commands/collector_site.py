"""`sigprobe collector site promote`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from sigprobe.commands.support import options, sentences
from sigprobe.commands.support.collector_database import DatabaseOption, database_url, store_failed
from sigprobe.commands.support.command_result import CommandError, CommandResult, Json, Message, Screen
from sigprobe.commands.support.exit_codes import FAILED
from sigprobe.commands.support.typer_shell import Command
from sigprobe.words.i18n import N_, _, number

if TYPE_CHECKING:
    from sigprobe.collector.site.promotion import Promoted as Done

app = typer.Typer(
    help=N_("Let a second site take over."),
    no_args_is_help=True,
    rich_markup_mode=None,
)


@dataclass(frozen=True, slots=True)
class Promoted(CommandResult):
    """A server that takes writes now."""

    done: Done
    compact = True

    def text(self, screen: Screen) -> str:
        """Return how long it took and what the first site had sent last."""
        from sigprobe.record.result import format_time

        if not self.done.was_standby:
            return _("This server already takes writes; nothing was changed.")
        text = _("This site takes writes now; it took {seconds} s.").format(seconds=number(round(self.done.took_s, 1)))
        if self.done.last_commit_at is not None and self.done.behind_s is not None:
            text += "\n" + _("Newest change from the first site: {time}, {seconds} s before.").format(
                time=format_time(self.done.last_commit_at), seconds=number(round(self.done.behind_s, 1))
            )
        return text

    def document(self) -> Json:
        """Return the same for programs."""
        from sigprobe.record.result import format_time

        last = self.done.last_commit_at
        return {
            "was_standby": self.done.was_standby,
            "took_s": round(self.done.took_s, 3),
            "last_commit_at": None if last is None else format_time(last),
            "behind_s": None if self.done.behind_s is None else round(self.done.behind_s, 3),
        }

    def hints(self, screen: Screen) -> Iterable[Message]:
        """Yield what to do once the first site is back."""
        if self.done.was_standby:
            yield Message(_("When the first site returns, fetch what is missing here: sigprobe collector merge URL"))


@app.command("promote", cls=Command)
def promote(database: DatabaseOption = None, as_json: options.JsonOption = False) -> CommandResult:
    """Promote the standby of this site, so that it takes writes."""
    url = database_url(database)
    from sigprobe.collector.site.promotion import PromotionError
    from sigprobe.collector.site.promotion import promote as promote_standby
    from sigprobe.collector.store import StoreError
    from sigprobe.record.messages import MessageError

    if not url.startswith("postgres"):
        raise CommandError(_("A second site needs PostgreSQL: give the standby's URL as --database."))
    try:
        return Promoted(promote_standby(url))
    except PromotionError as error:
        texts = {
            "too_slow": N_("The server did not take over within {detail} s; see its log."),
            "waits_for_standby": N_(
                "The server takes writes, but waits for standbys that are not here ({detail}). Set "
                "synchronous_standby_names = '' in its configuration and reload it."
            ),
            "failed": N_("The server could not be promoted: {detail}."),
        }
        told = MessageError(texts[error.code], detail=error.detail)
        raise CommandError(sentences.message_text(told, error.technical), exit_code=FAILED) from None
    except StoreError as error:
        raise store_failed(error) from None
