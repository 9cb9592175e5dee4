"""`sigprobe collector`: run the server and its background work; the other verbs have files of their own."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sigprobe.commands import (
    collector_backup,
    collector_check,
    collector_compact,
    collector_distribute,
    collector_import,
    collector_maintenance,
    collector_merge,
    collector_migrate,
    collector_retention,
    collector_site,
    collector_tokens,
)
from sigprobe.commands.support import collector_database, sentences, terminal
from sigprobe.commands.support.collector_database import DatabaseOption
from sigprobe.commands.support.collector_database import open_database as _open
from sigprobe.commands.support.command_result import CommandError, CommandResult
from sigprobe.commands.support.exit_codes import FAILED
from sigprobe.commands.support.typer_shell import Command
from sigprobe.words.i18n import N_, _

if TYPE_CHECKING:
    import socket
    import ssl

    from sqlalchemy import Engine

    from sigprobe.collector.web.settings import Settings
    from sigprobe.collector.worker.loop import Worker

app = typer.Typer(
    help=N_("Run the collector that receives results, and manage its tokens."),
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(collector_tokens.app, name="token")
app.add_typer(collector_site.app, name="site")
collector_distribute.app.command("compact", cls=Command)(collector_compact.compact)
app.add_typer(collector_distribute.app, name="database")
app.add_typer(collector_maintenance.app, name="maintenance")
app.command("import", cls=Command)(collector_import.import_file)
app.command("backup", cls=Command)(collector_backup.backup)
app.command("restore", cls=Command)(collector_backup.restore)
app.command("merge", cls=Command)(collector_merge.merge)
app.command("check", cls=Command)(collector_check.check)
app.command("erase", cls=Command)(collector_check.erase)
app.command("migrate", cls=Command)(collector_migrate.migrate)
app.command("retention", cls=Command)(collector_retention.retention)


def _receiver(url: str | None) -> str | None:
    if url and not re.fullmatch(r"https?://[^\s/]+\S*", url):
        raise CommandError(_("--alerts-to must be a web address, for example http://127.0.0.1:9093/api/v2/alerts"))
    return url or None


AlertsOption = Annotated[
    str | None,
    typer.Option(
        "--alerts-to",
        metavar="URL",
        envvar="SIGPROBE_ALERTS_TO",
        show_envvar=False,
        help=N_("Send incidents here, in the format of Alertmanager's API v2."),
    ),
]


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
    alerts_to: AlertsOption = None,
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
    receiver = _receiver(alerts_to)
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
        alerts_to=receiver,
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
    alerts_to: str | None
    as_json: bool
    start_log: Callable[..., Callable[[], None]]

    def alone(self, engine: Engine) -> None:
        """Serve in this process."""
        from sigprobe.collector.app import create_app
        from sigprobe.collector.serve import run

        stop_log = self.start_log()
        self._warn()
        try:
            with self.bound, _working(engine, self.alerts_to, wanted=self.work) as worker:
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
                with self.bound, _working(engine, self.alerts_to, wanted=self.work) as worker:
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
def _working(engine: Engine, alerts_to: str | None, *, wanted: bool) -> Iterator[Worker | None]:
    """Run the worker in a thread of this process, if it is wanted."""
    from sigprobe.collector.worker.loop import Worker

    if not wanted:
        yield None
        return
    worker = Worker(engine, alerts_to=alerts_to)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()


@app.command("work", cls=Command)
def run_worker(
    *,
    database: DatabaseOption = None,
    alerts_to: AlertsOption = None,
    log_format: Annotated[LogFormat, typer.Option(help=N_("Form of the log on stderr."))] = LogFormat.TEXT,
    log_level: Annotated[LogLevel, typer.Option(help=N_("Least important events to log."))] = LogLevel.INFO,
) -> CommandResult:
    """Run the background work of a database: publishing, sums, corrections, incidents.

    Several may run; one leads, another takes over within ten seconds.
    """
    import signal
    import threading

    receiver = _receiver(alerts_to)
    engine = _open(database)
    from sigprobe.collector.web.log import start as start_log
    from sigprobe.collector.worker.loop import Worker

    worker = Worker(engine, alerts_to=receiver)

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
