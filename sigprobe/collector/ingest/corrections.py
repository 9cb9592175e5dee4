"""Correct the times of a whole boot, in whatever order its records arrive.

A record with its own offset is corrected on arrival. A record without one waits for an anchor of its boot (see
`clocks.py`). A backlog never holds an anchor: the offset is learnt from the receipt of the upload that sent it. So the
best anchor of each boot is kept. Later records are corrected by it at once, and earlier rows are updated afterwards.

Anchors apply only to records of the same carrier. A record itself names its probe, so another token could otherwise
change any times with one line.

An update is bounded. One write visits at most `ROOM` rows, its own boots first. The rest stays marked in `boot_clocks`,
and later writes of any sender continue with it, the oldest first. Callers hold the lock on `receive_order`, so nothing
here runs twice at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy import Connection, Row, bindparam, exists, select, tuple_, update

from sigprobe.collector.store.clocks import Anchor, anchor_of
from sigprobe.collector.store.schema import boot_clocks, results, upsert

if TYPE_CHECKING:
    from sigprobe.collector.ingest.rows import NewResult

Boot = tuple[str, str]
"""(probe_id, boot_id)"""

Anchors = Mapping[Boot, Anchor]

_T = TypeVar("_T")

ROOM: Final = 2_000
"""Rows that one write may visit: about a quarter of what the largest batch costs anyway."""

BOOT_COST: Final = 10
"""A boot visited costs a query of its own and counts as so many rows."""

_CHUNK: Final = 250
_KEY: Final = tuple_(boot_clocks.c.probe_id, boot_clocks.c.boot_id)


def learn(connection: Connection, rows: Sequence[NewResult], carrier: str, first_no: int) -> tuple[Anchors, list[Boot]]:
    """Return the best anchors for the boots of `rows`, and those boots that now have a better one than before.

    Of `rows` only those count that are about to be stored under `first_no` and the numbers after it: a line whose id
    is already here either counted then or is refused now. Rows of before are marked to be walked through.
    """
    known = _known(connection, sorted({boot for row in rows if (boot := _boot(row)) is not None}), carrier)
    better = [
        (boot, anchor, row.id)
        for row in rows
        if (boot := _boot(row)) is not None
        and (anchor := _anchor(row)) is not None
        and (boot not in known or anchor.rank() < known[boot].rank())
    ]
    here = _stored(connection, [name for _, _, name in better])
    found: dict[Boot, Anchor] = {}
    for boot, anchor, name in better:
        if name not in here and (boot not in found or anchor.rank() < found[boot].rank()):
            found[boot] = anchor
    if found:
        _keep(connection, found, carrier, first_no - 1)
    return {**known, **found}, list(found)


def corrected_at(row: NewResult, anchors: Anchors) -> datetime | None:
    """Return when this record began: by its own offset, else by the best anchor of its boot, else not known."""
    boot = _boot(row)
    if row.corrected_at is not None or boot is None or boot not in anchors:
        return row.corrected_at
    assert row.since_boot_s is not None
    return anchors[boot].time_of(row.since_boot_s)


def catch_up(connection: Connection, carrier: str | None = None, boots: Sequence[Boot] = ()) -> bool:
    """Correct at most `ROOM` rows that came before their anchor, those of `boots` first; True when more is left."""
    room = ROOM
    times: list[dict[str, Any]] = []
    walks: list[dict[str, Any]] = []
    for clock in _behind(connection, carrier, boots):
        if room <= BOOT_COST:
            break
        room -= BOOT_COST
        page = connection.execute(
            select(results.c.id, results.c.receive_no, results.c.since_boot_s)
            .where(
                results.c.probe_id == clock.probe_id,
                results.c.boot_id == clock.boot_id,
                results.c.carrier == clock.carrier,
                results.c.since_boot_s.is_not(None),
                results.c.receive_no > clock.walked_no,
                results.c.receive_no <= clock.walk_to,
            )
            .order_by(results.c.receive_no)
            .limit(room)
        ).all()
        anchor = Anchor(clock.error_s, clock.booted_at_s)
        times += [{"row": row.id, "when": anchor.time_of(row.since_boot_s)} for row in page]
        whole = len(page) < room
        room -= len(page)
        walks.append(
            {
                "probe": clock.probe_id,
                "boot": clock.boot_id,
                "from": clock.carrier,
                "walked": clock.walk_to if whole else page[-1].receive_no,
                "to": None if whole else clock.walk_to,
            }
        )
    if times:
        connection.execute(
            update(results).where(results.c.id == bindparam("row")).values(corrected_at=bindparam("when")), times
        )
    if walks:
        connection.execute(_MOVE, walks)
    return (
        connection.execute(select(boot_clocks.c.walk_to).where(boot_clocks.c.walk_to.is_not(None)).limit(1)).first()
        is not None
    )


_MOVE: Final = (
    update(boot_clocks)
    .where(
        boot_clocks.c.probe_id == bindparam("probe"),
        boot_clocks.c.boot_id == bindparam("boot"),
        boot_clocks.c.carrier == bindparam("from"),
    )
    .values(walked_no=bindparam("walked"), walk_to=bindparam("to"))
)


def _boot(row: NewResult) -> Boot | None:
    """Return the boot through which this row can tell or learn the time."""
    return None if row.boot_id is None or row.since_boot_s is None else (row.probe_id, row.boot_id)


def _anchor(row: NewResult) -> Anchor | None:
    if row.corrected_at is None or row.since_boot_s is None:
        return None
    return anchor_of(row.corrected_at, row.since_boot_s, row.clock_error_s)


def _known(connection: Connection, boots: Sequence[Boot], carrier: str) -> dict[Boot, Anchor]:
    found: dict[Boot, Anchor] = {}
    for part in _chunks(boots):
        rows = connection.execute(
            select(
                boot_clocks.c.probe_id, boot_clocks.c.boot_id, boot_clocks.c.error_s, boot_clocks.c.booted_at_s
            ).where(_KEY.in_(part), boot_clocks.c.carrier == carrier)
        )
        found.update(((row.probe_id, row.boot_id), Anchor(row.error_s, row.booted_at_s)) for row in rows)
    return found


def _stored(connection: Connection, names: Sequence[str]) -> frozenset[str]:
    found: set[str] = set()
    for part in _chunks(names):
        found.update(connection.execute(select(results.c.id).where(results.c.id.in_(part))).scalars())
    return frozenset(found)


def _keep(connection: Connection, anchors: Anchors, carrier: str, last_no: int) -> None:
    statement = upsert(connection, boot_clocks)
    told = ("error_s", "booted_at_s", "walked_no", "walk_to")
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["probe_id", "boot_id", "carrier"], set_={name: statement.excluded[name] for name in told}
        ),
        [
            {
                "probe_id": probe,
                "boot_id": boot,
                "carrier": carrier,
                "error_s": anchor.error_s,
                "booted_at_s": anchor.booted_at_s,
                "walked_no": 0,
                "walk_to": last_no,
            }
            for (probe, boot), anchor in sorted(anchors.items())
        ],
    )
    # most boots have nothing to walk through, and a list of those would keep others waiting
    waiting = exists().where(
        results.c.probe_id == boot_clocks.c.probe_id,
        results.c.boot_id == boot_clocks.c.boot_id,
        results.c.carrier == boot_clocks.c.carrier,
        results.c.since_boot_s.is_not(None),
    )
    for part in _chunks(sorted(anchors)):
        connection.execute(
            update(boot_clocks).where(_KEY.in_(part), boot_clocks.c.carrier == carrier, ~waiting).values(walk_to=None)
        )


def _behind(connection: Connection, carrier: str | None, boots: Sequence[Boot]) -> list[Row[Any]]:
    """As many boots with rows to walk through as there is room for, those of `boots` first, each once."""
    most = ROOM // BOOT_COST
    found: list[Row[Any]] = []
    for part in _chunks(boots[:most]):
        found += connection.execute(
            select(boot_clocks).where(
                _KEY.in_(part), boot_clocks.c.carrier == carrier, boot_clocks.c.walk_to.is_not(None)
            )
        ).all()
    others = select(boot_clocks).where(boot_clocks.c.walk_to.is_not(None)).order_by(boot_clocks.c.walk_to).limit(most)
    own = {(row.probe_id, row.boot_id, row.carrier) for row in found}
    return found + [row for row in connection.execute(others) if (row.probe_id, row.boot_id, row.carrier) not in own]


def _chunks(items: Sequence[_T]) -> Iterator[list[_T]]:
    rest = iter(items)
    while part := list(islice(rest, _CHUNK)):
        yield part
