"""`sigprobe collector backup` and `restore`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sigprobe.commands.support import options, sentences
from sigprobe.commands.support.collector_database import DatabaseOption, database_url, store_failed
from sigprobe.commands.support.command_result import CommandError, CommandResult, Json, Message, Screen
from sigprobe.commands.support.exit_codes import FAILED
from sigprobe.commands.support.transfer_ui import Bar
from sigprobe.words.i18n import N_, _, ngettext, number

if TYPE_CHECKING:
    from sigprobe.collector.backup.copy import BackupError, Copy


@dataclass(frozen=True, slots=True)
class BackedUp(CommandResult):
    """A verified copy of the database."""

    copy: Copy
    running_server: bool
    compact = True
    prose = True

    def text(self, screen: Screen) -> str:
        """Return where the copy is, its size, and how many results it has."""
        size = _("Backup {path}: {megabytes} MB, verified.").format(
            path=self.copy.path, megabytes=_megabytes(self.copy)
        )
        if self.copy.results is None:
            return size
        if self.running_server:
            return f"{size} " + ngettext(
                "It has at least {n} result.", "It has at least {n} results.", self.copy.results
            ).format(n=number(self.copy.results))
        return f"{size} " + _results(self.copy.results)

    def document(self) -> Json:
        """Return the same for programs."""
        return {"path": str(self.copy.path), "size_bytes": self.copy.size_bytes, "results": self.copy.results}


@dataclass(frozen=True, slots=True)
class Restored(CommandResult):
    """A database made from a copy."""

    copy: Copy
    server: bool
    compact = True
    prose = True

    def text(self, screen: Screen) -> str:
        """Return where the database is and what it has."""
        text = _("Restored {path}: {megabytes} MB, verified.").format(
            path=self.copy.path, megabytes=_megabytes(self.copy)
        )
        if self.copy.results is not None:
            text += " " + _results(self.copy.results)
        if self.copy.newest_received_at is not None:
            from sigprobe.record.result import format_time

            text += "\n" + _("Newest result received: {time}").format(time=format_time(self.copy.newest_received_at))
        return text

    def document(self) -> Json:
        """Return the same for programs."""
        from sigprobe.record.result import format_time

        newest = self.copy.newest_received_at
        return {
            "path": str(self.copy.path),
            "size_bytes": self.copy.size_bytes,
            "results": self.copy.results,
            "newest_received_at": None if newest is None else format_time(newest),
        }

    def hints(self, screen: Screen) -> Iterable[Message]:
        """Yield the next command, a new backup: the former ones end here."""
        if self.server:
            yield Message(_("Next: start PostgreSQL on this data directory, then make a new backup."))


def _time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise typer.BadParameter(
            _("{text} is not a time with its zone, such as 2029-02-14T07:05:00+07:00").format(text=text)
        )
    return found


def backup(
    *,
    dest: Annotated[
        Path, typer.Argument(metavar="DEST", show_default=False, help=N_("New file (SQLite) or folder (PostgreSQL)."))
    ],
    database: DatabaseOption = None,
    as_json: options.JsonOption = False,
) -> CommandResult:
    """Copy the database to DEST while the collector runs, and verify the copy."""
    url = database_url(database)
    from sigprobe.collector.backup import postgresql_server, sqlite_file
    from sigprobe.collector.backup.copy import BackupError
    from sigprobe.collector.store import StoreError

    file = _sqlite_file(url)
    try:
        with Bar(_("Copying"), 1) as bar:
            if file is not None:
                return BackedUp(sqlite_file.back_up(file, dest, bar.show_of), running_server=False)
            return BackedUp(postgresql_server.back_up(url, dest, bar.show_of), running_server=True)
    except BackupError as error:
        raise _command_error(error, dest, copied=file) from None
    except StoreError as error:
        raise store_failed(error) from None
    except OSError as error:
        raise _command_error(BackupError("failed", error, str(error)), dest) from None


def restore(
    *,
    source: Annotated[
        Path, typer.Argument(metavar="SRC", show_default=False, help=N_("Made by sigprobe collector backup."))
    ],
    into: Annotated[
        Path | None,
        typer.Option("--into", metavar="DIR", help=N_("PostgreSQL: the new data directory.")),
    ] = None,
    wal: Annotated[
        Path | None,
        typer.Option("--wal", metavar="DIR", help=N_("PostgreSQL: folder with the archived WAL to replay.")),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(
            "--until",
            metavar="TIME",
            help=N_("PostgreSQL: replay up to this time, for example 2029-02-14T07:05:00+07:00."),
            parser=_time,
        ),
    ] = None,
    database: DatabaseOption = None,
    as_json: options.JsonOption = False,
) -> CommandResult:
    """Make a new database from a backup. An existing database is never replaced."""
    url = database_url(database)
    from sigprobe.collector.backup import postgresql_server, sqlite_file
    from sigprobe.collector.backup.copy import BackupError
    from sigprobe.collector.store import StoreError

    file = _sqlite_file(url)
    if file is not None and (into is not None or wal is not None or until is not None):
        raise CommandError(_("--into, --wal and --until are for PostgreSQL; the database is an SQLite file."))
    if file is None and into is None:
        raise CommandError(_("Give the new data directory of PostgreSQL: --into DIR"))
    if until is not None and wal is None:
        raise CommandError(_("--until needs the archived WAL: --wal DIR"))
    try:
        with Bar(_("Restoring"), 1) as bar:
            if file is not None:
                return Restored(sqlite_file.restore(source, file, bar.show_of), server=False)
            assert into is not None
            goal = postgresql_server.goal_of(url, wal=wal, until=until)
            return Restored(postgresql_server.restore(source, into, goal, bar.show_of), server=True)
    except BackupError as error:
        raise _command_error(error, source) from None
    except StoreError as error:
        raise store_failed(error) from None
    except OSError as error:
        raise _command_error(BackupError("failed", error, str(error)), source) from None


def _sqlite_file(url: str) -> Path | None:
    from sigprobe.collector.store import file_of

    file = file_of(url)
    if file is None and url.startswith("sqlite:"):
        raise CommandError(_("Give the database as sqlite:///FILE."), exit_code=FAILED)
    if file is None and not url.startswith("postgres"):
        text = _("Give the database as sqlite:///FILE or postgresql://USER@HOST/NAME.")
        raise CommandError(text, exit_code=FAILED)
    return file


def _megabytes(copy: Copy) -> str:
    return number(round(copy.size_bytes / 1e6, 1))


def _results(count: int) -> str:
    return ngettext("It has {n} result.", "It has {n} results.", count).format(n=number(count))


def _command_error(error: BackupError, path: Path, *, copied: Path | None = None) -> CommandError:
    """Return the reason in the language in use with what to do; technical details only under `-v`.

    `path` is the copy. `copied` is the SQLite database it was to be made of: a fault of its content is that file's.
    """
    from sigprobe.record.messages import MessageError

    texts = {
        "exists": N_("{detail} exists already and is not replaced. Choose another name, or move it away first."),
        "no_source": N_("{detail} does not exist."),
        "directory": N_("{detail} is a folder. An SQLite database, and each backup of one, is a file."),
        "file": N_("{detail} is a file. A backup of PostgreSQL is a folder."),
        "not_ours": N_("{path} is not a backup of a collector."),
        "damaged": N_("The copy of {path} is damaged: {detail}."),
        "unwritable": N_("{path} cannot be written: {detail}."),
        "no_program": N_("{detail} is not installed. On Debian: apt-get install postgresql"),
        "no_account": N_(
            "There is no account {detail} to run PostgreSQL's programs. Run this as the owner of its data."
        ),
        "path": N_("The path {detail} has characters that PostgreSQL's restore_command cannot hold."),
        "replay": N_("The WAL cannot be replayed so far: {detail}."),
        "failed": N_("Nothing was copied: {detail}."),
    }
    if copied is not None and error.code in ("not_ours", "damaged"):
        path = copied
        texts["not_ours"] = N_("{path} is not the database of a collector.")
        texts["damaged"] = N_("The database {path} is damaged: {detail}. Nothing was copied.")
    told = MessageError(texts[error.code], path=path, detail=error.detail)
    return CommandError(sentences.message_text(told, error.technical), exit_code=FAILED)
