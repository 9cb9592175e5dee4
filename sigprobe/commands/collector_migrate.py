"""`sigprobe collector migrate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from sigprobe.commands.support import options
from sigprobe.commands.support.collector_database import (
    DatabaseOption,
    database_text,
    require_database,
    store_failed,
    using_database,
)
from sigprobe.commands.support.command_result import CommandError, CommandResult, Json, Screen
from sigprobe.commands.support.exit_codes import FAILED
from sigprobe.commands.support.transfer_ui import Bar
from sigprobe.words.i18n import N_, _, ngettext, number


@dataclass(frozen=True, slots=True)
class Migrated(CommandResult):
    """The steps of a migration, and how many stored results it goes through."""

    steps: Sequence[tuple[str, str]]
    rows: int
    dry_run: bool
    compact = True
    prose = True

    def text(self, screen: Screen) -> str:
        """Return the steps, one a line, and the results."""
        if not self.steps and not self.rows:
            return _("The database is current.")
        lines = [_("Step {number}").format(number=revision) for revision, _title in self.steps]
        if self.dry_run:
            text = ngettext("{n} stored result to go through.", "{n} stored results to go through.", self.rows)
        else:
            text = ngettext("{n} stored result went through.", "{n} stored results went through.", self.rows)
        return "\n".join([*lines, text.format(n=number(self.rows))])

    def document(self) -> Json:
        """Return the same for programs."""
        return {
            "steps": [{"revision": revision, "title": title} for revision, title in self.steps],
            "results": self.rows,
            "dry_run": self.dry_run,
        }


def migrate(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help=N_("Only say what would be done."))] = False,
    database: DatabaseOption = None,
    as_json: options.JsonOption = False,
) -> CommandResult:
    """Migrate the database to the present schema, and the results stored in it.

    Collectors may serve meanwhile. Interrupted, it goes on where it was.
    """
    url = require_database(database)
    from sqlalchemy.exc import SQLAlchemyError

    from sigprobe.collector import store
    from sigprobe.collector.store.engine import open_unchanged
    from sigprobe.collector.store.migrations import pending
    from sigprobe.collector.worker import backfill

    try:
        engine = open_unchanged(url)
    except store.StoreError as error:
        raise store_failed(error) from None
    try:
        steps = pending(engine)
        rows = backfill.left(engine)
        if dry_run:
            return Migrated(steps, rows, dry_run=True)
    except SQLAlchemyError as error:
        raise CommandError(database_text(error), exit_code=FAILED) from None
    finally:
        engine.dispose()
    again = _("Migrate again when it works: it goes on where it was.")
    with using_database(database, again) as current, Bar(_("Going through"), rows) as bar:
        return Migrated(steps, backfill.run(current, bar.show), dry_run=False)
