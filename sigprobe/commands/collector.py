"""`sigprobe collector`: serve the monitoring server, and give out or revoke its tokens. It reads no config file."""

from __future__ import annotations

import json
import re
import sys
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from sigprobe.commands.support import common, terminal, transfer_ui
from sigprobe.words.i18n import N_, _, ngettext, number

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from sigprobe.collector.ingest.file_import import Imported

app = typer.Typer(
    help=N_("Run the monitoring server that takes results in, and manage its tokens."),
    no_args_is_help=True,
    rich_markup_mode=None,
)
token_app = typer.Typer(
    help=N_("Create, list and revoke the tokens of probes and administrators."),
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(token_app, name="token")

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

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Only(StrEnum):
    """The halves of the server that can run alone."""

    INGEST = "ingest"
    THROUGHPUT = "throughput"


class Throughput(StrEnum):
    """Who may use the speed test."""

    OPEN = "open"
    TOKEN = "token"  # noqa: S105 - a word of the command line
    OFF = "off"


@app.command()
def serve(
    *,
    database: DatabaseOption = None,
    host: Annotated[str, typer.Option(help=N_("Address to listen on."))] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help=N_("Port; 0 picks a free one."))] = 8470,
    tls_cert: Annotated[Path | None, typer.Option(metavar="F", help=N_("Certificate chain, PEM."))] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="F", help=N_("Private key, PEM."))] = None,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help=N_("A proxy of yours in front does TLS and forwards the address."))
    ] = False,
    only: Annotated[Only | None, typer.Option(help=N_("Serve only one half."))] = None,
    throughput: Annotated[
        Throughput | None,
        typer.Option(help=N_("Who may use the speed test; default: open on loopback, token elsewhere.")),
    ] = None,
    throughput_daily_mb: Annotated[
        int, typer.Option(min=0, help=N_("Speed-test MB per address and day; 0 allows none."))
    ] = 1000,
) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    if (tls_cert is None) != (tls_key is None):
        _fail(_("--tls-cert and --tls-key belong together; please give both."), 2)
    if behind_proxy and tls_cert is not None:
        _fail(_("Please give either --behind-proxy or --tls-cert, not both."), 2)
    engine = _open(database)
    from sigprobe.collector import store
    from sigprobe.collector.access.checks import is_loopback
    from sigprobe.collector.app import create_app
    from sigprobe.collector.serve import ServeError, bind, run, tls_context
    from sigprobe.collector.web.settings import Settings

    near = is_loopback(host)
    plain_public = not near and tls_cert is None and not behind_proxy
    mode = throughput or (Throughput.OPEN if near and not behind_proxy else Throughput.TOKEN)
    try:
        tls = None if tls_cert is None or tls_key is None else tls_context(tls_cert, tls_key)
        bound = bind(host, port)
    except ServeError as error:
        engine.dispose()
        _fail(str(error), 1)
    settings = Settings(
        only=None if only is None else only.value,
        throughput=mode.value,
        throughput_daily_mb=throughput_daily_mb,
        behind_proxy=behind_proxy,
        plain_public=plain_public,
        secure_cookies=tls is not None or behind_proxy,
    )
    if plain_public:
        _say(
            _(
                "Warning: without TLS on an address that others can reach, results and pages are refused. "
                "Give --tls-cert and --tls-key, or --behind-proxy."
            )
        )
    name = f"[{host}]" if ":" in host else host
    url = f"{'http' if tls is None else 'https'}://{name}:{bound.getsockname()[1]}/"

    def ready() -> None:
        _say(_("The collector serves on {url}").format(url=url))
        if only is not Only.THROUGHPUT and not plain_public and sys.stderr.isatty():
            once = store.create_once(engine)
            _say(_("Open the page (once, within 10 minutes): {url}").format(url=f"{url}login?once={once}"))

    try:
        with bound:
            run(create_app(settings, engine), bound, tls=tls, ready=ready)
    finally:
        engine.dispose()


@app.command("import")
def import_file(
    *,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", show_default=False, help=N_("A file that sigprobe export has written."))
    ],
    receipts: Annotated[
        Path | None,
        typer.Option(
            "--receipts", metavar="OUT", help=N_("Write receipts, to be imported where the results come from.")
        ),
    ] = None,
    force: transfer_ui.ForceOption = False,
    carrier: Annotated[
        str, typer.Option("--carrier", metavar="NAME", help=N_("Who brought the file; it is kept with each result."))
    ] = "import",
    database: DatabaseOption = None,
    as_json: common.JsonOption = False,
) -> None:
    """Take in results that were carried here in a file."""
    if not _NAME.fullmatch(carrier):
        _fail(_("A name is 1 to 64 letters, digits, dots, dashes and underscores, for example laptop-1."), 2)
    engine = _open(database)
    from sqlalchemy.exc import SQLAlchemyError

    from sigprobe.protocol import transfer_file

    try:
        done = _import(engine, file, receipts, carrier, force=force)
    except transfer_file.CarryError as error:
        writing = error.code in ("file_exists", "file_full", "file_unwritable")
        transfer_ui.say_fault(error, receipts if writing and receipts is not None else file)
        raise typer.Exit(1 if writing else 2) from None
    except SQLAlchemyError as error:
        _say(_("Import {file} again when the database works: nothing is doubled.").format(file=file))
        _database_failed(error)
    finally:
        engine.dispose()
    counts = {name: done.statuses[name] for name in ("accepted", "duplicate", "rejected", "conflict")}
    if as_json:
        examples = [{"id": name, "reason": reason} for name, reason in done.examples]
        document = {"records": done.lines, **counts, "examples": examples}
        typer.echo(json.dumps({**document, "receipts_file": None if receipts is None else str(receipts)}))
        return
    out = terminal.current()
    text = ngettext(
        "{n} result taken in, {known} known already.",
        "{n} results taken in, {known} known already.",
        counts["accepted"],
    )
    out.show(text.format(n=number(counts["accepted"]), known=number(counts["duplicate"])))
    bad = counts["rejected"] + counts["conflict"]
    if bad:
        text = ngettext("Warning: {n} result was not taken:", "Warning: {n} results were not taken:", bad)
        out.error("\n".join([text.format(n=number(bad)), *(f"  {name}: {reason}" for name, reason in done.examples)]))
    if receipts is not None:
        text = _("The receipts are in {file}. On the device the results come from: sigprobe import {file}")
        out.show(text.format(file=receipts))


def _import(engine: Engine, file: Path, receipts: Path | None, carrier: str, *, force: bool) -> Imported:
    """Verify the file, then store it and write the receipts, if any. Raises CarryError and SQLAlchemyError."""
    import socket

    from sigprobe.collector.ingest import file_import
    from sigprobe.protocol import transfer_file
    from sigprobe.record.result import utc_now

    with transfer_file.opened(file) as opened, ExitStack() as stack:
        verified = file_import.verify(opened)
        writer = None
        if receipts is not None:
            header = transfer_file.Header(transfer_file.RECEIPTS, transfer_file.VERSION, None, utc_now())
            writer = stack.enter_context(transfer_file.writing(receipts, header, overwrite=force))
        with transfer_ui.Bar(_("Taking in"), verified.count) as bar:
            return file_import.import_results(
                engine,
                opened,
                verified,
                carrier=carrier,
                collector=socket.gethostname(),
                receipts=writer,
                progress=bar.show,
            )


@token_app.command("create")
def create_token(
    database: DatabaseOption = None,
    probe: Annotated[str | None, typer.Option(metavar="NAME", help=N_("A token that sends results."))] = None,
    admin: Annotated[
        str | None, typer.Option(metavar="NAME", help=N_("A token that reads results and opens the page."))
    ] = None,
) -> None:
    """Create a token and print it once, alone on the last line."""
    if (probe is None) == (admin is None):
        _fail(_("Please give either --probe NAME or --admin NAME."), 2)
    name = probe if probe is not None else admin or ""
    if not _NAME.fullmatch(name):
        _fail(_("A name is 1 to 64 letters, digits, dots, dashes and underscores, for example laptop-1."), 2)
    engine = _open(database)
    from sqlalchemy.exc import SQLAlchemyError

    from sigprobe.collector import store

    try:
        secret = store.create_token(engine, name, store.PROBE if probe is not None else store.ADMIN)
    except store.NameTakenError:
        _fail(
            _(
                "A token named {name} is in use. Choose another name, or revoke it first: "
                "sigprobe collector token revoke {name}"
            ).format(name=name),
            2,
        )
    except SQLAlchemyError as error:
        _database_failed(error)
    finally:
        engine.dispose()
    _say(_("Keep this token now: it cannot be shown again."))
    typer.echo(secret)


@token_app.command("list")
def list_tokens(database: DatabaseOption = None) -> None:
    """List all tokens, without their secrets."""
    engine = _open(database)
    from sqlalchemy.exc import SQLAlchemyError

    from sigprobe.collector import store
    from sigprobe.record.result import format_time

    try:
        found = store.list_tokens(engine)
    except SQLAlchemyError as error:
        _database_failed(error)
    finally:
        engine.dispose()
    if not found:
        _say(_("There is no token yet. Create one: sigprobe collector token create --probe NAME"))
        return
    rows = [(_("NAME"), _("ROLE"), _("CREATED"), _("LAST USED"), _("STATE"))]
    for token in found:
        used = _("never") if token.last_used_at is None else format_time(token.last_used_at)
        state = _("in use") if token.revoked_at is None else _("revoked")
        rows.append((token.name, token.role, format_time(token.created_at), used, state))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        typer.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


@token_app.command("revoke")
def revoke_token(
    name: Annotated[str, typer.Argument(metavar="NAME", help=N_("The token's name."))],
    database: DatabaseOption = None,
) -> None:
    """Take a token out of use for good; a running server refuses it within a minute."""
    engine = _open(database)
    from sqlalchemy.exc import SQLAlchemyError

    from sigprobe.collector import store

    try:
        done = store.revoke_token(engine, name)
    except SQLAlchemyError as error:
        _database_failed(error)
    finally:
        engine.dispose()
    if not done:
        _fail(_("No token named {name} is in use. To see all: sigprobe collector token list").format(name=name), 2)
    _say(_("The token {name} is revoked; the server refuses it within a minute.").format(name=name))


def _open(database: str | None) -> Engine:
    """The open store, or one sentence and exit 1."""
    try:
        import fastapi  # noqa: F401 - the whole extra is wanted, whatever the command
        import jinja2  # noqa: F401
        import sqlalchemy  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        _fail(_("The collector is not installed. Please run: pip install 'sigprobe[collector]'"), 1)
    from sigprobe.collector import store

    try:
        return store.open_store(database or _default_database())
    except store.AddressError:
        _fail(
            _(
                "The database address cannot be read. In user name and password every special character must be "
                "percent-encoded ({examples}): postgresql://USER:PASSWORD@HOST/NAME"
            ).format(examples="@ = %40, % = %25, / = %2F"),
            1,
        )
    except store.StoreError as error:
        _fail(str(error), 1)


def _default_database() -> str:
    from sigprobe.files import locations

    return f"sqlite:///{locations.queue_file().with_name('collector.db')}"


def _database_failed(error: Exception) -> NoReturn:
    # the driver's own words: the full text would hold statement and parameters
    _fail(_("The database failed: {reason}").format(reason=getattr(error, "orig", None) or type(error).__name__), 1)


def _say(message: str) -> None:
    typer.echo(message, err=True)


def _fail(message: str, code: int) -> NoReturn:
    _say(message)
    raise typer.Exit(code)
