"""Exchange the books of one process with those of the others, in PostgreSQL.

Each process writes rows of its own, always with absolute values: an exchange may be repeated, and heals what a crash
of the server emptied. What a client may still use is decided under a lock of that client alone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Engine, Row, delete, func, select, text

from sigprobe.collector.speedtest.limits import DAY_S
from sigprobe.collector.speedtest.upload_sessions import Series
from sigprobe.collector.store.schema import upsert
from sigprobe.collector.store.shared_state import speedtest_sessions, speedtest_use

STALE_S: Final = 20.0
"""A process that has not written for so long has ended, and its streams with it. It writes every quarter second."""

LEAST_SLICE: Final = 65_536

_LOCK_CLASS: Final = 0x51670003


@dataclass(frozen=True, slots=True)
class Ask:
    """A client's books in one process, under the name of their row, and what it wants beyond them.

    `held`: bytes that were granted here and are used or still needed. `place`: one stream more. `slice`: fewer bytes
    will do for now, so that other streams of the client have theirs.
    """

    client: str
    row: str
    held: int
    active: int
    wanted: int = 0
    unit: int = 1
    place: bool = False
    slice: bool = False


@dataclass(frozen=True, slots=True)
class Grant:
    """What a client got: bytes, whether a place was there, how old its day is, and whether its bytes are used up."""

    granted: int
    place: bool
    day_s: float
    used_up: bool


@dataclass(frozen=True, slots=True)
class Part:
    """What arrived of a session in this process until `taken_s`, by its monotonic clock. `open`: more may come."""

    session: str
    series: Series
    open: bool
    taken_s: float


@dataclass(frozen=True, slots=True)
class Offset:
    """How far the database's clock is ahead of our monotonic one, and how exactly and when that was measured."""

    seconds: float
    error_s: float
    at_s: float


_KEEP_S: Final = 60.0


def measure_offset(connection: Connection, known: Offset | None) -> tuple[Offset, datetime]:
    """Return the best measurement of the last minute, and the time of the database."""
    began = time.monotonic()
    now: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    ended = time.monotonic()
    found = Offset(now.timestamp() - (began + ended) / 2, (ended - began) / 2, ended)
    if known is not None and known.error_s < found.error_s and ended - known.at_s < _KEEP_S:
        found = known
    return found, now


def exchange(
    engine: Engine,
    process: str,
    asks: Sequence[Ask],
    parts: Sequence[Part],
    forgotten: Sequence[str],
    *,
    daily_bytes: int,
    most_places: int,
    offset: Offset | None,
) -> tuple[list[Grant], Offset]:
    """Write this process's books, and grant what is asked from what the others have left."""
    with engine.begin() as connection:
        offset, now = measure_offset(connection, offset)
        grants = _grant(connection, asks, now, daily_bytes, most_places) if asks else []
        _write_parts(connection, process, parts, forgotten, now, offset)
    return grants, offset


def _grant(
    connection: Connection, asks: Sequence[Ask], now: datetime, daily_bytes: int, most_places: int
) -> list[Grant]:
    clients = sorted({ask.client for ask in asks})
    # in one order for all processes, so that none waits for another in a circle
    connection.execute(
        text(
            "SELECT pg_advisory_xact_lock(:kind, h) FROM "
            "(SELECT DISTINCT hashtext(c) AS h FROM unnest(CAST(:clients AS text[])) AS c ORDER BY 1) AS hashes"
        ),
        {"kind": _LOCK_CLASS, "clients": clients},
    )
    rows: dict[str, list[Row[Any]]] = {client: [] for client in clients}
    for row in connection.execute(select(speedtest_use).where(speedtest_use.c.client.in_(clients))):
        rows[row.client].append(row)
    grants: list[Grant] = []
    own: dict[str, dict[str, Any]] = {}
    for ask in asks:
        today = [row for row in rows[ask.client] if (now - row.began_at).total_seconds() < DAY_S]
        others = [row for row in today if row.process != ask.row]
        began_at = min((row.began_at for row in today), default=now)
        mine = own.setdefault(
            ask.row,
            {
                "client": ask.client,
                "process": ask.row,
                "began_at": began_at,
                "granted": ask.held if today or not rows[ask.client] else 0,
                "active": ask.active,
                "seen_at": now,
            },
        )
        left = daily_bytes - mine["granted"] - sum(row.granted for row in others)
        alive = [row for row in others if (now - row.seen_at).total_seconds() < STALE_S]
        place = mine["active"] + sum(row.active for row in alive) < most_places
        wanted = min(ask.wanted, max(LEAST_SLICE, left // most_places)) if ask.slice else ask.wanted
        granted = max(0, min(wanted, left)) // ask.unit * ask.unit
        if ask.place and (not place or left <= 0):
            granted = 0
        elif ask.place:
            mine["active"] += 1
        mine["granted"] += granted
        grants.append(Grant(granted, place, (now - began_at).total_seconds(), left <= granted))
    if any((now - row.began_at).total_seconds() >= DAY_S for known in rows.values() for row in known):
        connection.execute(
            delete(speedtest_use).where(
                speedtest_use.c.client.in_(clients), speedtest_use.c.began_at <= now - timedelta(seconds=DAY_S)
            )
        )
    _write(connection, speedtest_use, [own[row] for row in sorted(own)])
    return grants


def _write_parts(
    connection: Connection,
    process: str,
    parts: Sequence[Part],
    forgotten: Sequence[str],
    now: datetime,
    offset: Offset,
) -> None:
    if forgotten:
        connection.execute(
            delete(speedtest_sessions).where(
                speedtest_sessions.c.process == process, speedtest_sessions.c.session.in_(list(forgotten))
            )
        )
    _write(
        connection,
        speedtest_sessions,
        [
            {
                "session": part.session,
                "process": process,
                "open": part.open,
                # surely not later than it was
                "taken_s": part.taken_s + offset.seconds - offset.error_s,
                "arrivals": part.series.moved(offset.seconds).to_json(),
                "seen_at": now,
            }
            for part in sorted(parts, key=lambda part: part.session)
        ],
    )


def _write(connection: Connection, table: Any, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    statement = upsert(connection, table)
    key = [column.name for column in table.primary_key]
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=key,
            set_={column.name: statement.excluded[column.name] for column in table.columns if column.name not in key},
        ),
        rows,
    )


@dataclass(frozen=True, slots=True)
class KnownPart:
    """What arrived of a session in a process. `known_s`: until when that is known, None where it is whole."""

    process: str
    series: Series
    known_s: float | None


def read_parts(engine: Engine, session: str) -> tuple[float, list[KnownPart]]:
    """Return the database's time, and a session's parts. What was written before that time is in them."""
    table = speedtest_sessions
    with engine.connect() as connection:
        now = connection.execute(select(func.clock_timestamp())).scalar_one()
        rows = connection.execute(
            select(table.c.process, table.c.arrivals, table.c.open, table.c.taken_s).where(table.c.session == session)
        ).all()
    return now.timestamp(), [
        KnownPart(row.process, Series.from_json(row.arrivals), row.taken_s if row.open else None) for row in rows
    ]
