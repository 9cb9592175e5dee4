"""Correct the times of a whole boot, in whatever order its records arrive.

A record with its own offset is corrected on arrival. A record without one waits for an anchor of its boot (see
`store/clocks.py`). A backlog never holds an anchor: the offset is learnt from the receipt of the upload that sent it.
So the best anchor of each boot is kept. Rows of a batch are corrected when the batch is summed up; rows of earlier
batches are walked through afterwards, and move from one bucket of the rollups to another in the same transaction.

Anchors apply only to records of the same carrier. A record itself names its probe, so another token could otherwise
change any times with one line.

A walk is bounded: one transaction visits at most `ROOM` rows. The rest stays marked in `boot_clocks`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, select, tuple_, update

from sigprobe.collector.rollups.sums import Sums
from sigprobe.collector.store.chunks import chunks
from sigprobe.collector.store.clocks import Anchor
from sigprobe.collector.store.schema import SUMMED_ALONE, batches, boot_clocks, results, upsert
from sigprobe.collector.worker.contributions import COLUMNS, contribution

Boot = tuple[str, str, str]
"""(probe_id, boot_id, carrier)"""

Anchors = Mapping[Boot, Anchor]

ROOM: Final = 2_000
"""Rows that one transaction may visit."""

BOOT_COST: Final = 10
"""A boot visited costs a query of its own and counts as so many rows."""

_ALL: Final = 2**63 - 1
_CHUNK: Final = 250
_KEY: Final = tuple_(boot_clocks.c.probe_id, boot_clocks.c.boot_id, boot_clocks.c.carrier)


def learn(connection: Connection, told: Anchors) -> None:
    """Keep those anchors that are better than what is known, and mark their boots to be walked through."""
    told = {boot: anchor for boot, anchor in told.items() if anchor.is_plausible()}
    known = find(connection, sorted(told))
    better = {boot: anchor for boot, anchor in told.items() if boot not in known or anchor.rank() < known[boot].rank()}
    if better:
        _keep(connection, better)


def find(connection: Connection, boots: Sequence[Boot]) -> dict[Boot, Anchor]:
    """Return the best anchors of these boots, as far as there are any.

    Earlier versions stored implausible ones too. They are left out, so that any plausible one replaces them.
    """
    found: dict[Boot, Anchor] = {}
    for part in chunks(boots, _CHUNK):
        for row in connection.execute(select(boot_clocks).where(_KEY.in_(part))):
            anchor = Anchor(row.error_s, row.booted_at_s)
            if anchor.is_plausible():
                found[row.probe_id, row.boot_id, row.carrier] = anchor
    return found


def catch_up(connection: Connection, sums: Sums) -> bool:
    """Correct at most `ROOM` rows that came before their anchor; True when more is left.

    `sums` gets what moves: rows that are in the rollups already leave one bucket and enter another.
    """
    room = ROOM
    times: list[dict[str, Any]] = []
    walks: list[dict[str, Any]] = []
    for clock in _behind(connection):
        if room <= BOOT_COST:
            break
        room -= BOOT_COST
        page = connection.execute(_page(clock, room)).all()
        anchor = Anchor(clock.error_s, clock.booted_at_s)
        for row in page:
            when = anchor.time_of(row.since_boot_s)
            if when != row.corrected_at:
                times.append({"row": row.id, "when": when})
                if row.summed or row.batch_id == SUMMED_ALONE:
                    sums.add(contribution(row), -1)
                    sums.add(contribution(row, when))
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
    correct(connection, times)
    if walks:
        connection.execute(_MOVE, walks)
    return (
        connection.execute(select(boot_clocks.c.walk_to).where(boot_clocks.c.walk_to.is_not(None)).limit(1)).first()
        is not None
    )


def correct(connection: Connection, times: Sequence[dict[str, Any]]) -> None:
    """Write corrected times: `row` is an id, `when` its time."""
    if times:
        connection.execute(
            update(results).where(results.c.id == bindparam("row")).values(corrected_at=bindparam("when")), times
        )


def _page(clock: Row[Any], room: int) -> Any:
    return (
        select(*COLUMNS, results.c.receive_no, batches.c.summed)
        .select_from(results.outerjoin(batches, batches.c.id == results.c.batch_id))
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


def _keep(connection: Connection, anchors: Anchors) -> None:
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
                "walk_to": _ALL,
            }
            for (probe, boot, carrier), anchor in sorted(anchors.items())
        ],
    )
    # most boots have nothing to walk through, and a list of those would keep others waiting
    for part in chunks(sorted(anchors), _CHUNK):
        # two statements: where results lie on several machines, one cannot name both tables
        nothing = [boot for boot in part if not _has_rows(connection, boot)]
        if nothing:
            connection.execute(update(boot_clocks).where(_KEY.in_(nothing)).values(walk_to=None))


def _has_rows(connection: Connection, boot: Boot) -> bool:
    """Tell whether a boot has a result that can be corrected; reads one row of the index, however long the boot."""
    probe, name, carrier = boot
    wanted = select(results.c.id).where(
        results.c.probe_id == probe,
        results.c.boot_id == name,
        results.c.carrier == carrier,
        results.c.since_boot_s.is_not(None),
    )
    return connection.execute(wanted.limit(1)).first() is not None


def _behind(connection: Connection) -> Sequence[Row[Any]]:
    """As many boots with rows to walk through as there is room for."""
    most = ROOM // BOOT_COST
    return connection.execute(
        select(boot_clocks).where(boot_clocks.c.walk_to.is_not(None)).order_by(boot_clocks.c.walk_to).limit(most)
    ).all()
