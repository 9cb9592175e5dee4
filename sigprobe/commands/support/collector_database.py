"""The `--database` option of the collector's commands, and how its database is opened."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from sigprobe.commands.support import sentences, terminal
from sigprobe.commands.support.command_result import CommandError
from sigprobe.commands.support.exit_codes import FAILED
from sigprobe.words.i18n import N_, _

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from sigprobe.collector.store import StoreError

DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--database",
        metavar="URL",
        envvar="SIGPROBE_DATABASE",
        show_envvar=False,
        help=N_("sqlite:///FILE or postgresql://USER@HOST/NAME; default: a file in the data directory."),
    ),
]


def require_extra() -> None:
    """Raise CommandError unless the packages of the collector are installed."""
    try:
        import fastapi  # noqa: F401 - the whole extra is wanted, whatever the command
        import jinja2  # noqa: F401
        import sqlalchemy  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        text = _("The collector is not installed. Please run: pip install 'sigprobe[collector]'")
        raise CommandError(text, exit_code=FAILED) from None


def database_url(database: str | None) -> str:
    """Return the address of the database, once the collector's libraries are there; else one sentence and exit 1."""
    require_extra()
    return database or _default_url()


def require_database(database: str | None) -> str:
    """Return the address of a database that is there: a command that adds nothing must not create an empty one."""
    url = database_url(database)
    from sigprobe.collector import store

    file = store.file_of(url)
    if file is not None and not os.path.lexists(file):
        text = _("There is no database {path}. Check --database, or SIGPROBE_DATABASE.").format(path=file.absolute())
        raise CommandError(text, exit_code=FAILED)
    return url


def open_database(database: str | None) -> Engine:
    """Return the open store, or one sentence and exit 1; say where a new database was created."""
    url = database_url(database)
    from sigprobe.collector import store

    file = store.file_of(url)
    is_new = file is not None and not file.exists()
    try:
        engine = store.open_store(url)
    except store.StoreError as error:
        raise store_failed(error) from None
    if is_new and file is not None:
        terminal.current().say(_("A new, empty database was created: {path}").format(path=file.absolute()))
    return engine


@contextmanager
def using_database(database: str | None, hint: str | None = None, *, creates: bool = False) -> Iterator[Engine]:
    """Open the store for the block and close it after; a fault of the database is one sentence, `hint`, and exit 1.

    Only a command that `creates` what it needs makes a new database where there is none.
    """
    engine = open_database(database if creates else require_database(database))
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield engine
    except SQLAlchemyError as error:
        raise CommandError(database_text(error), *([] if hint is None else [hint]), exit_code=FAILED) from None
    finally:
        engine.dispose()


def store_failed(error: StoreError) -> CommandError:
    """Return the command's error for an unusable database."""
    return CommandError(sentences.message_text(error, error.technical), exit_code=FAILED)


def _default_url() -> str:
    from platformdirs import user_data_path

    try:
        directory = user_data_path("sigprobe", appauthor=False)
    except RuntimeError:
        text = _("This user has no home directory. Set HOME, or give the database: --database sqlite:///FILE")
        raise CommandError(text, exit_code=FAILED) from None
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        text = _("cannot write {path}: {reason}.").format(path=directory, reason=sentences.system_reason(error))
        raise CommandError(text, exit_code=FAILED) from None
    return f"sqlite:///{directory / 'collector.db'}"


def database_text(error: Exception) -> str:
    """Return the cause of a fault of the database in words; what its driver says under `-v`."""
    from sigprobe.collector.store.database_causes import cause, technical_text
    from sigprobe.record.messages import MessageError

    failed = MessageError(N_("The database cannot be used: {reason}."), reason=cause(error))
    return sentences.message_text(failed, technical_text(error))
