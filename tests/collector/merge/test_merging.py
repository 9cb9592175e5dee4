"""Two collectors that lived apart become one: each result once, exact counts, whatever interrupts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, text, update

from sigprobe.collector import store
from sigprobe.collector.access import queries as access_queries
from sigprobe.collector.access.token_check import TokenCheck
from sigprobe.collector.ingest import queries as ingest_queries
from sigprobe.collector.ingest.records import sort_lines
from sigprobe.collector.merge import merging
from sigprobe.collector.merge.other import OtherError, opened
from sigprobe.collector.store.schema import results
from sigprobe.record.result import Result
from tests.support.collector_client import make_result
from tests.support.collector_process import run

WHEN = datetime(2029, 2, 14, 7, 5, tzinfo=UTC)


def add(engine: Engine, records: list[Result], carrier: str = "laptop-1", when: datetime = WHEN) -> None:
    rows = sort_lines([record.to_line() for record in records]).rows
    ingest_queries.add_results(engine, rows, carrier=carrier, token_id=None, now=when)


def lines(engine: Engine) -> dict[str, tuple[bytes, str, datetime]]:
    """What is stored under each id."""
    with engine.connect() as connection:
        rows = connection.execute(select(results.c.id, results.c.line, results.c.carrier, results.c.received_at))
        return {row.id: (bytes(row.line), row.carrier, row.received_at) for row in rows}


@pytest.fixture
def other(database: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """Return the URL of a second database on the same engine."""
    if database.startswith("sqlite"):
        return f"sqlite:///{tmp_path}/other.db"
    return str(request.getfixturevalue("postgres").new_database())


@pytest.fixture
def theirs(other: str) -> Iterator[Engine]:
    engine = store.open_store(other)
    yield engine
    engine.dispose()


def test_union_by_id(engine: Engine, theirs: Engine, other: str) -> None:
    """New ones are stored with their first receipt, known ones once, one with other bytes is named; then nothing."""
    both = [make_result(n) for n in range(1, 6)]
    mine = [make_result(n) for n in range(11, 14)]
    new = [make_result(n) for n in range(21, 41)]
    clash = make_result(50)
    add(engine, [*both, *mine, clash])
    add(theirs, [*both, make_result(51, id=clash.id)])
    for place, record in enumerate(new):
        add(theirs, [record], f"laptop-{place % 3}", WHEN + timedelta(minutes=place))
    before = lines(theirs)
    with opened(other) as source:
        found = merging.merge(engine, source)
    assert dict(found.statuses) == {"accepted": 20, "duplicate": 5, "conflict": 1}
    assert found.examples == [(clash.id, "conflict: this id is here with another content")]
    stored = lines(engine)
    assert set(stored) == {record.id for record in (*both, *mine, *new, clash)}
    assert all(stored[record.id] == before[record.id] for record in new), "bytes, sender and time of receipt"
    assert stored[clash.id][0] == clash.to_line()
    assert lines(theirs) == before, "the other one is not changed"
    with opened(other) as source:
        again = merging.merge(engine, source)
    assert dict(again.statuses) == {"duplicate": 25, "conflict": 1}
    assert lines(engine) == stored


def test_a_line_that_was_changed_is_refused(engine: Engine, theirs: Engine, other: str) -> None:
    """A disk or a hand changed bytes at the other site: they are not what a probe sent."""
    good, bad = make_result(1), make_result(2)
    add(theirs, [good, bad])
    with theirs.begin() as connection:
        connection.execute(update(results).where(results.c.id == bad.id).values(line=bad.to_line()[:-9] + b"x" * 9))
    with opened(other) as source:
        found = merging.merge(engine, source)
    assert dict(found.statuses) == {"accepted": 1, "rejected": 1} and found.examples[0][0] == bad.id
    assert set(lines(engine)) == {good.id}


def test_tokens(engine: Engine, theirs: Engine, other: str) -> None:
    """Probes of the other site may go on here; a token revoked at either is revoked; a name stays with its token."""
    fresh = access_queries.create_token(theirs, "village-9", access_queries.PROBE)
    clash = access_queries.create_token(theirs, "laptop-1", access_queries.PROBE)
    own = access_queries.create_token(engine, "laptop-1", access_queries.PROBE)
    shared = access_queries.create_token(engine, "shared", access_queries.PROBE)
    with engine.connect() as connection:
        row = connection.execute(text("SELECT * FROM tokens WHERE name = 'shared'")).mappings().one()
    with theirs.begin() as connection:
        names = ", ".join(row)
        connection.execute(text(f"INSERT INTO tokens ({names}) VALUES ({', '.join(':' + n for n in row)})"), dict(row))
    assert access_queries.revoke_token(theirs, "shared")
    with opened(other) as source:
        found = merging.merge(engine, source)
    assert (found.tokens_added, found.tokens_revoked, found.tokens_left) == (1, 1, ["laptop-1"])
    known = {name: TokenCheck(engine).find(secret) for name, secret in vars_of(fresh, clash, own, shared)}
    assert known["fresh"] is not None and known["own"] is not None
    assert known["clash"] is None and known["shared"] is None


def vars_of(fresh: str, clash: str, own: str, shared: str) -> list[tuple[str, str]]:
    return [("fresh", fresh), ("clash", clash), ("own", own), ("shared", shared)]


def test_what_is_no_collector(engine: Engine, tmp_path: Path) -> None:
    """A missing file is not created, and a foreign one not changed."""
    (tmp_path / "text").write_text("no database" * 1000)
    for name in (tmp_path / "absent", tmp_path / "text"):
        with pytest.raises(OtherError), opened(str(name)):
            pass
    assert not (tmp_path / "absent").exists() and (tmp_path / "text").read_text() == "no database" * 1000


KILLED = """
import sys
from sigprobe.collector import store
from sigprobe.collector.merge import merging, other
other._PAGE, other._LINES = 40, 8
engine = store.open_store(sys.argv[1])
with other.opened(sys.argv[2]) as source:
    merging.merge(engine, source, lambda done, whole: print(done, whole, flush=True))
"""


@pytest.mark.process
def test_killed_in_the_middle(database: str, engine: Engine, theirs: Engine, other: str) -> None:
    """Killed at several places: what was stored stays, the next run adds only the rest, and nothing is doubled."""
    records = [make_result(n) for n in range(1, 401)]
    for place in range(0, 400, 10):
        add(theirs, records[place : place + 10], when=WHEN + timedelta(seconds=place))
    kept = 0
    for lines_read in (3, 9, 20):
        command = [sys.executable, "-c", KILLED, database, other]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            told = [process.stdout.readline() for _ in range(lines_read)]
            os.kill(process.pid, signal.SIGKILL)
        assert all(told), "the control: it was killed while it worked"
        time.sleep(0.1)
        stored = len(lines(engine))
        assert kept <= stored < 400
        kept = stored
    assert kept > 0, "the control: some of it was stored before a kill"
    done = run("merge", other, "--json", database=database)
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert counts["accepted"] + counts["duplicate"] == 400 and counts["accepted"] <= 400 - kept
    assert set(lines(engine)) == {record.id for record in records}
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM results")) == 400


def test_the_command(database: str, engine: Engine, theirs: Engine, other: str) -> None:
    """As it is typed, in both languages, and with a database that is not there."""
    add(theirs, [make_result(n) for n in range(1, 4)])
    access_queries.create_token(theirs, "village-9", access_queries.PROBE)
    done = run("merge", other, database=database)
    assert done.returncode == 0 and "3 results merged, 0 already here" in done.stdout, done.stdout + done.stderr
    assert "1 added" in done.stdout
    missing = run("merge", "/nowhere/collector.db", database=database)
    assert missing.returncode == 1 and "no such file" in missing.stderr
