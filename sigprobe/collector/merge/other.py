"""Read the results and tokens of another collector's database, of any version, without changing it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import Connection, Engine, Row, create_engine, func, inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from sigprobe.collector.store import line_packing
from sigprobe.collector.store.chunks import chunks
from sigprobe.collector.store.database_causes import cause
from sigprobe.collector.store.engine import BUSY_S, StoreError, open_unchanged, sqlite_driver
from sigprobe.collector.store.schema import results, tokens
from sigprobe.record.messages import N_, MessageError

_PAGE: Final = 2_000
_LINES: Final = 250
"""Lines read at once: one may have 64 KiB."""


class OtherError(MessageError):
    """Raised when the other database cannot be read; the message has the reason."""


@dataclass(frozen=True, slots=True)
class OtherResult:
    """A stored record, with the circumstances of its receipt."""

    id: str
    carrier: str
    received_at: datetime
    line: bytes


class Other:
    """The other collector. Results are read in the order of their ids. Every method may raise OtherError."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def check(self) -> None:
        """Raise OtherError unless this is a collector's database."""
        with self._reading() as connection:
            if not {"results", "tokens", "schema_version"} <= set(inspect(connection).get_table_names()):
                raise OtherError(N_("it is not a collector's database"))
            line_packing.learn(connection)

    def count(self) -> int:
        """Return how many results it has now."""
        with self._reading() as connection:
            return int(connection.scalar(select(func.count()).select_from(results)) or 0)

    def pages(self) -> Iterator[dict[str, bytes]]:
        """Yield ids and digests of all results."""
        last: str | None = None
        query = select(results.c.id, results.c.sha256).order_by(results.c.id).limit(_PAGE)
        while True:
            with self._reading() as connection:
                rows = connection.execute(query if last is None else query.where(results.c.id > last)).all()
            if not rows:
                return
            yield {row.id: bytes(row.sha256) for row in rows}
            last = rows[-1].id

    def read(self, names: Sequence[str]) -> Iterator[list[OtherResult]]:
        """Yield these results in portions."""
        columns = (results.c.id, results.c.carrier, results.c.received_at, results.c.line)
        for part in chunks(names, _LINES):
            with self._reading() as connection:
                rows = connection.execute(select(*columns).where(results.c.id.in_(part))).all()
            yield [OtherResult(row.id, row.carrier, row.received_at, bytes(row.line)) for row in rows]

    def tokens(self) -> Sequence[Row[Any]]:
        """Return its tokens, which it knows by their digests alone."""
        names = ("id", "name", "role", "hash", "created_at", "revoked_at", "last_used_at")
        with self._reading() as connection:
            return connection.execute(select(*(tokens.c[name] for name in names)).order_by(tokens.c.created_at)).all()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        try:
            with self._engine.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            reason = cause(error)
            raise OtherError(reason.message, **reason.values) from error


@contextmanager
def opened(where: str) -> Iterator[Other]:
    """Open another collector's database: a URL, or the name of an SQLite file. Raises OtherError."""
    engine = _engine(where)
    try:
        other = Other(engine)
        other.check()
        yield other
    finally:
        engine.dispose()


def _engine(where: str) -> Engine:
    if where.startswith("postgres"):
        try:
            return open_unchanged(where)
        except StoreError as error:
            raise OtherError(error.message, **error.values) from error
    name: str | None = where
    if where.startswith("sqlite:"):
        try:
            name = make_url(where).database
        except (ArgumentError, ValueError):
            name = None
    if name is not None and "://" in name:
        raise OtherError(N_("give it as sqlite:///FILE, as the name of a file, or as postgresql://USER@HOST/NAME"))
    if name and Path(name).is_dir():
        raise OtherError(N_("it is a directory"))
    if not name or not Path(name).is_file():
        raise OtherError(N_("there is no such file"))
    # read-only: not even the journal mode of another collector's file is changed
    address = f"file:{quote(str(Path(name).absolute()))}?mode=ro"
    driver = sqlite_driver()
    return create_engine(
        "sqlite+pysqlite://", module=driver, creator=lambda: driver.connect(address, uri=True, timeout=BUSY_S)
    )
