"""`sigprobe collector`: serve the monitoring server, and give out or revoke its tokens. It reads no config file."""

from __future__ import annotations

import logging
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from sigprobe.commands import (
    collector_backup,
    collector_check,
    collector_compact,
    collector_distribute,
    collector_merge,
    collector_migrate,
    collector_site,
)
from sigprobe.commands.support import collector_database, options, sentences, signals, terminal, transfer_ui
from sigprobe.commands.support.collector_database import DatabaseOption, using_database
from sigprobe.commands.support.collector_database import database_text as _database_text
from sigprobe.commands.support.collector_database import open_database as _open
from sigprobe.commands.support.command_result import CommandError, CommandResult, Json, Message, Output, Screen
from sigprobe.commands.support.exit_codes import FAILED, USAGE
from sigprobe.commands.support.typer_shell import Command
from sigprobe.words.i18n import N_, _, ngettext, number

if TYPE_CHECKING:
    import socket
    import ssl

    from sqlalchemy import Engine

    from sigprobe.collector.access.queries import Token
    from sigprobe.collector.ingest.file_import import Imported
    from sigprobe.collector.web.settings import Settings
    from sigprobe.collector.worker.loop import Worker

app = typer.Typer(
    help=N_("Run the collector that receives results, and manage its tokens."),
    no_args_is_help=True,
    rich_markup_mode=None,
)
token_app = typer.Typer(
    help=N_("Create, list and revoke the tokens of probes and administrators."),
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(token_app, name="token")
app.add_typer(collector_site.app, name="site")
collector_distribute.app.command("compact", cls=Command)(collector_compact.compact)
app.add_typer(collector_distribute.app, name="database")
app.command("backup", cls=Command)(collector_backup.backup)
app.command("restore", cls=Command)(collector_backup.restore)
app.command("merge", cls=Command)(collector_merge.merge)
app.command("check", cls=Command)(collector_check.check)
app.command("erase", cls=Command)(collector_check.erase)
app.command("migrate", cls=Command)(collector_migrate.migrate)

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Only(StrEnum):
    """The halves of the server that can run alone."""

    INGEST = "ingest"
    THROUGHPUT = "throughput"


class ProxyHeader(StrEnum):
    """The header in which a proxy names its client."""

    X_FORWARDED_FOR = "x-forwarded-for"
    FORWARDED = "forwarded"


class LogFormat(StrEnum):
    """The form of the log."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """The least important events that are logged."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Throughput(StrEnum):
    """The clients that may use the speed test."""

    OPEN = "open"
    TOKEN = "token"  # noqa: S105 - a word of the command line
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Carried(CommandResult):
    """Results from a file, now in the database; `receipts` is the file of receipts, if any."""

    done: Imported
    receipts: Path | None
    compact = True
    prose = True

    def _counts(self) -> dict[str, int]:
        return {name: self.done.statuses[name] for name in ("accepted", "duplicate", "rejected", "conflict")}

    def messages(self, output: Output, screen: Screen) -> Iterable[Message]:
        """Yield a warning for results that were not accepted, with examples."""
        counts = self._counts()
        bad = counts["rejected"] + counts["conflict"]
        if bad and output.for_people:
            text = ngettext("Warning: {n} result was not accepted:", "Warning: {n} results were not accepted:", bad)
            examples = (f"  {name}: {reason}" for name, reason in self.done.examples)
            yield Message("\n".join([text.format(n=number(bad)), *examples]), error=True)

    def text(self, screen: Screen) -> str:
        """Return how many results are new, how many were known, and where the receipts are."""
        counts = self._counts()
        if not self.done.lines:
            text = _("This file contains no results.")
        elif counts["duplicate"] and not counts["accepted"]:
            text = ngettext(
                "Nothing new: the {n} result of this file is already here.",
                "Nothing new: the {n} results of this file are already here.",
                counts["duplicate"],
            ).format(n=number(counts["duplicate"]))
        else:
            text = self._imported(counts)
        if self.receipts is not None:
            more = _("The receipts are in {file}. On the device the results come from: {command}")
            command = shlex.join(["sigprobe", "import", str(self.receipts)])
            text += "\n" + more.format(file=self.receipts, command=command)
        return text

    def _imported(self, counts: dict[str, int]) -> str:
        text = ngettext(
            "{n} result imported, {known} already known.",
            "{n} results imported, {known} already known.",
            counts["accepted"],
        )
        return text.format(n=number(counts["accepted"]), known=number(counts["duplicate"]))

    def document(self) -> Json:
        """Return the same for programs."""
        return {
            "records": self.done.lines,
            **self._counts(),
            "examples": [{"id": name, "reason": reason} for name, reason in self.done.examples],
            "receipts_file": None if self.receipts is None else str(self.receipts),
        }


@dataclass(frozen=True, slots=True)
class NewToken(CommandResult):
    """A new token; this is the only time it is printed."""

    secret: str
    always = True

    def messages(self, output: Output, screen: Screen) -> Iterable[Message]:
        """Yield the warning that it is shown once."""
        yield Message(_("Keep this token now: it cannot be shown again."))

    def text(self, screen: Screen) -> str:
        """Return the token alone."""
        return self.secret


@dataclass(frozen=True, slots=True)
class Tokens(CommandResult):
    """All tokens without their secrets, as a table with a head."""

    tokens: Sequence[Token]

    def messages(self, output: Output, screen: Screen) -> Iterable[Message]:
        """Yield the next command if there is no token."""
        if not self.tokens and output.for_people:
            yield Message(_("There is no token yet. Create one: sigprobe collector token create --probe NAME"))

    def text(self, screen: Screen) -> str:
        """Return one line a token."""
        from sigprobe.record.result import format_time
        from sigprobe.render.words import columns, pad

        if not self.tokens:
            return ""
        rows = [(_("NAME"), _("ROLE"), _("CREATED"), _("LAST USED"), _("STATE"))]
        for token in self.tokens:
            used = _("never") if token.last_used_at is None else format_time(token.last_used_at)
            state = _("in use") if token.revoked_at is None else _("revoked")
            rows.append((token.name, token.role, format_time(token.created_at), used, state))
        widths = [max(columns(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ("  ".join(pad(text, width) for text, width in zip(row, widths, strict=True)) for row in rows)
        return "\n".join(line.rstrip() for line in lines)

    def document(self) -> Json:
        """Return the same for programs."""
        from sigprobe.record.result import format_time

        return [
            {
                "name": token.name,
                "role": token.role,
                "created_at": format_time(token.created_at),
                "last_used_at": None if token.last_used_at is None else format_time(token.last_used_at),
                "revoked_at": None if token.revoked_at is None else format_time(token.revoked_at),
            }
            for token in self.tokens
        ]


@dataclass(frozen=True, slots=True)
class Revoked(CommandResult):
    """A token that is no longer valid."""

    name: str

    def messages(self, output: Output, screen: Screen) -> Iterable[Message]:
        """Yield when it stops working."""
        text = _("The token {name} is revoked; the server refuses it within 20 seconds.")
        yield Message(text.format(name=self.name))


@app.command(cls=Command)
def serve(
    *,
    database: DatabaseOption = None,
    host: Annotated[str, typer.Option(help=N_("Address to listen on."))] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help=N_("Port; 0 picks a free one."))] = 8470,
    tls_cert: Annotated[Path | None, typer.Option(metavar="F", help=N_("Certificate chain, PEM."))] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="F", help=N_("Private key, PEM."))] = None,
    behind_proxy: Annotated[
        bool,
        typer.Option("--behind-proxy", help=N_("Your own proxy in front does TLS and forwards the client address.")),
    ] = False,
    proxy_header: Annotated[
        ProxyHeader, typer.Option(help=N_("Header in which that proxy writes the client's address."))
    ] = ProxyHeader.X_FORWARDED_FOR,
    log_format: Annotated[LogFormat, typer.Option(help=N_("Form of the log on stderr."))] = LogFormat.TEXT,
    log_level: Annotated[LogLevel, typer.Option(help=N_("Least important events to log."))] = LogLevel.INFO,
    only: Annotated[Only | None, typer.Option(help=N_("Run only one half of the server."))] = None,
    throughput: Annotated[
        Throughput | None,
        typer.Option(help=N_("Access to the speed test; default: open on loopback, token elsewhere.")),
    ] = None,
    throughput_daily_mb: Annotated[
        int, typer.Option(min=0, help=N_("Speed-test MB per token or address and day; 0 allows none."))
    ] = 1000,
    trust_clock: Annotated[
        bool,
        typer.Option(
            "--trust-clock", help=N_("This machine's clock is right, although results with a later receipt are stored.")
        ),
    ] = False,
    workers: Annotated[
        int,
        typer.Option(
            min=1,
            max=64,
            envvar="SIGPROBE_WORKERS",
            show_envvar=False,
            help=N_("Processes that serve on this port; more than one needs PostgreSQL."),
        ),
    ] = 1,
    work: Annotated[
        bool,
        typer.Option(
            "--work/--no-work", help=N_("Also do the background work here; without it run: sigprobe collector work.")
        ),
    ] = True,
) -> CommandResult:
    """Run the server until Ctrl-C or SIGTERM."""
    if (tls_cert is None) != (tls_key is None):
        raise CommandError(_("--tls-cert and --tls-key must be given together."))
    if behind_proxy and tls_cert is not None:
        raise CommandError(_("Give either --behind-proxy or --tls-cert, not both."))
    collector_database.require_extra()
    from sigprobe.collector import store
    from sigprobe.collector.serve import ServeError, bind, tls_context
    from sigprobe.collector.web.log import start as start_log
    from sigprobe.collector.web.settings import Settings
    from sigprobe.record.addresses import is_loopback

    if workers > 1 and collector_database.database_url(database).startswith("sqlite:"):
        raise CommandError(
            _("--workers needs PostgreSQL; an SQLite database has one process. Leave it out, or give --database.")
        )
    near = is_loopback(host)
    plain_public = not near and tls_cert is None and not behind_proxy
    mode = throughput or (Throughput.OPEN if near and not behind_proxy else Throughput.TOKEN)

    def make_tls() -> ssl.SSLContext | None:
        return None if tls_cert is None or tls_key is None else tls_context(tls_cert, tls_key)

    try:
        tls = make_tls()
        bound = bind(host, port)
    except ServeError as error:
        raise CommandError(sentences.message_text(error, error.technical), exit_code=FAILED) from None
    try:
        engine = _open(database)
    except CommandError:
        bound.close()
        raise
    settings = Settings(
        only=None if only is None else only.value,
        throughput=mode.value,
        throughput_daily_mb=throughput_daily_mb,
        behind_proxy=behind_proxy,
        forwarded_header=proxy_header.value,
        plain_public=plain_public,
        secure_cookies=tls is not None or behind_proxy,
        trust_clock=trust_clock,
    )
    name = f"[{host}]" if ":" in host else host
    serving = _Serving(
        settings,
        bound,
        url=f"{'http' if tls is None else 'https'}://{name}:{bound.getsockname()[1]}/",
        make_tls=make_tls,
        tls=tls,
        work=work and only is not Only.THROUGHPUT,
        as_json=log_format is LogFormat.JSON,
        start_log=partial(start_log, log_format.value, log_level.value),
    )
    if workers == 1:
        serving.alone(engine)
    else:
        # a connection must not be shared by processes
        engine.dispose()
        serving.together(workers, partial(store.open_again, collector_database.database_url(database)))
    return CommandResult()


@dataclass(slots=True)
class _Serving:
    """One `serve`: what its processes have in common."""

    settings: Settings
    bound: socket.socket
    url: str
    make_tls: Callable[[], ssl.SSLContext | None]
    tls: ssl.SSLContext | None
    work: bool
    as_json: bool
    start_log: Callable[..., Callable[[], None]]

    def alone(self, engine: Engine) -> None:
        """Serve in this process."""
        from sigprobe.collector.app import create_app
        from sigprobe.collector.serve import run

        stop_log = self.start_log()
        self._warn()
        try:
            with self.bound, _working(engine, wanted=self.work) as worker:
                run(
                    create_app(self.settings, engine, worker),
                    self.bound,
                    tls=self.tls,
                    ready=lambda: self._say_ready(engine),
                    behind_proxy=self.settings.behind_proxy,
                )
        finally:
            stop_log()
            engine.dispose()

    def together(self, count: int, open_store: Callable[[], Engine]) -> None:
        """Serve in several processes, and watch over them."""
        from tempfile import TemporaryDirectory

        from sigprobe.collector.supervisor import StartError, Supervisor
        from sigprobe.collector.web import metrics

        def ready() -> None:
            engine = open_store()
            try:
                self._say_ready(engine)
            finally:
                engine.dispose()

        # no thread: its processes are forked
        stop_log = self.start_log(threaded=False)
        self._warn()
        try:
            with self.bound, TemporaryDirectory(prefix="sigprobe-metrics-") as directory:
                metrics.share(Path(directory))
                Supervisor(
                    count,
                    partial(self._serve_one, open_store, stop_log),
                    ready=ready,
                    ended=metrics.leave,
                    renew=self._renew,
                ).run()
        except StartError:
            raise CommandError(
                _("A process of the collector could not start; its log says why."), exit_code=FAILED
            ) from None
        finally:
            stop_log()

    def _serve_one(
        self,
        open_store: Callable[[], Engine],
        stop_log: Callable[[], None],
        place: int,
        parent: int,
        ready: Callable[[], None],
    ) -> None:
        """Serve in a process of several."""
        from sigprobe.collector.app import create_app
        from sigprobe.collector.serve import run
        from sigprobe.collector.store import StoreError
        from sigprobe.collector.web import metrics

        stop_log()
        stop_log = self.start_log()
        metrics.join(place)
        log = logging.getLogger("sigprobe.collector")
        try:
            try:
                engine = open_store()
            except StoreError as error:
                log.warning("the database cannot be used", extra={"reason": str(error)})
                raise SystemExit(FAILED) from None
            try:
                with self.bound, _working(engine, wanted=self.work) as worker:
                    app = create_app(self.settings, engine, worker)
                    run(
                        app,
                        self.bound,
                        tls=self.tls,
                        ready=ready,
                        behind_proxy=self.settings.behind_proxy,
                        parent=parent,
                        each_second=app.state.collector.metrics.refresh,
                    )
            finally:
                engine.dispose()
        except Exception:
            log.exception("a process failed")
            raise SystemExit(FAILED) from None
        finally:
            stop_log()

    def _renew(self) -> bool:
        """Read the certificate again; False, with the reason in the log, when it cannot be used."""
        from sigprobe.collector.serve import ServeError

        try:
            self.tls = self.make_tls()
        except ServeError as error:
            logging.getLogger("sigprobe.collector").warning("the certificate stays", extra={"reason": str(error)})
            return False
        return True

    def _say(self, message: str, event: str, **fields: str) -> None:
        """Print a line for people, or one of JSON for programs that read the log."""
        if self.as_json:
            logging.getLogger("sigprobe.collector").warning(event, extra=fields)
        else:
            terminal.current().say(message)

    def _warn(self) -> None:
        if self.settings.plain_public:
            self._say(
                _(
                    "Warning: without TLS on a public address, results and pages are refused. Give --tls-cert "
                    "and --tls-key, or --behind-proxy."
                ),
                "no TLS on a public address",
            )

    def _say_ready(self, engine: Engine) -> None:
        from sigprobe.collector.access import queries as access_queries

        self._say(_("The collector is running at {url}").format(url=self.url), "serving", url=self.url)
        if self.settings.only != "throughput" and not self.settings.plain_public and sys.stderr.isatty():
            once = access_queries.create_once(engine)
            terminal.current().say(
                _("Open the page (once, within 10 minutes): {url}").format(url=f"{self.url}login?once={once}")
            )


@contextmanager
def _working(engine: Engine, *, wanted: bool) -> Iterator[Worker | None]:
    """Run the worker in a thread of this process, if it is wanted."""
    from sigprobe.collector.worker.loop import Worker

    if not wanted:
        yield None
        return
    worker = Worker(engine)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()


@app.command("work", cls=Command)
def run_worker(
    *,
    database: DatabaseOption = None,
    log_format: Annotated[LogFormat, typer.Option(help=N_("Form of the log on stderr."))] = LogFormat.TEXT,
    log_level: Annotated[LogLevel, typer.Option(help=N_("Least important events to log."))] = LogLevel.INFO,
) -> CommandResult:
    """Run the background work of a database: publishing, sums, corrections, partitions.

    Several may run; one leads, another takes over within ten seconds.
    """
    import signal
    import threading

    engine = _open(database)
    from sigprobe.collector.web.log import start as start_log
    from sigprobe.collector.worker.loop import Worker

    worker = Worker(engine)

    def end(*_: object) -> None:
        # an Event is set by another thread: this one may be holding its lock right now
        threading.Thread(target=worker.end, daemon=True).start()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    stop_log = start_log(log_format.value, log_level.value)
    if log_format is LogFormat.JSON:
        logging.getLogger("sigprobe.collector").warning("working")
    else:
        terminal.current().say(_("The worker is running."))
    try:
        worker.run()
    finally:
        worker.stop()
        for number, handler in before.items():
            signal.signal(number, handler)
        stop_log()
        engine.dispose()
    return CommandResult()


@app.command("import", cls=Command)
def import_file(
    *,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", show_default=False, help=N_("A file that sigprobe export has written."))
    ],
    receipts: Annotated[
        Path | None,
        typer.Option(
            "--receipts", metavar="OUT", help=N_("Write receipts, to be imported on the device the results come from.")
        ),
    ] = None,
    force: options.ForceOption = False,
    carrier: Annotated[
        str, typer.Option("--carrier", metavar="NAME", help=N_("Name of the carrier; it is stored with each result."))
    ] = "import",
    database: DatabaseOption = None,
    as_json: options.JsonOption = False,
) -> CommandResult:
    """Import results that were carried here in a file."""
    if not _NAME.fullmatch(carrier):
        raise CommandError(_("A name is 1 to 64 letters, digits, dots, dashes and underscores, for example laptop-1."))
    engine = _open(database)
    from sqlalchemy.exc import SQLAlchemyError

    from sigprobe.protocol import transfer_file

    try:
        done = _import(engine, file, receipts, carrier, force=force)
    except transfer_file.CarryError as error:
        writing = error.code in ("file_exists", "file_full", "file_unwritable") or (
            error.code == "file_directory" and not file.is_dir()
        )
        text = transfer_ui.fault_text(error, receipts if writing and receipts is not None else file)
        raise CommandError(text, exit_code=FAILED if writing else USAGE) from None
    except KeyboardInterrupt as stop:
        text = _("Stopped. Imported results stay here; import {file} again for the rest: nothing is stored twice.")
        raise CommandError(text.format(file=file), exit_code=signals.code_of(stop)) from None
    except SQLAlchemyError as error:
        again = _("Import {file} again when the database works: nothing is stored twice.").format(file=file)
        raise CommandError(again, _database_text(error), exit_code=FAILED) from None
    finally:
        engine.dispose()
    return Carried(done, receipts)


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


@token_app.command("create", cls=Command)
def create_token(
    database: DatabaseOption = None,
    probe: Annotated[str | None, typer.Option(metavar="NAME", help=N_("A token that sends results."))] = None,
    admin: Annotated[
        str | None, typer.Option(metavar="NAME", help=N_("A token that reads results and opens the page."))
    ] = None,
) -> CommandResult:
    """Create a token and print it once, alone on the last line."""
    if (probe is None) == (admin is None):
        raise CommandError(_("Give either --probe NAME or --admin NAME."))
    name = probe if probe is not None else admin or ""
    if not _NAME.fullmatch(name):
        raise CommandError(_("A name is 1 to 64 letters, digits, dots, dashes and underscores, for example laptop-1."))
    with using_database(database, creates=True) as engine:
        from sigprobe.collector.access import queries as access_queries

        role = access_queries.PROBE if probe is not None else access_queries.ADMIN
        try:
            return NewToken(access_queries.create_token(engine, name, role))
        except access_queries.NameTakenError:
            raise CommandError(
                _(
                    "A token named {name} is in use. Choose another name, or revoke it first: "
                    "sigprobe collector token revoke {name}"
                ).format(name=name)
            ) from None


@token_app.command("list", cls=Command)
def list_tokens(database: DatabaseOption = None, as_json: options.JsonOption = False) -> CommandResult:
    """List all tokens, without their secrets."""
    with using_database(database) as engine:
        from sigprobe.collector.access import queries as access_queries

        return Tokens(access_queries.list_tokens(engine))


@token_app.command("revoke", cls=Command)
def revoke_token(
    name: Annotated[str, typer.Argument(metavar="NAME", help=N_("The token's name."))],
    database: DatabaseOption = None,
) -> CommandResult:
    """Revoke a token; a running server refuses it within 20 seconds."""
    with using_database(database) as engine:
        from sigprobe.collector.access import queries as access_queries

        done = access_queries.revoke_token(engine, name)
    if not done:
        raise CommandError(
            _("No token named {name} is in use. To list all: sigprobe collector token list").format(name=name)
        )
    return Revoked(name)
