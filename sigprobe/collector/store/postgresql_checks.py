"""Check what lies between us and PostgreSQL, and whether its COMMIT means what a receipt promises."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from typing import Any, Final

from sqlalchemy.exc import SQLAlchemyError

from sigprobe.record.messages import N_, MessageError

_LOOK_S: Final = 5.0


class DurabilityError(MessageError, SQLAlchemyError):
    """Raised when the database does not have the required durability settings."""


class PoolerError(MessageError):
    """Raised when a pooler gives each transaction another session of the server."""


def names_several_hosts(url: str) -> bool:
    """Return whether this address names more than one server: then a failover between them is meant."""
    from psycopg.conninfo import conninfo_to_dict

    parts = conninfo_to_dict(url)
    return "," in str(parts.get("host") or "") or "," in str(parts.get("hostaddr") or "")


def check_commit(cursor: Any, *, several_hosts: bool) -> None:
    """See to it that COMMIT waits for the disk, and where servers take over from each other, for a standby.

    Raises DurabilityError where that is the server's own setting. Patroni's `synchronous_mode_strict` never empties
    `synchronous_standby_names`: without a standby, writes wait. The plain synchronous mode empties it, and then goes on
    alone.
    """
    level = cursor.execute("SHOW synchronous_commit").fetchone()[0]
    if level == "off" or (several_hosts and level not in ("on", "remote_apply")):
        # a receipt must mean that the record survives the server's crash, whatever its default says
        cursor.execute("SET synchronous_commit = on")
    if cursor.execute("SHOW fsync").fetchone()[0] != "on":
        raise DurabilityError(N_("this PostgreSQL runs with fsync = off, so nothing that it confirms is safe"))
    if several_hosts and not cursor.execute("SHOW synchronous_standby_names").fetchone()[0].strip():
        raise DurabilityError(
            N_(
                "the address names several servers, but synchronous_standby_names is empty, so a failover could lose "
                "what was acknowledged; with Patroni set synchronous_mode and synchronous_mode_strict"
            )
        )


def refuse_transaction_pooling(connect: Callable[[], Any]) -> None:
    """Raise PoolerError when a pooler stands before the server and gives out a server session per transaction.

    Session settings, the lock of the leading worker and prepared statements need one server session per connection.
    A pooler is known by its own process number; its mode by the server session, which another connection gets while
    the first one is open and idle.
    """
    first = connect()
    try:
        first.autocommit = True
        backend = _pid(first)
        if backend == first.info.backend_pid:
            return
        second = connect()
        # with a pool of one session the second waits for as long as the first is open: that is session pooling
        looker = ThreadPoolExecutor(1)
        try:
            if looker.submit(_pid, second).result(_LOOK_S) == backend or _pid(first) != backend:
                raise PoolerError(
                    N_(
                        "The database is behind a pooler in transaction mode, which mixes up sessions. Set pool_mode = "
                        "session for this database, or connect to PostgreSQL directly."
                    )
                )
        except FutureTimeoutError:
            pass
        finally:
            with suppress(Exception):
                second.close()
            looker.shutdown(wait=False, cancel_futures=True)
    finally:
        first.close()


def _pid(connection: Any) -> int:
    # within a transaction, unless the connection is set to autocommit
    return int(connection.execute("SELECT pg_backend_pid()").fetchone()[0])
