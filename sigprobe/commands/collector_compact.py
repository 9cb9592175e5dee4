"""`sigprobe collector database compact`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sigprobe.commands.support import options
from sigprobe.commands.support.collector_database import DatabaseOption, using_database
from sigprobe.commands.support.command_result import CommandError, CommandResult, Json, Screen
from sigprobe.commands.support.exit_codes import FAILED
from sigprobe.commands.support.transfer_ui import Bar
from sigprobe.words.i18n import _, ngettext, number

if TYPE_CHECKING:
    from sigprobe.collector.store.compaction import Compacted as Done


@dataclass(frozen=True, slots=True)
class Compacted(CommandResult):
    """Results that are stored compressed now."""

    done: Done
    compact = True

    def text(self, screen: Screen) -> str:
        """Return how many were compressed, and what of their bytes is left."""
        if not self.done.lines:
            return _("All results are compressed.")
        text = ngettext(
            "{n} result is compressed now: {percent} % of its bytes are left.",
            "{n} results are compressed now: {percent} % of their bytes are left.",
            self.done.lines,
        )
        percent = number(round(100 * self.done.after / self.done.before))
        return text.format(n=number(self.done.lines), percent=percent)

    def document(self) -> Json:
        """Return the same for programs."""
        return {"results": self.done.lines, "bytes_before": self.done.before, "bytes_after": self.done.after}


def compact(database: DatabaseOption = None, as_json: options.JsonOption = False) -> CommandResult:
    """Compress stored results, and those to come.

    Run it once no earlier version of the collector runs any more: it could not read them. Collectors may serve
    meanwhile. Interrupted, it goes on where it was.
    """
    from sigprobe.collector.store import compaction

    again = _("Run it again when the database works: it goes on where it was.")
    with using_database(database, again) as engine:
        try:
            whole = compaction.left(engine) if engine.dialect.name == "postgresql" else 0
            with Bar(_("Compressing"), whole) as bar:
                return Compacted(compaction.compact(engine, bar.show))
        except compaction.NotCompressibleError:
            raise CommandError(
                _("Only results in PostgreSQL are compressed. In an SQLite file they stay as they are."),
                exit_code=FAILED,
            ) from None
