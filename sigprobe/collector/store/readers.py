"""Open the database a second time for readers: connections of their own, read-only, with a time limit for each query.

Slow queries of many open pages so never take the connections that batches and health need. On SQLite the limit also
bounds how long a reader keeps the log of a WAL database from being written back.
"""

from __future__ import annotations

import time
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event

QUERY_S: Final = 5.0
"""A page's query may take so long. With its indexes each takes milliseconds."""

_STEPS: Final = 20_000
"""SQLite looks at the clock after so many steps of its machine: some milliseconds."""


def for_readers(engine: Engine) -> Engine:
    """Return an engine for the same database whose connections only read."""
    reader = create_engine(engine.url, pool=engine.pool.recreate(), module=engine.dialect.loaded_dbapi)
    if engine.dialect.name == "sqlite":
        event.listen(reader, "connect", _limit_sqlite)
        event.listen(reader, "begin", _begin_sqlite)
    else:
        event.listen(reader, "connect", _limit_postgres)
    event.listen(engine, "engine_disposed", lambda _engine: reader.dispose())
    return reader


def _limit_postgres(connection: Any, _record: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SET statement_timeout = {round(QUERY_S * 1000)}")
        cursor.execute("SET default_transaction_read_only = on")
    connection.commit()


def _limit_sqlite(connection: Any, record: Any) -> None:
    connection.execute("PRAGMA query_only = ON").close()
    record.info["until_s"] = float("inf")
    # what is not zero interrupts the query
    connection.set_progress_handler(lambda: int(time.monotonic() > record.info["until_s"]), _STEPS)


def _begin_sqlite(connection: Connection) -> None:
    connection.connection.info["until_s"] = time.monotonic() + QUERY_S
    connection.exec_driver_sql("BEGIN")
