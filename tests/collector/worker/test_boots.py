"""The times of a boot are corrected whatever came first: the backlog, or the record that knows the offset."""

from __future__ import annotations

import json
import math
import random
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, event, func, select, text, update

from sigprobe.collector import store
from sigprobe.collector.ingest import file_import
from sigprobe.collector.ingest import queries as ingest_queries
from sigprobe.collector.ingest.records import sort_lines
from sigprobe.collector.store import engine as engine_module
from sigprobe.collector.store import epochs, migrations
from sigprobe.collector.store.migrations import boot_clocks_of_version_2
from sigprobe.collector.store.schema import batches, boot_clocks, results
from sigprobe.collector.worker import corrections, publishing, summing
from sigprobe.protocol import transfer_file
from sigprobe.record.result import Clock, Result, format_time, parse_time
from tests.support.collector_client import Collector, make_result, settle
from tests.support.laptops import whole

NOW = datetime(2029, 2, 14, 7, 6, tzinfo=UTC)
BOOTED = datetime(2029, 2, 14, 6, 0, tzinfo=UTC)
WRONG = datetime(2009, 1, 1, tzinfo=UTC)
"""What the wall clock showed at that boot."""


def measured(
    since_boot_s: float | None,
    *,
    error_ms: float | None = None,
    off_ms: float = 0.0,
    boot: str | None = "boot-1",
    known: bool | None = None,
    **changes: str,
) -> Result:
    """A record of a laptop whose clock is twenty years slow; it knows that once `error_ms` is given (or `known`)."""
    began = WRONG + timedelta(seconds=since_boot_s or 0)
    offset = (BOOTED - WRONG).total_seconds() * 1000 + off_ms
    knows = error_ms is not None if known is None else known
    made = make_result(1, boot_id=boot, started_at=format_time(began), **changes)
    nanoseconds = None if since_boot_s is None else round(since_boot_s * 1e9)
    return replace(
        made, tags=replace(made.tags, clock=Clock(nanoseconds, None, None, offset if knows else None, error_ms))
    )


def after(seconds: float) -> datetime:
    return BOOTED + timedelta(seconds=seconds)


def add(engine: Engine, *made: Result, carrier: str = "laptop-1", work: bool = True) -> list[str]:
    rows = sort_lines(result.to_line() for result in made).rows
    stored = ingest_queries.add_results(engine, rows, carrier=carrier, token_id=None, now=NOW)
    if work:
        settle(engine)
    return [stored[row.id] for row in rows]


def take(engine: Engine, folder: Path, *made: Result, carrier: str = "laptop-1") -> None:
    path = folder / f"{uuid.uuid4()}.ndjson.gz"
    path.write_bytes(whole([result.to_line() for result in made]))
    with transfer_file.opened(path) as file:
        file_import.import_results(engine, file, file_import.verify(file), carrier=carrier, collector="centre")
    settle(engine)


def times(engine: Engine, *made: Result) -> list[datetime | None]:
    with engine.connect() as connection:
        found = {row.id: row.corrected_at for row in connection.execute(select(results.c.id, results.c.corrected_at))}
    return [found[result.id] for result in made]


def left(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.execute(
            select(func.count()).select_from(boot_clocks).where(boot_clocks.c.walk_to.is_not(None))
        ).scalar_one()


def test_a_backlog_is_corrected_by_what_comes_after_it(engine: Engine) -> None:
    """The field's case: two tests offline, sent; the offset learnt from that very upload comes with the third."""
    first, second, third = measured(60), measured(120), measured(600, error_ms=80)
    add(engine, first, second)
    assert times(engine, first, second) == [None, None]
    add(engine, third)
    assert times(engine, first, second, third) == [after(60), after(120), after(600)]
    with engine.connect() as connection:
        stored = connection.execute(
            select(results.c.started_at, results.c.received_at, results.c.line).order_by(results.c.receive_no)
        ).all()
    sent = (first, second, third)
    assert {row.started_at for row in stored} == {parse_time(result.started_at) for result in sent}
    assert {bytes(row.line) for row in stored} == {result.to_line() for result in sent}
    assert {row.received_at for row in stored} == {NOW}


def test_what_comes_late_is_corrected_by_what_was_known(engine: Engine) -> None:
    """Urgent records go first, the older ones come in batches of their own."""
    known, late, other = measured(600, error_ms=80), measured(60), measured(60, boot="boot-2")
    add(engine, known)
    add(engine, late, other)
    assert times(engine, late, other) == [after(60), None]


def test_the_best_anchor_counts(engine: Engine) -> None:
    """A surer anchor moves what a worse one had corrected, and a worse one moves nothing; own offsets stay."""
    early, own = measured(60), measured(70, error_ms=900, off_ms=700)
    add(engine, early, own)
    assert times(engine, early) == [after(60.7)]
    add(engine, measured(600, error_ms=80, off_ms=50))
    assert times(engine, early, own) == [after(60.05), after(70.7)]
    add(engine, measured(700, error_ms=81, off_ms=9), measured(800, known=True, off_ms=8))
    assert times(engine, early, own) == [after(60.05), after(70.7)]
    assert left(engine) == 0


def test_another_carriers_anchor_counts_for_nothing(engine: Engine) -> None:
    """A record says itself whose it is: another token sets no time of what this one sent, nor lends it any."""
    early, late, theirs = measured(60), measured(90), measured(30)
    add(engine, early)
    add(engine, theirs, measured(600, error_ms=0, off_ms=-3.6e6), carrier="laptop-2")
    add(engine, late)
    assert times(engine, early, late, theirs) == [None, None, after(30 - 3600)]
    add(engine, measured(600, error_ms=80))
    assert times(engine, early, late, theirs) == [after(60), after(90), after(30 - 3600)]
    other = measured(60, probe_id=str(uuid.uuid4()))
    add(engine, other)
    assert times(engine, other) == [None], "a boot of the same name, but another probe's"


def test_a_refused_line_tells_no_time(engine: Engine) -> None:
    """Other bytes under a stored id are a conflict: what they say of the clock does not count either."""
    early, stored = measured(60), measured(600)
    add(engine, early, stored)
    forged = replace(measured(600, error_ms=0, off_ms=5e6), id=stored.id)
    assert add(engine, forged) == ["conflict"]
    assert times(engine, early, stored) == [None, None]
    assert add(engine, stored, measured(601, error_ms=3)) == ["duplicate", "accepted"]
    assert times(engine, early) == [after(60)]


def test_batches_and_files_share_what_they_know(engine: Engine, tmp_path: Path) -> None:
    """A backlog on a stick and an upload of the same laptop, either way round."""
    first, second = measured(60), measured(60, boot="boot-2")
    take(engine, tmp_path, first)
    add(engine, measured(600, error_ms=80), second)
    take(engine, tmp_path, measured(600, error_ms=80, boot="boot-2"))
    assert times(engine, first, second) == [after(60), after(60)]


def test_over_http_and_in_two_batches(collector: Collector) -> None:
    """As a probe sends them: the receipt's batch, then the batch that knows."""
    early = measured(60)
    collector.send(early)
    collector.send(measured(600, error_ms=80))
    assert times(collector.engine, early) == [after(60)]
    collector.send(early, measured(90))
    assert times(collector.engine, early) == [after(60)]


def test_a_clock_of_2087_with_offset_0_moves_no_other_record(engine: Engine) -> None:
    """Neither what came before it, by the walk, nor what came with it or later; the boot's true anchor corrects it."""
    early, beside, late = measured(60), measured(90), measured(120)
    wrong = measured(30)
    clock = Clock(30_000_000_000, None, None, 0.0, 0.0)
    wrong = replace(wrong, started_at="2087-07-04T07:00:00.000Z", tags=replace(wrong.tags, clock=clock))
    for part in ([early], [wrong, beside], [late]):
        add(engine, *part)
    assert times(engine, early, wrong, beside, late) == [None] * 4
    add(engine, measured(600, error_ms=80))
    assert times(engine, early, wrong, beside, late) == [after(60), after(30), after(90), after(120)]


def test_implausible_anchors_of_an_earlier_version_count_for_nothing(engine: Engine) -> None:
    """An anchor of 2087 that is stored already, or lies in a batch, moves no row; a plausible one replaces it."""
    booted_at_s = datetime(2087, 7, 4, tzinfo=UTC).timestamp()
    early, late = measured(60), measured(90)
    add(engine, early)
    with engine.execution_options(write=True).begin() as connection:
        key = {"probe_id": early.probe_id, "boot_id": "boot-1", "carrier": "laptop-1"}
        connection.execute(
            boot_clocks.insert().values(**key, error_s=0.0, booted_at_s=booted_at_s, walked_no=0, walk_to=2**63 - 1)
        )
    add(engine, late, work=False)
    told = json.dumps([[early.probe_id, "boot-1", 0.0, booted_at_s]])
    with engine.execution_options(write=True).begin() as connection:
        connection.execute(update(batches).where(~batches.c.summed).values(anchors=told))
    settle(engine)
    assert times(engine, early, late) == [None, None]
    assert left(engine) == 0
    add(engine, measured(600, error_ms=80))
    assert times(engine, early, late) == [after(60), after(90)]


# --- the bound


def step(engine: Engine, *steps: Callable[[Connection], object]) -> None:
    """Do single steps of the worker."""
    with engine.connect().execution_options(write=True) as connection:
        publishing.publish(connection)
        for one in steps:
            one(connection)


def test_one_step_corrects_a_bounded_number(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound rows keep what they had; the next steps go on."""
    monkeypatch.setattr(corrections, "ROOM", 30)
    backlog = [measured(n) for n in range(50)]
    add(engine, *backlog)
    add(engine, measured(600, error_ms=80), work=False)
    step(engine, summing.add_batches, summing.walk)
    assert sum(t is not None for t in times(engine, *backlog)) == 20
    step(engine, summing.walk)
    assert sum(t is not None for t in times(engine, *backlog)) == 40
    assert left(engine) == 1
    step(engine, summing.walk)
    assert left(engine) == 0
    assert times(engine, *backlog) == [after(n) for n in range(50)]


def test_a_crowd_of_boots_is_bounded_too(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A boot costs room by itself, and all have their turn."""
    monkeypatch.setattr(corrections, "ROOM", 100)
    crowd = [measured(n, boot=f"boot-{n}") for n in range(40)]
    add(engine, *crowd, carrier="laptop-2")
    anchors = [measured(600, error_ms=80, boot=f"boot-{n}") for n in range(40)]
    add(engine, *anchors, carrier="laptop-2", work=False)
    step(engine, summing.add_batches, summing.walk)
    assert sum(t is not None for t in times(engine, *crowd)) == 9
    for _ in range(9):
        step(engine, summing.walk)
    assert left(engine) == 0
    assert times(engine, *crowd) == [after(n) for n in range(40)]


def test_sqlite_finds_the_rows_by_their_index(tmp_path: Path) -> None:
    """What a step asks of boots and of rows that wait is answered by an index and sorts nothing."""
    engine = store.open_store(f"sqlite:///{tmp_path}/s.db")
    said: list[tuple[str, Sequence[object]]] = []

    def note(_connection: object, _cursor: object, statement: str, values: Sequence[object], *_: object) -> None:
        if statement.startswith(("SELECT", "UPDATE")):
            said.append((statement, values))

    add(engine, measured(60))
    event.listen(engine, "before_cursor_execute", note)
    add(engine, measured(600, error_ms=80))
    event.remove(engine, "before_cursor_execute", note)
    plans = []
    with engine.connect() as connection:
        for statement, values in said:
            one = values[0] if isinstance(values, list) else values
            plans += [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", one)]
    engine.dispose()
    assert any("results USING INDEX results_boot (probe_id=? AND boot_id=? AND carrier=?" in plan for plan in plans)
    assert any("boot_clocks_behind" in plan for plan in plans)
    by_index = ("boot_clocks_behind", "results_unsummed", "batches_unsummed")
    scans = [plan for plan in plans if "SCAN" in plan and not any(name in plan for name in by_index)]
    assert not [plan for plan in scans if any(name in plan for name in ("boot_clocks", "results", "batches"))], plans
    assert not [plan for plan in plans if "TEMP B-TREE" in plan and "LAST" not in plan], plans


# --- any order


@dataclass(frozen=True)
class Sent:
    """A record and who sends it."""

    result: Result
    carrier: str


def expected(sent: Sequence[Sent]) -> dict[str, datetime | None]:
    """What the whole set says, told anew: own offset, else the surest anchor of probe, boot and carrier."""
    found: dict[str, datetime | None] = {}
    for one in sent:
        clock, began = one.result.tags.clock, parse_time(one.result.started_at)
        assert clock is not None
        assert began is not None
        if clock.offset_est_ms is not None:
            found[one.result.id] = began + timedelta(milliseconds=clock.offset_est_ms)
            continue
        told = [
            (
                math.inf if c.offset_err_ms is None else c.offset_err_ms,
                began.timestamp() + c.offset_est_ms / 1000 - c.boottime_ns / 1e9,
            )
            for other in sent
            if (c := other.result.tags.clock) is not None
            and (began := parse_time(other.result.started_at)) is not None
            and c.offset_est_ms is not None
            and c.boottime_ns is not None
            and one.result.boot_id is not None
            and (other.carrier, other.result.probe_id, other.result.boot_id)
            == (one.carrier, one.result.probe_id, one.result.boot_id)
        ]
        found[one.result.id] = (
            datetime.fromtimestamp(min(told)[1] + clock.boottime_ns / 1e9, UTC)
            if told and clock.boottime_ns is not None
            else None
        )
    return found


PROBES = ("0190a5c0-0000-4000-8000-0000000000b1", "0190a5c0-0000-4000-8000-0000000000b2")

RECORDS = st.lists(
    st.builds(
        lambda since, error, off, known, boot, probe, carrier: (since, error, off, known, boot, probe, carrier),
        st.none() | st.integers(0, 5000),
        st.none() | st.sampled_from([0.0, 50.0, 80.0]),
        st.integers(-9000, 9000),
        st.booleans(),
        st.none() | st.sampled_from(["boot-1", "boot-2"]),
        st.sampled_from(PROBES),
        st.sampled_from(["laptop-1", "laptop-2"]),
    ),
    min_size=2,
    max_size=25,
)


def sent_in_some_order(engine: Engine, sent: Sequence[Sent], order: random.Random) -> None:
    """In batches of any size and order, some lines twice."""
    waiting = [*sent, *order.sample(list(sent), len(sent) // 3)]
    order.shuffle(waiting)
    while waiting:
        carrier = waiting[0].carrier
        places = [n for n, one in enumerate(waiting[: order.randint(1, 8)]) if one.carrier == carrier]
        part = [waiting.pop(n) for n in reversed(places)]
        add(engine, *(one.result for one in part), carrier=carrier, work=order.random() < 0.5)
    settle(engine)


@contextmanager
def emptied(engine: Engine) -> Iterator[None]:
    yield
    with engine.execution_options(write=True).begin() as connection:
        for name in ("results", "boot_clocks", "tallies", "batches"):
            connection.execute(text(f"DELETE FROM {name}"))


def check_any_order(engine: Engine, made: Sequence[tuple[object, ...]], seed: int) -> None:
    sent = [
        Sent(
            measured(since, error_ms=error, off_ms=off, known=known, boot=boot, probe_id=probe),  # type: ignore[arg-type]
            str(carrier),
        )
        for since, error, off, known, boot, probe, carrier in made
    ]
    wanted = expected(sent)
    with emptied(engine):
        sent_in_some_order(engine, sent, random.Random(seed))
        for one, got in zip(sent, times(engine, *(one.result for one in sent)), strict=True):
            want = wanted[one.result.id]
            assert (got is None) == (want is None), one
            if got is not None and want is not None:
                assert abs(got - want) <= timedelta(microseconds=2), one
        assert left(engine) == 0


def test_the_order_of_arrival_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any records in any batches give the times that all of them together tell, within small bounds on each write."""
    monkeypatch.setattr(corrections, "ROOM", 14)
    engine = store.open_store(f"sqlite:///{tmp_path}/s.db")

    @settings(max_examples=60, deadline=None)
    @given(RECORDS, st.integers(0, 2**32))
    def check(made: list[tuple[object, ...]], seed: int) -> None:
        check_any_order(engine, made, seed)

    try:
        check()
    finally:
        engine.dispose()


@pytest.mark.parametrize("seed", range(4))
def test_nor_does_it_on_either_engine(engine: Engine, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same on PostgreSQL and SQLite with a few drawn sets."""
    monkeypatch.setattr(corrections, "ROOM", 14)
    drawn = random.Random(seed)
    made = [
        (
            drawn.choice([None, drawn.randint(0, 5000), drawn.randint(0, 5000)]),
            drawn.choice([None, 0.0, 80.0]),
            drawn.randint(-9000, 9000),
            drawn.random() < 0.4,
            drawn.choice([None, "boot-1", "boot-2"]),
            drawn.choice(PROBES),
            drawn.choice(["laptop-1", "laptop-2"]),
        )
        for _ in range(25)
    ]
    check_any_order(engine, made, seed)


# --- from the version before


def test_rows_of_before_are_corrected_by_the_migration(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database of version 1 comes up with the times that its lines tell, and goes on from there."""
    if "sigprobe_" in database:
        pytest.skip("tables are spread over several machines only once no earlier version writes any more")
    sent = [measured(n) for n in range(5)]
    foreign = measured(7)
    knows = [measured(600, error_ms=80), measured(700, error_ms=900, off_ms=5000)]
    alone = measured(3, boot="boot-2")
    rolled_over = measured(650, error_ms=0, off_ms=60 * 366 * 86_400_000.0)
    monkeypatch.setattr(engine_module, "migrate", lambda engine: migrations.migrate(engine, to="0001"))
    monkeypatch.setattr(epochs, "check", lambda _engine: None)
    engine = store.open_store(database)
    with engine.execution_options(write=True).begin() as connection:
        for number, result in enumerate([*sent, knows[1], foreign, knows[0], alone, rolled_over], start=1):
            (row,) = sort_lines([result.to_line()]).rows
            # the columns that version 1 had
            kept = (c.name for c in results.columns if c.name != "next_contact_s" and hasattr(row, c.name))
            old = {name: getattr(row, name) for name in kept}
            del old["boot_id"], old["since_boot_s"], old["target"]
            carrier = "laptop-2" if result is foreign else "laptop-1"
            connection.execute(results.insert().values(**old, receive_no=number, received_at=NOW, carrier=carrier))
        connection.execute(text("UPDATE receive_order SET last_no = 10"))
    assert times(engine, *sent) == [None] * 5
    engine.dispose()
    monkeypatch.undo()
    monkeypatch.setattr(boot_clocks_of_version_2, "_PAGE", 2)
    engine = store.open_store(database)
    settle(engine)
    try:
        assert times(engine, *sent) == [after(n) for n in range(5)]
        assert times(engine, foreign, alone, *knows) == [None, None, after(600), after(705)]
        assert times(engine, rolled_over) == [after(650)], "by the boot's plausible anchor"
        late = measured(50)
        add(engine, late, measured(600, error_ms=1, boot="boot-2"))
        add(engine, measured(600, error_ms=2, off_ms=9), carrier="laptop-2")
        assert times(engine, late, alone, foreign) == [after(50), after(3), after(7.009)]
        with engine.connect() as connection:
            (version,) = connection.execute(text("SELECT max(version) FROM schema_version")).one()
        assert version == int(migrations.HEAD)
    finally:
        engine.dispose()
