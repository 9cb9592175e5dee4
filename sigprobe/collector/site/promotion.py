"""Promote a standby: it takes writes from then on, whatever becomes of the first site.

What the first site acknowledged and had not sent yet is missing here. It is not lost while the first site's disks are
whole: `merge` fetches it by id when that site returns. So a wrong decision to promote costs nothing but a merge.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from sigprobe.collector.store.database_causes import cause, technical_text
from sigprobe.collector.store.engine import StoreError, open_store, open_unchanged
from sigprobe.record.messages import N_, MessageError

_WAIT_S: Final = 120


class PromotionError(Exception):
    """Raised when the server did not take over.

    `code` is one of a few words. `detail` is data, or a cause that the screen puts into words. `technical` is what the
    driver said, for `-v`.
    """

    def __init__(self, code: str, detail: str | MessageError = "", technical: str = "") -> None:
        super().__init__(": ".join(part for part in (code, str(detail), technical) if part))
        self.code = code
        self.detail = detail
        self.technical = technical


@dataclass(frozen=True, slots=True)
class Promoted:
    """`last_commit_at`: the newest transaction of the first site that is here, by that site's clock."""

    was_standby: bool
    took_s: float
    last_commit_at: datetime | None
    behind_s: float | None
    """How long before the promotion that was."""


def promote(url: str) -> Promoted:
    """Promote the server behind this URL, and see that it stores. Raises PromotionError and StoreError.

    A server that takes writes already is left as it is.
    """
    began = time.monotonic()
    engine = open_unchanged(url)
    try:
        with engine.connect() as connection:
            connection.execute(text("SET statement_timeout = 0"))
            standby = bool(connection.scalar(text("SELECT pg_is_in_recovery()")))
            last, behind = _last_commit(connection) if standby else (None, None)
            if standby and not connection.scalar(text(f"SELECT pg_promote(true, {_WAIT_S})")):
                raise PromotionError("too_slow", str(_WAIT_S))
            names = str(connection.scalar(text("SHOW synchronous_standby_names"))).strip()
            if names and not connection.scalar(text("SELECT count(*) FROM pg_stat_replication")):
                # every commit would wait without end
                raise PromotionError("waits_for_standby", names)
    except SQLAlchemyError as error:
        raise PromotionError("failed", cause(error), technical_text(error)) from error
    finally:
        engine.dispose()
    _store(url)
    return Promoted(standby, time.monotonic() - began, last, behind)


def _last_commit(connection: Connection) -> tuple[datetime | None, float | None]:
    row = connection.execute(
        text(
            "SELECT pg_last_xact_replay_timestamp() AS last, "
            "extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) AS behind"
        )
    ).one()
    return row.last, None if row.behind is None else float(row.behind)


def _store(url: str) -> None:
    """Open the store as `serve` does, and commit a small write."""
    from sigprobe.collector.health.queries import write_beat

    engine = open_store(url)
    try:
        write_beat(engine)
    except SQLAlchemyError as error:
        raise StoreError(
            N_("The server takes writes, but stores nothing: {reason}."), technical_text(error), reason=cause(error)
        ) from error
    finally:
        engine.dispose()
