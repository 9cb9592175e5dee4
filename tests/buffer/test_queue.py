"""What the queue promises to those who use it: order, verdicts, urgency, limits, counters."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from sigprobe.buffer import Buffer, BufferLimitError, State, Verdicts
from sigprobe.record.result import RUN_KIND, Outcome, new_id
from tests.support.records import record

COLLECTOR = "https://collector.example/"
DAY = 86400.0


class Clock:
    """A wall clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1_900_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def buffer(tmp_path: Path, clock: Clock) -> Iterator[Buffer]:
    with Buffer(tmp_path / "q" / "buffer.db", now=clock) as made:
        yield made


def put(buffer: Buffer, count: int, **options: object) -> list[str]:
    return [buffer.put(record(**options)).result.id for _ in range(count)]  # type: ignore[arg-type]


def test_bytes_are_fixed_at_put(buffer: Buffer) -> None:
    """The stored line is what `to_line` makes of the placed result, under its digest, with the queue's place in it."""
    stored = [buffer.put(record(rtts=n)) for n in (0, 1, 500)]
    for number, one in enumerate(stored, start=1):
        assert one.line == one.result.to_line()
        assert (one.result.seq, one.result.stream_id) == (number, buffer.stream_id)
        assert (one.result.probe_id, one.result.boot_id) == (buffer.probe_id, buffer.boot_id)
        row = buffer.find(one.result.id)
        assert row is not None
        assert (row.line, row.sha256) == (one.line, hashlib.sha256(one.line).digest())


def test_strange_text_keeps_the_place_right(buffer: Buffer) -> None:
    """Quotes and the very words of the field inside other values cannot mislead the place of `seq`."""
    odd = record()
    object.__setattr__(odd, "kind", '"seq":null,"seq":null')
    object.__setattr__(odd, "run_id", '\\","seq":null')
    stored = buffer.put(odd)
    line = json.loads(stored.line)
    assert (line["seq"], line["run_id"]) == (1, '\\","seq":null')
    assert stored.line == stored.result.to_line()


def test_same_record_twice_keeps_its_place(buffer: Buffer) -> None:
    """A put that is tried again after a commit of unknown outcome changes nothing."""
    one = record()
    first = buffer.put(one)
    again = buffer.put(one)
    assert (again.pos, again.line, again.result.seq) == (first.pos, first.line, 1)
    assert buffer.pending() == 1


def test_urgent_first_then_oldest(buffer: Buffer, clock: Clock) -> None:
    """Failures and run records of the last hour come first, the rest in the order of put, nothing twice."""
    stale = put(buffer, 1, outcome=Outcome.FAILED)
    clock.now += 2 * 3600
    plain = put(buffer, 3)
    failed = put(buffer, 1, outcome=Outcome.FAILED)
    run = put(buffer, 1, kind=RUN_KIND)
    assert [r.id for r in buffer.peek(10, 1 << 20)] == failed + run + stale + plain
    assert [r.id for r in buffer.peek(3, 1 << 20)] == failed + run + stale
    first = buffer.peek(1, 1 << 20)[0]
    assert [r.id for r in buffer.peek(2, 1 << 20, skip={first.pos})] == run + stale


def test_peek_is_bounded_by_bytes_but_never_empty(buffer: Buffer) -> None:
    """One record larger than the limit still goes, alone."""
    names = put(buffer, 3, rtts=3000)
    assert [r.id for r in buffer.peek(10, 10)] == names[:1]
    assert len(buffer.peek(10, 2 * len(buffer.peek(1, 1)[0].line) + 1000)) == 2


def test_pending_behind_pruned_places_is_found(buffer: Buffer, clock: Clock) -> None:
    """Places of pruned records are never given out again, so a reader that stays open overlooks nothing."""
    names = put(buffer, 60)
    buffer.settle(Verdicts(acked=names[:59]), COLLECTOR)
    assert [r.id for r in buffer.peek(10, 1 << 20)] == names[59:]
    buffer.settle(Verdicts(acked=names[59:]), COLLECTOR)
    clock.now += 8 * DAY
    assert buffer.prune() == 59
    assert buffer.prune() == 0
    fresh = put(buffer, 5)
    assert [r.id for r in buffer.peek(10, 1 << 20)] == fresh


def test_verdicts_and_their_rank(buffer: Buffer) -> None:
    """Acked is for good; rejected may still be acked; an unknown id is nobody's; retry is no verdict."""
    one, two, three = put(buffer, 3)
    buffer.settle(Verdicts(acked=[one, new_id()], rejected=[(two, "rejected: no such kind")]), COLLECTOR)
    buffer.settle(Verdicts(rejected=[(one, "too late")]), COLLECTOR)
    row = buffer.find(two)
    assert row is not None
    assert (row.state, row.reason, row.collector) == (State.REJECTED, "rejected: no such kind", COLLECTOR)
    assert buffer.find(one).state is State.ACKED  # type: ignore[union-attr]
    assert [r.id for r in buffer.peek(9, 1 << 20)] == [three]
    buffer.settle(Verdicts(acked=[two]), COLLECTOR)
    assert [r.id for r in buffer.rows(State.ACKED)] == [one, two]
    stats = buffer.stats()
    assert (stats.pending, stats.acked, stats.rejected) == (1, 2, 0)
    assert stats.last_upload_at is not None


def test_what_was_refused_may_wait_again(tmp_path: Path, clock: Clock) -> None:
    """Refused records only, found by readers that had passed them, in this process and in another."""
    with Buffer(tmp_path / "b.db", now=clock) as buffer, Buffer(tmp_path / "b.db", now=clock) as other:
        assert buffer.send_again() == 0
        names = put(buffer, 6)
        buffer.settle(Verdicts(acked=names[:1], rejected=[(n, "no digest") for n in names[1:4]]), COLLECTOR)
        buffer._file.write(lambda db: db.execute("UPDATE record SET line = x'00' WHERE id = ?", (names[4],)))
        for reader in (buffer, other):
            assert [r.id for r in reader.peek(9, 1 << 20)] == names[5:]
            assert reader._settled_up_to > 3
        assert buffer.send_again() == 3
        assert [r.id for r in buffer.peek(9, 1 << 20)] == [*names[1:4], names[5]]
        stats = buffer.stats()
        assert (stats.pending, stats.acked, stats.rejected, stats.damaged) == (4, 1, 0, 1)
        buffer.settle(Verdicts(acked=names[5:]), COLLECTOR)
        assert [r.id for r in other.peek(9, 1 << 20)] == names[1:4], "when nothing newer is left, at the latest"
        buffer.settle(Verdicts(acked=names[1:4]), COLLECTOR)
        assert buffer.send_again() == 0


def test_prune_takes_acked_only_and_not_before_seven_days(buffer: Buffer, clock: Clock) -> None:
    """Ten years offline remove nothing that has no receipt."""
    names = put(buffer, 5)
    buffer.settle(Verdicts(acked=names[:1], rejected=[(names[1], "rejected: x")]), COLLECTOR)
    carried = buffer.find(names[2])
    assert carried is not None
    assert buffer.mark_carried([(names[2], carried.sha256.hex())], "a laptop") == 1
    clock.now += 6.9 * DAY
    assert buffer.prune() == 0
    clock.now += 3650 * DAY
    assert buffer.prune() == 1
    assert [r.id for r in buffer.rows()] == names[1:]


@pytest.mark.parametrize("begun", [-5e9, -DAY, 0.0, 0.0005, 3 * DAY, 253_402_300_799.0, 253_402_300_799.9, 4e11])
def test_a_clock_out_of_its_mind_prunes_nothing_early(buffer: Buffer, clock: Clock, begun: float) -> None:
    """Before 1970 and after 9999 all times are written alike: that makes no ack seven days old."""
    clock.now = begun
    names = put(buffer, 10)
    buffer.settle(Verdicts(acked=names), COLLECTOR)
    for later in (0, 0.0005, 3 * DAY, 6.9 * DAY):
        clock.now = begun + later
        assert buffer.prune() == 0
    assert [r.id for r in buffer.rows(State.ACKED)] == names
    clock.now = 1_900_000_000.0
    if begun < clock.now:  # the clock was set right
        assert buffer.prune() == 9


def test_a_fate_that_does_not_prove_itself_prunes_nothing(buffer: Buffer, clock: Clock) -> None:
    """A flipped bit that makes a waiting record look acknowledged is found before anything is removed."""
    names = put(buffer, 3)
    buffer.settle(Verdicts(acked=names[:1]), COLLECTOR)
    assert buffer._file._db is not None
    buffer._file._db.execute("UPDATE fate SET pos = 2")
    clock.now += 8 * DAY
    buffer.prune()
    assert sorted(r.id for r in buffer.rows(State.PENDING)) == sorted(names)


@pytest.mark.parametrize("by", ["itself", "another"])
def test_what_waits_again_is_found_by_a_reader_that_stays_open(buffer: Buffer, clock: Clock, by: str) -> None:
    """A state that is undone, by this process or another one, leads the search back; also behind what is put off."""
    names = put(buffer, 60)
    buffer.settle(Verdicts(acked=names[:50]), COLLECTOR)
    assert [r.id for r in buffer.peek(99, 1 << 20)] == names[50:]  # all before has its state, as far as is known
    assert buffer._file._db is not None
    buffer._file._db.execute("UPDATE fate SET seal = x'00' WHERE pos IN (20, 30)")
    clock.now += 8 * DAY
    if by == "itself":
        buffer.prune()
    else:
        with Buffer(buffer.path, now=clock) as other:
            other.prune()
    found = [names[19], names[29], *names[50:]]
    assert sorted(r.id for r in buffer.rows(State.PENDING)) == sorted(found)
    skip: set[int] = set()
    handed: list[str] = []
    while page := buffer.peek(7, 1 << 20, skip):
        handed += [row.id for row in page]
        skip |= {row.pos for row in page}
    assert sorted(handed) == sorted(found)
    buffer.settle(Verdicts(acked=names[50:]), COLLECTOR)
    assert [r.id for r in buffer.peek(99, 1 << 20)] == [names[19], names[29]]


def test_limit_refuses_loudly_and_drops_nothing(tmp_path: Path) -> None:
    """At max_mb the next put is refused with its code; acked rows make room, pending ones never do."""
    with Buffer(tmp_path / "b.db", max_mb=1) as buffer:
        names: list[str] = []
        with pytest.raises(BufferLimitError) as refused:
            for _ in range(3000):
                names.append(buffer.put(record(rtts=200)).result.id)
        assert refused.value.code == "buffer_limit"
        with pytest.raises(BufferLimitError):
            buffer.put(record())
        with pytest.raises(BufferLimitError):
            buffer.take_in([(new_id(), b"{}")])
        assert [r.id for r in buffer.rows()] == names
        buffer.settle(Verdicts(acked=names[:50]), COLLECTOR)
        stored = buffer.put(record())
        left = [r.id for r in buffer.rows()]
        assert left == [*names[50:], stored.result.id]


def test_carried_and_taken_in(buffer: Buffer) -> None:
    """Only id and bytes together mark a row; conflicts are left alone; a receipt over the network acks it later."""
    one, two, three = (buffer.put(record()) for _ in range(3))
    buffer.settle(Verdicts(acked=[two.result.id]), COLLECTOR)
    digests = {s.result.id: hashlib.sha256(s.line).hexdigest() for s in (one, two, three)}
    pairs = [*digests.items(), (three.result.id, digests[one.result.id]), (new_id(), "00")]
    assert buffer.mark_carried(iter(pairs[:2] + pairs[3:]), "a laptop") == 1
    assert buffer.pending() == 1
    assert buffer.stats().carried == 1
    buffer.settle(Verdicts(acked=[one.result.id]), COLLECTOR)
    assert buffer.stats().acked == 2
    name = new_id()
    lines = [(name, b'{"id":1}'), (name, b'{"id":1}'), (name, b'{"id":2}'), (three.result.id, three.line)]
    assert buffer.take_in(iter(lines)) == (1, 2, [name])
    taken = buffer.find(name)
    assert taken is not None
    assert (taken.own, taken.line) == (False, b'{"id":1}')


def test_many_taken_in_page_by_page(buffer: Buffer) -> None:
    """More than one page at a time, all there in order."""
    lines = [(name := new_id(), b'{"id":"%s"}' % name.encode()) for _ in range(1200)]
    assert buffer.take_in(lines) == (1200, 0, [])
    assert buffer.take_in(lines) == (0, 1200, [])
    assert [r.id for r in buffer.rows()] == [name for name, _ in lines]
    assert [r.id for r in buffer.rows(newest=3)] == [name for name, _ in lines[-3:]]
    assert len(buffer.peek(5000, 1 << 30)) == 1200


def test_usage_is_counted_per_day_and_interface(buffer: Buffer) -> None:
    """Bytes add up per day, month and interface."""
    for day, interface, count in (("2029-02-01", "wwan0", 5), ("2029-02-01", "wwan0", 6), ("2029-02-02", "", 7)):
        buffer.add_usage(day, interface, count)
    assert (buffer.usage("2029-02-01"), buffer.usage("2029-02"), buffer.usage("2029-02", "wwan0")) == (11, 18, 11)
    assert buffer.usage("2028") == 0


def test_a_damaged_row_is_set_apart_and_does_not_block(buffer: Buffer) -> None:
    """Rows whose bytes, digest or id were altered are marked with the reason; what lies behind them still goes."""
    names = put(buffer, 6)
    db = buffer._file._db
    assert db is not None
    db.execute("UPDATE record SET line = replace(line, 'tps_id', 'tps_ie') WHERE pos = 1")
    db.execute("UPDATE record SET sha256 = x'00' WHERE pos = 2")
    db.execute("UPDATE record SET id = ? WHERE pos = 3", (new_id(),))
    db.execute("UPDATE record SET line = 12345678901 WHERE pos = 4")
    db.execute("UPDATE record SET put_at = CAST(x'ff' AS TEXT) WHERE pos = 5")
    assert [r.id for r in buffer.peek(1, 1 << 20)] == names[4:5]
    assert [r.id for r in buffer.peek(9, 1 << 20)] == names[4:]
    assert buffer.stats().damaged == 4
    assert {r.reason for r in buffer.rows(State.DAMAGED)} == {"stored bytes do not match their digest"}


@pytest.mark.parametrize("by_hand", [False, True])
def test_an_index_that_lost_a_record_is_damage(tmp_path: Path, by_hand: bool) -> None:
    """A receipt that cannot find its row sets the file aside instead of sending the same rows for ever."""
    path = tmp_path / "b.db"
    with Buffer(path) as buffer:
        names = put(buffer, 3)
        root = "SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_record_1'"
        page = int(buffer._file.read(lambda db: db.execute(root).get))
    _alter_key(path, page, names[0])
    with Buffer(path) as buffer:
        assert not buffer.set_aside_now
        if by_hand:
            digests = {r.id: hashlib.sha256(r.line).hexdigest() for r in buffer.rows()}
            strange = [(new_id(), "0" * 64) for _ in range(3)]  # records of others are no damage
            assert buffer.mark_carried(strange, "a laptop") == 0
            assert not buffer.set_aside_now
            assert buffer.mark_carried([(names[0], digests[names[0]])], "a laptop") == 1
        else:
            buffer.settle(Verdicts(acked=names[:1]), COLLECTOR)
        assert buffer.set_aside_now
        assert {r.id for r in buffer.rows()} == set(names)
        assert [r.id for r in buffer.rows(State.CARRIED if by_hand else State.ACKED)] == names[:1]


def _alter_key(path: Path, number: int, name: str) -> None:
    """Alter an id in a page of the index; SQLite's quick check does not compare it with the table."""
    with path.open("r+b") as file:
        file.seek((number - 1) * 4096)
        page = file.read(4096)
        file.seek((number - 1) * 4096)
        file.write(page.replace(name.encode(), b"00000000" + name[8:].encode()))


def test_versions(buffer: Buffer) -> None:
    """The journal in force is WAL with FULL on a fixed SQLite, read back from the connection."""
    db = buffer._file._db
    assert db is not None
    assert (db.pragma("journal_mode"), db.pragma("synchronous")) == ("wal", 2)
    assert apsw.sqlite_lib_version() >= "3.51.3"
    assert buffer.journal.reason == "fixed-sqlite"
