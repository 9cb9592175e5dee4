"""A file straight into a collector's store: the checks of a batch, receipts after COMMIT, on both engines."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import SQLAlchemyError

from sigprobe.buffer import State
from sigprobe.collector import store
from sigprobe.collector.health import queries as health_queries
from sigprobe.collector.ingest import file_import
from sigprobe.collector.ingest import queries as ingest_queries
from sigprobe.collector.ingest.file_import import Imported
from sigprobe.collector.results import queries as result_queries
from sigprobe.collector.store import schema
from sigprobe.protocol import transfer_file
from sigprobe.upload import offline
from tests.support.collector_client import make_result, page_lines
from tests.support.laptops import Laptop, receipts_file, sha256, whole

Laptops = Callable[..., Laptop]
Run = Callable[..., subprocess.CompletedProcess[str]]


def take(engine: Engine, path: Path, receipts: Path | None = None) -> Imported:
    """Import a file into a store, with receipts when a place for them is given."""
    with transfer_file.opened(path) as file, ExitStack() as stack:
        verified = file_import.verify(file)
        writer = None
        if receipts is not None:
            header = transfer_file.Header(transfer_file.RECEIPTS, 1, None, "2029-02-14T07:05:01.123Z")
            writer = stack.enter_context(transfer_file.writing(receipts, header))
        return file_import.import_results(engine, file, verified, carrier="boat-7", collector="centre", receipts=writer)


def held(engine: Engine) -> dict[str, bytes]:
    """All stored lines by id."""
    found: dict[str, bytes] = {}
    after = 0
    while page := page_lines(engine, after=after, limit=1000):
        found.update((json.loads(line)["id"], line) for _number, line in page)
        after = page[-1][0]
    return found


def test_a_file_becomes_rows_and_receipts_settle_home(engine: Engine, laptop: Laptops, tmp_path: Path) -> None:
    """The store holds the stored bytes, who measured and who carried, and home waits no more."""
    home = laptop("home", 1203)
    offline.export_results(home.buffer, tmp_path / "out")
    done = take(engine, tmp_path / "out", tmp_path / "back")
    assert (done.lines, dict(done.statuses)) == (1203, {"accepted": 1203})
    assert held(engine) == home.lines()
    row = result_queries.find_result(engine, next(iter(home.lines())))
    assert row is not None
    assert (row.carrier, row.probe_id) == ("boat-7", home.buffer.probe_id)
    assert home.take_receipts(tmp_path / "back").carried == 1203
    assert (home.buffer.pending(), home.buffer.stats().acked) == (0, 0)
    assert {row.collector for row in home.buffer.rows(State.CARRIED)} == {"centre"}


def test_the_same_file_again_changes_nothing(engine: Engine, laptop: Laptops, tmp_path: Path) -> None:
    """A second import stores nothing and gives the receipts again."""
    home = laptop("home", 3)
    offline.export_results(home.buffer, tmp_path / "out")
    take(engine, tmp_path / "out")
    before = health_queries.last_number(engine), held(engine)
    done = take(engine, tmp_path / "out", tmp_path / "back")
    assert dict(done.statuses) == {"duplicate": 3}
    assert held(engine) == before[1]
    assert home.take_receipts(tmp_path / "back").carried == 3


def test_other_bytes_and_bad_records_are_named(engine: Engine, tmp_path: Path) -> None:
    """A record is judged as in a batch: conflict, rejected, accepted; and the stored one stays."""
    first, second = make_result(), make_result()
    (tmp_path / "one").write_bytes(whole([first.to_line()]))
    take(engine, tmp_path / "one")
    altered = first.to_line().replace(b'"ping"', b'"pong"')
    bad = make_result(probe_id=None)
    (tmp_path / "two").write_bytes(whole([altered, bad.to_line(), second.to_line()]))
    done = take(engine, tmp_path / "two", tmp_path / "back")
    assert dict(done.statuses) == {"conflict": 1, "rejected": 1, "accepted": 1}
    assert [name for name, _reason in done.examples] == [first.id, bad.id]
    assert held(engine) == {first.id: first.to_line(), second.id: second.to_line()}
    with transfer_file.opened(tmp_path / "back") as file:
        (lines,) = transfer_file.chunks(file, offline.verify(file))
    found = [transfer_file.read_receipt_line(line) for line in lines]
    assert [(r.id, r.status) for r in found] == [
        (first.id, "conflict"),
        (bad.id, "rejected"),
        (second.id, "accepted"),
    ]
    assert [r.sha256 for r in found] == [sha256(altered), sha256(bad.to_line()), sha256(second.to_line())]


def test_an_id_twice_in_one_file(engine: Engine, tmp_path: Path) -> None:
    """The first line counts; the receipt does not call the second one taken."""
    one = make_result()
    altered = one.to_line().replace(b'"ping"', b'"pong"')
    (tmp_path / "out").write_bytes(whole([one.to_line(), altered]))
    assert dict(take(engine, tmp_path / "out").statuses) == {"conflict": 1}
    assert held(engine) == {one.id: one.to_line()}


@pytest.mark.parametrize(
    "content", [whole([make_result().to_line()])[:-1], whole([make_result().to_line(), b'{"id":""}'])]
)
def test_a_damaged_file_is_refused_whole(engine: Engine, tmp_path: Path, content: bytes) -> None:
    """A good record before the damage is not taken either."""
    (tmp_path / "out").write_bytes(content)
    with pytest.raises(transfer_file.CarryError) as caught:
        take(engine, tmp_path / "out", tmp_path / "back")
    assert caught.value.code == "file_damaged"
    assert held(engine) == {}
    assert not (tmp_path / "back").exists()


def test_receipts_are_no_results(engine: Engine, tmp_path: Path) -> None:
    """A file of receipts is refused by the collector: it belongs to the device the results come from."""
    path = receipts_file(tmp_path / "back", ("0190a5c0-0000-7000-8000-000000000000", "0" * 64, "accepted"))
    with pytest.raises(transfer_file.CarryError) as caught:
        take(engine, path)
    assert caught.value.code == "file_of_receipts"


def test_no_receipt_before_commit(engine: Engine, laptop: Laptops, tmp_path: Path, monkeypatch: Any) -> None:
    """When the database fails in the second batch there is no file of receipts; the next try brings all of them."""
    home = laptop("home", 600)
    offline.export_results(home.buffer, tmp_path / "out")
    real, calls = ingest_queries.add_results, []

    def failing(*args: Any, **kwargs: Any) -> dict[str, str]:
        calls.append(1)
        if len(calls) == 2:
            raise SQLAlchemyError("gone")
        return real(*args, **kwargs)

    monkeypatch.setattr(ingest_queries, "add_results", failing)
    with pytest.raises(SQLAlchemyError):
        take(engine, tmp_path / "out", tmp_path / "back")
    assert not (tmp_path / "back").exists()
    assert len(held(engine)) == 500
    done = take(engine, tmp_path / "out", tmp_path / "back")
    assert dict(done.statuses) == {"duplicate": 500, "accepted": 100}
    assert home.take_receipts(tmp_path / "back").carried == 600


def stored_rows(engine: Engine) -> int:
    """How many records are committed."""
    with engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(schema.results)).scalar_one()


def test_killed_in_the_middle_and_done_again(
    database: str, laptop: Laptops, tmp_path: Path, sigprobe: Run, spawn: Callable[..., subprocess.Popen[str]]
) -> None:
    """kill -9 during an import leaves whole batches and no receipts; the same command again completes it."""
    home = laptop("home")
    lines = {r.id: r.to_line() for r in (make_result(seq=n + 1) for n in range(6000))}
    (tmp_path / "out").write_bytes(whole(list(lines.values())))
    engine = store.open_store(database)
    command = (
        "collector",
        "import",
        str(tmp_path / "out"),
        "--receipts",
        str(tmp_path / "back"),
        "--database",
        database,
    )
    process = spawn([sys.executable, "-m", "sigprobe", *command, "-qq"])
    until = time.monotonic() + 60
    while stored_rows(engine) < 500 and process.poll() is None and time.monotonic() < until:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    stored = held(engine)
    assert 0 < len(stored) < len(lines), "the kill came too early or too late"
    assert len(stored) % 500 == 0
    assert stored.items() <= lines.items()
    assert not (tmp_path / "back").exists()

    done = sigprobe(*command, "--json")

    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["records"], document["duplicate"]) == (6000, len(stored))
    assert document["accepted"] == 6000 - len(stored)
    assert held(engine) == lines
    engine.dispose()
    assert home.take_receipts(tmp_path / "back").unknown == 6000


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (b"", 2, "SP-FIL-02"),
        (b"a,b\n", 2, "SP-FIL-01"),
        (None, 2, "SP-FIL-05"),
        (whole([make_result().to_line()]), 0, "1 result imported"),
    ],
)
def test_exit_codes(tmp_path: Path, sigprobe: Run, content: bytes | None, code: int, words: str) -> None:
    """A refused import is 2 with one reason and one thing to do; a good one is 0."""
    path = tmp_path / "out"
    if content is not None:
        path.write_bytes(content)
    done = sigprobe("collector", "import", str(path), "--database", f"sqlite:///{tmp_path}/c.db")
    assert done.returncode == code, done.stderr
    assert words in (done.stdout if code == 0 else done.stderr)
    assert "Traceback" not in done.stderr
    assert (tmp_path / "c.db").exists() == (code == 0), "a wrong file leaves a new, empty database behind"


def test_receipts_never_replace_a_file_unasked(tmp_path: Path, sigprobe: Run) -> None:
    """The file that would be written over is looked at before anything is stored; --force replaces it."""
    (tmp_path / "out").write_bytes(whole([make_result().to_line()]))
    (tmp_path / "back").write_text("mine")
    command = ("collector", "import", str(tmp_path / "out"), "--receipts", str(tmp_path / "back"))
    database = ("--database", f"sqlite:///{tmp_path}/c.db")
    done = sigprobe(*command, *database)
    assert (done.returncode, (tmp_path / "back").read_text()) == (1, "mine")
    assert "SP-FIL-06" in done.stderr
    assert str(tmp_path / "back") in done.stderr
    engine = store.open_store(database[1])
    assert health_queries.last_number(engine) == 0
    engine.dispose()
    assert sigprobe(*command, *database, "--force").returncode == 0
