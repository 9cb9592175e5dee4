"""The `--database` option of the collector's commands, and how its database is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sigprobe.commands.support.command_result import CommandError
from sigprobe.commands.support.exit_codes import FAILED
from sigprobe.words.i18n import N_, _

if TYPE_CHECKING:
    from sqlalchemy import Engine

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


def database_url(database: str | None) -> str:
    """Return the address of the database, once the collector's libraries are there; else one sentence and exit 1."""
    try:
        import fastapi  # noqa: F401 - the whole extra is wanted, whatever the command
        import jinja2  # noqa: F401
        import sqlalchemy  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        text = _("The collector is not installed. Please run: pip install 'sigprobe[collector]'")
        raise CommandError(text, exit_code=FAILED) from None
    return database or _default_url()


def open_database(database: str | None) -> Engine:
    """Return the open store, or one sentence and exit 1."""
    url = database_url(database)
    from sigprobe.collector import store

    try:
        return store.open_store(url)
    except store.AddressError:
        text = _(
            "The database address cannot be read. In user name and password every special character must be "
            "percent-encoded ({examples}): postgresql://USER:PASSWORD@HOST/NAME"
        ).format(examples="@ = %40, % = %25, / = %2F")
        raise CommandError(text, exit_code=FAILED) from None
    except store.StoreError as error:
        raise CommandError(str(error), exit_code=FAILED) from None


def _default_url() -> str:
    from platformdirs import user_data_path

    return f"sqlite:///{user_data_path('sigprobe', appauthor=False) / 'collector.db'}"


def database_text(error: Exception) -> str:
    """Return what the database's driver says of a fault."""
    # only what the driver says: the full text would hold statement and parameters
    return _("The database failed: {reason}").format(reason=getattr(error, "orig", None) or type(error).__name__)
