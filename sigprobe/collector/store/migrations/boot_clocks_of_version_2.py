"""The step to version 2: the clocks of boots, and what is stored already corrected by them.

Before it a row could only be corrected by its own offset or by an anchor within the same batch. It reads every stored
line once, a page at a time, in the migration's own transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Float,
    LargeBinary,
    MetaData,
    Row,
    Select,
    String,
    Table,
    Uuid,
    and_,
    bindparam,
    select,
    text,
    tuple_,
    update,
)

from sigprobe.collector.store.clocks import Anchor, anchor_of, read_clock
from sigprobe.collector.store.schema import UtcTime, upsert
from sigprobe.record.foreign_json import object_or_none

_PAGE: Final = 500

_metadata: Final = MetaData()
_results: Final = Table(
    "results",
    _metadata,
    Column("id", Uuid(as_uuid=False), primary_key=True),
    Column("receive_no", BigInteger),
    Column("probe_id", Uuid(as_uuid=False)),
    Column("started_at", UtcTime),
    Column("corrected_at", UtcTime),
    Column("boot_id", String(200)),
    Column("since_boot_s", Float),
    Column("carrier", String(200)),
    Column("line", LargeBinary),
)
_clocks: Final = Table(
    "boot_clocks",
    _metadata,
    Column("probe_id", Uuid(as_uuid=False), primary_key=True),
    Column("boot_id", String(200), primary_key=True),
    Column("carrier", String(200), primary_key=True),
    Column("error_s", Float),
    Column("booted_at_s", Float),
    Column("walked_no", BigInteger),
)
_KEY: Final = tuple_(_clocks.c.probe_id, _clocks.c.boot_id, _clocks.c.carrier)


def add_boot_clocks(connection: Connection, kinds: dict[str, str]) -> None:
    """Add columns and table, and correct the rows that are there; `kinds` names the engine's types."""
    if connection.dialect.name == "postgresql":
        # until the end of this transaction: on a large table an index takes longer than any query may
        connection.execute(text("SET LOCAL statement_timeout = 0"))
    for statement in (
        "ALTER TABLE results ADD COLUMN boot_id VARCHAR(200)",
        "ALTER TABLE results ADD COLUMN since_boot_s {float}",
        """CREATE TABLE boot_clocks (
            probe_id {uuid} NOT NULL, boot_id VARCHAR(200) NOT NULL, carrier VARCHAR(200) NOT NULL,
            error_s {float}, booted_at_s {float} NOT NULL, walked_no BIGINT NOT NULL, walk_to BIGINT,
            PRIMARY KEY (probe_id, boot_id, carrier))""",
        "CREATE INDEX boot_clocks_behind ON boot_clocks (walk_to) WHERE walk_to IS NOT NULL",
    ):
        connection.execute(text(statement.format(**kinds)))
    lines = select(
        *(_results.c[name] for name in ("receive_no", "id", "probe_id", "carrier", "started_at", "line"))
    ).select_from(_results)
    for page in _pages(connection, lines):
        _read(connection, page)
    connection.execute(
        text(
            "CREATE INDEX results_boot ON results (probe_id, boot_id, carrier, receive_no) "
            "WHERE since_boot_s IS NOT NULL"
        )
    )
    same = and_(*(_results.c[name] == _clocks.c[name] for name in ("probe_id", "boot_id", "carrier")))
    waiting = (
        select(_results.c.receive_no, _results.c.id, _results.c.since_boot_s, _clocks.c.error_s, _clocks.c.booted_at_s)
        .select_from(_results.join(_clocks, same))
        .where(_results.c.since_boot_s.is_not(None))
    )
    for page in _pages(connection, waiting):
        connection.execute(
            update(_results).where(_results.c.id == bindparam("row")).values(corrected_at=bindparam("when")),
            [{"row": row.id, "when": Anchor(row.error_s, row.booted_at_s).time_of(row.since_boot_s)} for row in page],
        )


def _pages(connection: Connection, query: Select[Any]) -> Iterator[Sequence[Row[Any]]]:
    last = 0
    while page := connection.execute(
        query.where(_results.c.receive_no > last).order_by(_results.c.receive_no).limit(_PAGE)
    ).all():
        yield page
        last = page[-1].receive_no


def _read(connection: Connection, page: Sequence[Row[Any]]) -> None:
    """Take from these lines what a batch gives since this version: what waits for an anchor, and the anchors."""
    waiting: list[dict[str, Any]] = []
    anchors: dict[tuple[str, str, str], Anchor] = {}
    for row in page:
        # a damaged line has its row, and no clock
        clock = read_clock(object_or_none(bytes(row.line)) or {}, row.started_at)
        if clock.boot_id is None or clock.since_boot_s is None:
            continue
        if clock.corrected_at is None:
            waiting.append({"row": row.id, "boot": clock.boot_id, "since": clock.since_boot_s})
            continue
        key = (row.probe_id, clock.boot_id, row.carrier)
        anchor = anchor_of(clock.corrected_at, clock.since_boot_s, clock.error_s)
        if key not in anchors or anchor.rank() < anchors[key].rank():
            anchors[key] = anchor
    if waiting:
        connection.execute(
            update(_results)
            .where(_results.c.id == bindparam("row"))
            .values(boot_id=bindparam("boot"), since_boot_s=bindparam("since")),
            waiting,
        )
    if anchors:
        _keep(connection, anchors)


def _keep(connection: Connection, anchors: dict[tuple[str, str, str], Anchor]) -> None:
    known = {
        (row.probe_id, row.boot_id, row.carrier): Anchor(row.error_s, row.booted_at_s)
        for row in connection.execute(select(_clocks).where(_KEY.in_(list(anchors))))
    }
    better = [
        {
            "probe_id": probe,
            "boot_id": boot,
            "carrier": carrier,
            "error_s": anchor.error_s,
            "booted_at_s": anchor.booted_at_s,
            "walked_no": 0,
        }
        for (probe, boot, carrier), anchor in anchors.items()
        if (probe, boot, carrier) not in known or anchor.rank() < known[probe, boot, carrier].rank()
    ]
    if better:
        statement = upsert(connection, _clocks)
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["probe_id", "boot_id", "carrier"],
                set_={name: statement.excluded[name] for name in ("error_s", "booted_at_s")},
            ),
            better,
        )
