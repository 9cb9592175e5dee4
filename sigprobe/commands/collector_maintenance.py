"""`sigprobe collector maintenance`: announce work in advance, so that it alerts nobody."""

from __future__ import annotations

import getpass
import re
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from sigprobe.commands.support import options
from sigprobe.commands.support.collector_database import DatabaseOption, require_database, using_database
from sigprobe.commands.support.command_result import CommandError, CommandResult, Json, Message, Output, Screen
from sigprobe.commands.support.exit_codes import FAILED
from sigprobe.commands.support.typer_shell import Command
from sigprobe.words.i18n import N_, _

if TYPE_CHECKING:
    from sigprobe.collector.incidents.queries import Work

app = typer.Typer(
    help=N_("Announce maintenance, so that incidents within it alert nobody."),
    no_args_is_help=True,
    rich_markup_mode=None,
)

_AREA: Final = re.compile(r"(?:[0-9]{2}|[0-9]{4}|[0-9]{6}|[0-9]{10})?")
_MOST_TEXT: Final = 200


@dataclass(frozen=True, slots=True)
class Announced(CommandResult):
    """Maintenance that was announced; `always` prints its ID for scripts."""

    work: Work
    always = True

    def text(self, screen: Screen) -> str:
        """Return the ID alone."""
        return self.work.id

    def document(self) -> Json:
        """Return it for programs."""
        return _json(self.work)


@dataclass(frozen=True, slots=True)
class Announcements(CommandResult):
    """All maintenance that has not ended."""

    works: Sequence[Work]

    def messages(self, output: Output, screen: Screen) -> Iterable[Message]:
        """Yield a line where there is none."""
        if not self.works and output.for_people:
            yield Message(_("No maintenance is announced."))

    def text(self, screen: Screen) -> str:
        """Return one line each."""
        from sigprobe.record.result import format_time
        from sigprobe.render.words import columns, pad

        if not self.works:
            return ""
        rows = [(_("ID"), _("FROM"), _("TO"), _("NETWORK"), _("AREA"), _("SERVICE"), _("PERSON"), _("REASON"))]
        for work in self.works:
            end = work.ends_at if work.ended_at is None else work.ended_at
            where = (work.plmn or "*", work.area or "*", work.target or "*")
            rows.append((work.id, format_time(work.begins_at), format_time(end), *where, work.person, work.reason))
        widths = [max(columns(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ("  ".join(pad(text, width) for text, width in zip(row, widths, strict=True)) for row in rows)
        return "\n".join(line.rstrip() for line in lines)

    def document(self) -> Json:
        """Return the same for programs."""
        return [_json(work) for work in self.works]


@dataclass(frozen=True, slots=True)
class Ended(CommandResult):
    """Maintenance that ended early."""

    name: str

    def messages(self, output: Output, screen: Screen) -> Iterable[Message]:
        """Yield what holds from now on."""
        yield Message(_("The maintenance has ended; incidents alert again."))


def _json(work: Work) -> Json:
    from sigprobe.collector.incidents.api import work_json

    return work_json(work)


@app.command("add", cls=Command)
def add(
    *,
    ends: Annotated[str, typer.Option("--to", metavar="TIME", help=N_("End: 2029-02-15T02:00:00+07:00."))],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help=N_("Why; it is shown with incidents."))],
    begins: Annotated[
        str, typer.Option("--from", metavar="TIME", help=N_("Begin, in the same form; default: now."))
    ] = "",
    person: Annotated[
        str, typer.Option("--person", metavar="NAME", help=N_("Name of the person; default: this account."))
    ] = "",
    plmn: Annotated[str, typer.Option("--plmn", metavar="CODE", help=N_("Network; default: all."))] = "",
    area: Annotated[
        str, typer.Option("--area", metavar="CODE", help=N_("Province, regency, district or village; default: all."))
    ] = "",
    target: Annotated[str, typer.Option("--target", metavar="NAME", help=N_("Service; default: all."))] = "",
    database: DatabaseOption = None,
    as_json: options.JsonOption = False,
) -> CommandResult:
    """Announce maintenance: incidents within it are found and shown, but alert nobody."""
    now = datetime.now(UTC)
    first, last = _time("--from", begins) if begins else now, _time("--to", ends)
    if last <= first:
        raise CommandError(_("--to must be later than --from."))
    if not _AREA.fullmatch(area):
        raise CommandError(_("--area must be a code of 2, 4, 6 or 10 digits."))
    if not reason.strip():
        raise CommandError(_("--reason must not be empty."))
    from sigprobe.places import network_plmn

    url = require_database(database)
    from sigprobe.collector.incidents import queries

    work = queries.Work(
        str(uuid.uuid4()),
        network_plmn(plmn, None) if plmn else None,
        area,
        target or None,
        first,
        last,
        (person.strip() or _account())[:_MOST_TEXT],
        reason.strip()[:_MOST_TEXT],
        now,
        None,
    )
    with using_database(url) as engine:
        queries.announce(engine, work)
    return Announced(work)


@app.command("list", cls=Command)
def list_all(*, database: DatabaseOption = None, as_json: options.JsonOption = False) -> CommandResult:
    """List maintenance that has not ended yet."""
    url = require_database(database)
    from sigprobe.collector.incidents import queries

    with using_database(url) as engine:
        return Announcements(queries.list_maintenance(engine, since=datetime.now(UTC)))


@app.command("end", cls=Command)
def end(
    *,
    name: Annotated[str, typer.Argument(metavar="ID", show_default=False, help=N_("ID that add printed."))],
    database: DatabaseOption = None,
) -> CommandResult:
    """End maintenance early: incidents that begin later alert again."""
    url = require_database(database)
    from sigprobe.collector.incidents import queries

    with using_database(url) as engine:
        if not queries.end_maintenance(engine, name, datetime.now(UTC)):
            raise CommandError(_("There is no maintenance {name} that still runs.").format(name=name), exit_code=FAILED)
    return Ended(name)


def _time(option: str, text: str) -> datetime:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        when = None
    if when is None or when.tzinfo is None:
        raise CommandError(
            _("{option} must be a time with its zone, for example 2029-02-14T22:00:00+07:00.").format(option=option)
        )
    return when.astimezone(UTC)


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "-"
