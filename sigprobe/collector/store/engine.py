"""Open the database, verify its durability settings, and migrate its schema.

SQLite runs in WAL mode with `synchronous=FULL`, so that readers never hold up writers, where a fixed SQLite is there:
versions before 3.51.3 can lose commits when two processes write and checkpoint at once in WAL mode, and `serve`,
`token` and `import` are such processes. The package pysqlite3 carries a fixed one. Without it, and where WAL's shared
memory is not available, it runs with `journal_mode=TRUNCATE` and `synchronous=EXTRA`: a rollback journal has no
checkpoint, and EXTRA also syncs the directory, without which a power cut may undo a commit.
"""

from __future__ import annotations

import functools
import os
import re
import shlex
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from sigprobe.collector.store import epochs, line_packing
from sigprobe.collector.store.database_causes import cause, technical_text
from sigprobe.collector.store.migrations import NewerSchemaError, migrate
from sigprobe.collector.store.postgresql_checks import (
    DurabilityError,
    PoolerError,
    check_commit,
    names_several_hosts,
    refuse_transaction_pooling,
)
from sigprobe.record.messages import N_, MessageError

BUSY_S: Final = 30.0
_LEVELS: Final = {"FULL": 2, "EXTRA": 3}  # what `PRAGMA synchronous` reads back
_WAL_IS_SAFE: Final = (3, 51, 3)
_POSTGRES: Final = re.compile(r"^postgres(?:ql)?(?:\+psycopg)?://", re.IGNORECASE)


_UNREADABLE_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})|%00")
_NOT_IN_A_PASSWORD: Final = re.compile(r"[@/\s\x00-\x1f\x7f]")


class StoreError(MessageError):
    """Raised when the database is unusable; the message has the reason and the remedy, without any password.

    A value that is an exception is told by its cause. `technical` is what the driver said, for `-v`.
    """

    def __init__(self, message: str, technical: str = "", **values: object) -> None:
        super().__init__(message, **values)
        self.technical = technical


class AddressError(StoreError):
    """The database's URL cannot be read without guessing where its password ends. Nothing of it is in the message."""

    def __init__(self) -> None:
        super().__init__(
            N_(
                "The database address cannot be read. In user name and password every special character must be "
                "percent-encoded ({examples}): postgresql://USER:PASSWORD@HOST/NAME"
            ),
            examples="@ = %40, % = %25, / = %2F",
        )


def open_store(url: str) -> Engine:
    """Open or create the database at `sqlite:///FILE` or `postgresql://…` and migrate it.

    A `postgresql://` URL goes to libpq as it is, so several hosts, `sslmode` and `target_session_attrs` all work.
    Raises StoreError when it cannot be reached, is damaged, is not ours, or is of a newer version, and AddressError
    for an address that libpq would take apart in the middle of a password, or repeat.
    """
    engine = open_unchanged(url)
    try:
        with _told(engine):
            if engine.dialect.name == "postgresql":
                refuse_transaction_pooling(_connector(url))
            migrate(engine)
            _know(engine)
    except NewerSchemaError as error:
        engine.dispose()
        raise StoreError(
            N_("The database was written by a newer sigprobe. Update sigprobe, or give another --database."), str(error)
        ) from error
    except PoolerError as error:
        engine.dispose()
        raise StoreError(error.message) from error
    return engine


def open_again(url: str) -> Engine:
    """Open a database that `open_store` has opened before: it may be of a newer version by now.

    A process of several that is started again while a newer program migrates the database goes on with the older one.
    Raises StoreError.
    """
    engine = open_unchanged(url)
    with _told(engine):
        _know(engine)
    return engine


@contextmanager
def _told(engine: Engine) -> Iterator[None]:
    """Close the engine and raise StoreError with the cause if the database fails inside the block."""
    try:
        yield
    except (SQLAlchemyError, _driver_error(engine)) as error:
        engine.dispose()
        raise StoreError(
            N_("The database cannot be used: {reason}."), technical_text(error), reason=cause(error)
        ) from error


def _know(engine: Engine) -> None:
    """Learn of a database what this process must know of it: which copy it is, and how its lines are compressed."""
    epochs.check(engine)
    if engine.dialect.name == "postgresql":
        with engine.connect() as connection:
            line_packing.learn(connection)


def open_unchanged(url: str) -> Engine:
    """Return an engine for this database without a look at its schema: for copies of whatever version is there.

    An SQLite file that is missing is created, empty; nothing else is changed. Raises StoreError for an unusable URL.
    """
    if _POSTGRES.match(url):
        return _postgres(url)
    if url.startswith("sqlite:"):
        return _sqlite(url)
    raise StoreError(N_("Give the database as sqlite:///FILE or postgresql://USER@HOST/NAME."))


def _sqlite(url: str) -> Engine:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        parsed = None
    # not from the error: it repeats what somebody may have meant as a server's address, password and all
    if parsed is None or parsed.host is not None or parsed.username is not None or parsed.password is not None:
        raise StoreError(N_("Give the database as sqlite:///FILE."))
    if not parsed.database or parsed.database == ":memory:":
        raise StoreError(N_("Give the database as a file: sqlite:///FILE."))
    _create_private(Path(parsed.database))
    engine = create_engine(
        parsed.set(drivername="sqlite+pysqlite"), module=sqlite_driver(), connect_args={"timeout": BUSY_S}
    )
    event.listen(engine, "connect", _guard_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def file_of(url: str) -> Path | None:
    """Return the file of an SQLite address; None for a server, and for an address that cannot be read."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return None
    is_file = url.startswith("sqlite:") and parsed.host is None and parsed.database not in (None, "", ":memory:")
    return Path(str(parsed.database)) if is_file else None


def _create_private(path: Path) -> None:
    """Make the file readable by its owner alone: it holds positions and token hashes.

    Its directory is not made: a mistyped path would silently give an empty database.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except FileNotFoundError as error:
        raise StoreError(
            N_("There is no directory {path} for the database. Correct --database, or run: {command}"),
            str(error),
            path=path.absolute().parent,
            command=shlex.join(["mkdir", "-p", str(path.absolute().parent)]),
        ) from error
    except OSError as error:
        raise StoreError(
            N_("The database {path} cannot be opened: {reason}."), str(error), path=path, reason=error
        ) from error


def sqlite_driver() -> Any:
    """Return the SQLite driver with the newest SQLite."""
    try:
        from pysqlite3 import dbapi2 as fixed
    except ImportError:
        return sqlite3
    return fixed if fixed.sqlite_version_info >= sqlite3.sqlite_version_info else sqlite3


def _guard_sqlite(connection: Any, _record: Any) -> None:
    # autocommit off in the driver: `_begin_sqlite` alone decides how a transaction begins
    connection.isolation_level = None
    cursor = connection.cursor()
    try:
        mode = "delete"
        if sqlite_driver().sqlite_version_info >= _WAL_IS_SAFE:
            mode = str(cursor.execute("PRAGMA journal_mode=WAL").fetchone()[0]).lower()
        wanted, level = ("wal", "FULL") if mode == "wal" else ("truncate", "EXTRA")
        if mode != "wal":
            mode = str(cursor.execute("PRAGMA journal_mode=TRUNCATE").fetchone()[0]).lower()
        cursor.execute(f"PRAGMA synchronous={level}")
        sync = cursor.execute("PRAGMA synchronous").fetchone()[0]
    finally:
        cursor.close()
    if mode != wanted or sync != _LEVELS[level]:
        raise DurabilityError(
            N_("SQLite refused its durable mode (journal_mode={mode}, synchronous={sync})"), mode=mode, sync=sync
        )


def _begin_sqlite(connection: Connection) -> None:
    # a reader that turned writer half-way could fail without waiting, so writers say so from the start
    write = connection.get_execution_options().get("write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


_turns: Final[WeakKeyDictionary[Engine, threading.Lock]] = WeakKeyDictionary()


def write_turn(engine: Engine) -> AbstractContextManager[object]:
    """Return what the writers of one process hold while they write, so that they take turns.

    SQLite lets a second writer wait by sleeping, for up to a tenth of a second at a time. PostgreSQL needs none.
    """
    if engine.dialect.name != "sqlite":
        return nullcontext()
    return _turns.setdefault(engine, threading.Lock())


def _postgres(url: str) -> Engine:
    try:
        import psycopg  # noqa: F401 - looked for before an address is
    except ImportError as error:
        raise StoreError(
            N_("PostgreSQL needs the package psycopg. Run: pip install 'sigprobe[collector]'"), str(error)
        ) from error
    address = _POSTGRES.sub("postgresql://", url)
    if not _is_clear(address):
        raise AddressError
    engine = create_engine(
        "postgresql+psycopg://",
        creator=_connector(url),
        pool_pre_ping=True,
        pool_size=8,
        max_overflow=8,
        pool_timeout=10,
    )
    event.listen(engine, "connect", functools.partial(_guard_postgres, several_hosts=names_several_hosts(address)))
    return engine


def _connector(url: str) -> Callable[[], Any]:
    """Return a function that opens one connection of the driver."""
    import psycopg

    return functools.partial(
        psycopg.connect,
        _POSTGRES.sub("postgresql://", url),
        connect_timeout=5,
        application_name="sigprobe",
        # a host that vanishes sends nothing more, and the kernel would wait for a quarter of an hour
        tcp_user_timeout=15_000,
        keepalives_idle=5,
        keepalives_interval=3,
        keepalives_count=3,
    )


def _driver_error(engine: Engine) -> type[Exception]:
    """Return the base of the driver's own errors, for what is done without SQLAlchemy."""
    found: type[Exception] = engine.dialect.loaded_dbapi.Error
    return found


def _is_clear(url: str) -> bool:
    """Return whether libpq reads a `postgresql://` URL as it was meant, so that no message of its can hold a password.

    It ends a password at the first `@` or `/` and then takes the rest for a host, a port or a name, which errors
    repeat; and what it cannot decode it repeats too.
    """
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    before = url.removeprefix("postgresql://").rpartition("@")[0]
    if ":" in before and _NOT_IN_A_PASSWORD.search(before):
        return False
    if _UNREADABLE_PERCENT.search(url):
        return False
    try:
        found = conninfo_to_dict(url)
    except (ProgrammingError, UnicodeDecodeError):  # the second where the bytes behind % are no text
        return False
    # where the host was forgotten the password reads as a port
    ports = str(found.get("port") or "").split(",")
    return all(port == "" or port.isdecimal() for port in ports)


def _guard_postgres(connection: Any, _record: Any, *, several_hosts: bool) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET TIME ZONE 'UTC'")
        cursor.execute("SET lock_timeout = '10s'")
        cursor.execute("SET statement_timeout = '15s'")
        cursor.execute("SET idle_in_transaction_session_timeout = '60s'")
        check_commit(cursor, several_hosts=several_hosts)
    connection.commit()
