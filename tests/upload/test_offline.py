"""Results carried between laptops: nothing lost, nothing doubled, and nothing settled by a file alone."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import apsw
import pytest

from sigprobe.buffer import BufferLimitError, State, Verdicts
from sigprobe.protocol import transfer_file
from sigprobe.record.result import Outcome
from sigprobe.upload import offline
from tests.support.collector_client import make_result
from tests.support.laptops import HEADER, Laptop, receipts_file, sha256, whole

Laptops = Callable[..., Laptop]
URL = "https://collector.example/"


def test_export_changes_nothing(laptop: Laptops, tmp_path: Path) -> None:
    """What was exported keeps waiting, and a second export writes the same records."""
    home = laptop("home", 3)
    before = list(home.buffer.rows())
    for name in ("one", "two"):
        done = offline.export_results(home.buffer, tmp_path / name)
        assert (done.records, done.damaged) == (3, 0)
        assert done.file_bytes == (tmp_path / name).stat().st_size
    assert list(home.buffer.rows()) == before
    assert laptop("other").take(tmp_path / "one").new == 3


def test_only_pending_results_are_exported(laptop: Laptops, tmp_path: Path) -> None:
    """What the collector has, or does not take, or is on its way by another hand, is not carried again."""
    home = laptop("home", 5)
    ids = list(home.lines())
    home.buffer.settle(Verdicts(acked=[ids[0]], rejected=[(ids[1], "rejected: bad")]), URL)
    home.buffer.mark_carried([(ids[2], sha256(home.lines()[ids[2]]))], URL)
    offline.export_results(home.buffer, tmp_path / "out")
    other = laptop("other")
    other.take(tmp_path / "out")
    assert list(other.lines()) == ids[3:]


def test_an_altered_row_is_left_out_of_the_file(laptop: Laptops, tmp_path: Path) -> None:
    """A row that no longer fits its digest is not carried anywhere, and the file is good without it."""
    home = laptop("home", 3)
    ids = list(home.lines())

    db = apsw.Connection(str(home.buffer.path))
    db.execute("UPDATE record SET line = CAST(replace(line, 'ping', 'pong') AS BLOB) WHERE id = ?", (ids[1],))
    db.close()
    done = offline.export_results(home.buffer, tmp_path / "out")
    assert (done.records, done.damaged) == (2, 1)
    other = laptop("other")
    assert other.take(tmp_path / "out").new == 2
    assert list(other.lines()) == [ids[0], ids[2]]


def test_records_travel_byte_for_byte_and_once(laptop: Laptops, tmp_path: Path) -> None:
    """The other laptop holds the same bytes as its own pending rows, however often the file comes."""
    home, other = laptop("home", 1203), laptop("other", 2)
    own = other.lines()
    offline.export_results(home.buffer, tmp_path / "out")
    seen: list[int] = []
    with transfer_file.opened(tmp_path / "out") as file:
        done = offline.take_in(other.buffer, file, offline.verify(file), progress=seen.append)
    assert (done.records, done.new, done.known, done.conflicting, done.refused) == (1203, 1203, 0, 0, 0)
    assert seen == [500, 1000, 1203]
    assert other.lines(State.PENDING) == {**own, **home.lines()}
    assert sum(row.own for row in other.buffer.rows()) == 2
    again = other.take(tmp_path / "out")
    assert (again.new, again.known) == (0, 1203)
    assert other.buffer.pending() == 1205


def test_ones_own_file_changes_nothing(laptop: Laptops, tmp_path: Path) -> None:
    """An export that is imported where it was made finds all its records known."""
    home = laptop("home", 3)
    before = list(home.buffer.rows())
    offline.export_results(home.buffer, tmp_path / "out")
    done = home.take(tmp_path / "out")
    assert (done.new, done.known) == (0, 3)
    assert list(home.buffer.rows()) == before


def test_a_stick_restores_a_lost_queue(laptop: Laptops, tmp_path: Path) -> None:
    """When the laptop's own queue is gone, its export brings the results back to wait again."""
    home = laptop("home", 3)
    offline.export_results(home.buffer, tmp_path / "out")
    fresh = laptop("fresh")
    assert fresh.take(tmp_path / "out").new == 3
    assert fresh.lines(State.PENDING) == home.lines()


def test_the_same_id_with_other_bytes_stays_out(laptop: Laptops, tmp_path: Path) -> None:
    """Of two records with one id the one that is here stays, and the other is counted and named."""
    home = laptop("home", 2)
    name, line = next(iter(home.lines().items()))
    altered = line.replace(b'"ping"', b'"pong"')
    assert altered != line
    (tmp_path / "out").write_bytes(whole([altered]))
    done = home.take(tmp_path / "out")
    assert (done.new, done.known, done.conflicting) == (0, 0, 1)
    assert done.examples[0][0] == name
    assert home.lines()[name] == line


def test_a_record_no_collector_would_keep_is_left_out(laptop: Laptops, tmp_path: Path) -> None:
    """One bad record in a good file does not keep the good ones from travelling."""
    home, other = laptop("home", 2), laptop("other")
    bad = make_result(probe_id=None).to_line()
    (tmp_path / "out").write_bytes(whole([bad, *home.lines().values()]))
    done = other.take(tmp_path / "out")
    assert (done.records, done.new, done.refused) == (3, 2, 1)
    assert "probe_id" in done.examples[0][1]
    assert other.lines() == home.lines()


def test_unknown_kinds_and_a_higher_schema_travel(laptop: Laptops, tmp_path: Path) -> None:
    """A record of a newer probe is carried unchanged by an older one."""
    line = make_result(kind="telepathy", schema=9, data={"new": [1]}).to_line()
    (tmp_path / "out").write_bytes(whole([line]))
    other = laptop("other")
    assert other.take(tmp_path / "out").new == 1
    assert list(other.lines().values()) == [line]


def test_a_damaged_file_leaves_the_queue_alone(laptop: Laptops, tmp_path: Path) -> None:
    """Of a file whose last byte is wrong not even the first record is taken.

    The control: a reader of one pass meets more than a thousand good records before the damage.
    """
    home, other = laptop("home", 1203), laptop("other")
    path = tmp_path / "out"
    offline.export_results(home.buffer, path)
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(offline.CarryError):
        other.take(path)
    assert other.lines() == {}
    met = []
    with transfer_file.opened(path) as file, pytest.raises(offline.CarryError):
        for line in islice(transfer_file._lines(file), 1, None):
            met.append(line)  # the reader raises before it ends
    assert len(met) > 1000
    assert met == list(home.lines().values())[: len(met)]
    path.write_bytes(good)
    other.take(path)
    assert len(other.lines()) == 1203


def test_others_results_do_not_take_the_last_room(laptop: Laptops, tmp_path: Path) -> None:
    """A file larger than the queue may grow is refused in part, loudly; the laptop's own next result still fits."""
    home, small = laptop("home"), laptop("small", max_mb=1)
    home.measure(700, data={"rtts_ms": [n + 0.125 for n in range(200)]})
    offline.export_results(home.buffer, tmp_path / "out")
    with pytest.raises(BufferLimitError):
        small.take(tmp_path / "out")
    small.measure(1)
    assert small.lines().items() - home.lines().items() != set()


def test_acknowledged_results_make_room_for_others(laptop: Laptops, tmp_path: Path) -> None:
    """A queue full of what the collector has already is no reason to turn another laptop's results away."""
    home, small = laptop("home"), laptop("small", max_mb=1)
    small.measure(600)
    small.buffer.settle(Verdicts(acked=list(small.lines())), URL)
    home.measure(600)
    offline.export_results(home.buffer, tmp_path / "out")
    assert small.take(tmp_path / "out").new == 600
    assert small.measure(1)


def test_receipts_come_home(laptop: Laptops, tmp_path: Path) -> None:
    """Home's results go over another laptop, its receipts go back, and home waits no more: carried, not acked."""
    home, other = laptop("home", 3), laptop("other", 2)
    offline.export_results(home.buffer, tmp_path / "out")
    other.take(tmp_path / "out")
    other.buffer.settle(Verdicts(acked=[row.id for row in other.buffer.rows()]), URL)
    assert offline.export_receipts(other.buffer, tmp_path / "back").records == 3
    done = home.take_receipts(tmp_path / "back")
    assert (done.receipts, done.carried, done.unknown, done.other_bytes) == (3, 3, 0, 0)
    stats = home.buffer.stats()
    assert (stats.pending, stats.carried, stats.acked) == (0, 3, 0)
    assert {row.collector for row in home.buffer.rows(State.CARRIED)} == {URL}
    again = home.take_receipts(tmp_path / "back")
    assert (again.carried, again.known) == (0, 3)


def test_receipts_pass_through_a_second_carrier(laptop: Laptops, tmp_path: Path) -> None:
    """A village chain: what the last laptop sent is known at the first, over the one in between."""
    first, second, third = laptop("first", 2), laptop("second"), laptop("third")
    offline.export_results(first.buffer, tmp_path / "a")
    second.take(tmp_path / "a")
    offline.export_results(second.buffer, tmp_path / "b")
    third.take(tmp_path / "b")
    third.buffer.settle(Verdicts(acked=list(third.lines())), URL)
    offline.export_receipts(third.buffer, tmp_path / "c")
    second.take_receipts(tmp_path / "c")
    offline.export_receipts(second.buffer, tmp_path / "d")
    assert first.take_receipts(tmp_path / "d").carried == 2


def test_a_receipt_must_name_id_and_bytes(laptop: Laptops, tmp_path: Path) -> None:
    """Only both together set a result apart: a wrong digest, an unknown id or a refusal changes nothing."""
    home = laptop("home", 4)
    (good, first), (bad, second), (refused, third), (conflict, fourth) = home.lines().items()
    path = receipts_file(
        tmp_path / "back",
        (good, sha256(first), "accepted"),
        (bad, sha256(first), "accepted"),
        ("0190a5c0-0000-7000-8000-000000000000", sha256(second), "duplicate"),
        (refused, sha256(third), "rejected"),
        (conflict, sha256(fourth), "conflict"),
    )
    done = home.take_receipts(path)
    assert (done.carried, done.other_bytes, done.unknown, done.not_taken) == (1, 1, 1, 2)
    assert list(home.lines(State.PENDING)) == [bad, refused, conflict]
    assert home.buffer.stats().rejected == 0


def test_a_status_of_the_future_settles_nothing(laptop: Laptops, tmp_path: Path) -> None:
    """A word we do not know is not `accepted`."""
    home = laptop("home", 1)
    ((name, line),) = home.lines().items()
    done = home.take_receipts(receipts_file(tmp_path / "back", (name, sha256(line), "retry")))
    assert (done.carried, done.not_taken) == (0, 1)
    assert home.buffer.pending() == 1


@pytest.mark.parametrize(
    "receipt",
    [
        b'{"id":"a","sha256":"b","status":"accepted","collector":"c"}',
        b'{"id":"a","sha256":"' + b"0" * 64 + b'","status":"accepted"}',
        b'{"id":"a","sha256":"' + b"0" * 64 + b'","status":"accepted","collector":7}',
        b'{"id":"a","sha256":"' + b"0" * 64 + b'","status":"accepted","collector":"\\u001b[2J"}',
        b"[]",
    ],
)
def test_a_receipt_that_is_none_spoils_its_file(laptop: Laptops, tmp_path: Path, receipt: bytes) -> None:
    """A file of receipts is taken whole or not: the good receipt before the bad line settles nothing."""
    home = laptop("home", 1)
    ((name, line),) = home.lines().items()
    good = b'{"id":"%s","sha256":"%s","status":"accepted","collector":"c"}' % (name.encode(), sha256(line).encode())
    header = HEADER.replace(b"sigprobe-results", b"sigprobe-receipts")
    (tmp_path / "back").write_bytes(whole([good, receipt], header))
    with pytest.raises(offline.CarryError) as caught:
        home.take_receipts(tmp_path / "back")
    assert (caught.value.code, home.buffer.pending()) == ("file_damaged", 1)
    (tmp_path / "back").write_bytes(whole([good], header))
    assert home.take_receipts(tmp_path / "back").carried == 1


def test_refusals_are_in_the_receipts(laptop: Laptops, tmp_path: Path) -> None:
    """Home learns that the collector refused a record, and keeps it waiting to hear it from the collector itself."""
    home, other = laptop("home", 2), laptop("other")
    offline.export_results(home.buffer, tmp_path / "out")
    other.take(tmp_path / "out")
    one, two = other.lines()
    other.buffer.settle(Verdicts(rejected=[(one, "rejected: no"), (two, "conflict: other bytes")]), URL)
    offline.export_receipts(other.buffer, tmp_path / "back")
    with transfer_file.opened(tmp_path / "back") as file:
        verified = offline.verify(file)
        (lines,) = transfer_file.chunks(file, verified)
    assert [transfer_file.read_receipt_line(line).status for line in lines] == ["rejected", "conflict"]
    assert home.take_receipts(tmp_path / "back").not_taken == 2
    assert home.buffer.pending() == 2


def test_carried_results_are_never_pruned(laptop: Laptops, tmp_path: Path) -> None:
    """A receipt in a file deletes nothing, not in a century; the network's own receipt does, the control."""
    years = [2_000_000_000.0]
    home = laptop("home", 0, now=lambda: years[0])
    carried, acked, waiting = home.measure(3)
    home.take_receipts(receipts_file(tmp_path / "back", (carried, sha256(home.lines()[carried]), "accepted")))
    home.buffer.settle(Verdicts(acked=[acked]), URL)
    years[0] += 100 * 365 * 86_400
    home.buffer.prune()
    assert list(home.lines()) == [carried, waiting]
    home.buffer.settle(Verdicts(acked=[carried]), URL)
    assert home.buffer.stats().acked == 1
    years[0] += 8 * 86_400
    home.buffer.prune()
    assert list(home.lines()) == [waiting]


def test_results_of_this_device_get_no_receipts(laptop: Laptops, tmp_path: Path) -> None:
    """Receipts are for what was carried for others; one's own are settled by the collector itself."""
    home = laptop("home")
    home.measure(1, outcome=Outcome.OK)
    home.buffer.settle(Verdicts(acked=list(home.lines())), URL)
    assert offline.export_receipts(home.buffer, tmp_path / "back").records == 0
