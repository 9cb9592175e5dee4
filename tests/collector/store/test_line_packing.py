"""Lines that PostgreSQL holds compressed come back byte for byte, to every reader, and old lines stay readable."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
import zstandard
from sqlalchemy import Engine, text

from sigprobe.collector import store
from sigprobe.collector.ingest import postgresql_writer
from sigprobe.collector.ingest.queries import add_results
from sigprobe.collector.ingest.records import sort_lines
from sigprobe.collector.store import compaction, line_packing
from tests.support.collector_client import make_result, page_lines
from tests.support.collector_process import run
from tests.support.postgres import Postgres

LINES = [
    make_result(1).to_line(),
    make_result(2, data={"note": "é \U0001f4f6 \\u0000 " * 50}).to_line(),
    make_result(3, data={"rtts_ms": [n / 7 for n in range(900)]}).to_line(),
    b" \t" + make_result(4).to_line().replace(b'":', b'"  :'),
]


def plain(url: str) -> Engine:
    """Return a database whose lines are stored as they come, as an earlier version left it."""
    engine = store.open_store(url)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM line_dictionaries"))
    return engine


def add(engine: Engine, lines: list[bytes]) -> None:
    """Store lines as a batch."""
    add_results(engine, sort_lines(lines).rows, carrier="laptop-1", token_id=None, now=datetime.now(UTC))


def frames(engine: Engine) -> list[bytes]:
    """Return what the column holds."""
    with engine.connect() as connection:
        return [bytes(row[0]) for row in connection.execute(text("SELECT line FROM results ORDER BY id"))]


@pytest.mark.parametrize("line", [*LINES, b"{}", b'{"x": "\xff\xfe"}', b"x" * 65_536])
def test_each_line_comes_back(line: bytes) -> None:
    """Short, long, no UTF-8: what goes in comes out."""
    number, _ = line_packing.shipped()
    packed = line_packing.pack(line, number)
    assert line_packing.unpack(packed) == line
    assert len(packed) <= len(line)


def test_the_dictionary_is_worth_its_number() -> None:
    """A record of a probe takes less than a third of its bytes; without the dictionary more than half."""
    line = LINES[0]
    number, _ = line_packing.shipped()
    assert len(line_packing.pack(line, number)) < len(line) / 3
    assert len(zstandard.ZstdCompressor(level=3).compress(line)) > len(line) / 2, "the control"


def test_the_dictionary_of_a_release_never_changes() -> None:
    """Its number and content are in databases: a changed file would make their lines unreadable."""
    import hashlib

    number, content = line_packing.shipped("2026-11")
    assert number == NUMBER
    assert hashlib.sha256(content).hexdigest() == DIGEST


NUMBER = 1803722940
DIGEST = "4d47821fad74c0c5e879e081207828ba5d81d4e9e238110c026ad127fed21165"


def test_an_unknown_dictionary_is_named() -> None:
    """A frame of a dictionary that is nowhere is an error, and never other bytes."""
    other = zstandard.train_dictionary(1024, [json.dumps({"a": n, "b": [n] * 9}).encode() for n in range(2000)])
    frame = zstandard.ZstdCompressor(dict_data=other).compress(b'{"a": 1}' * 20)
    with pytest.raises(line_packing.UnknownDictionaryError):
        line_packing.unpack(frame)
    line_packing.remember(other.dict_id(), other.as_bytes())
    assert line_packing.unpack(frame) == b'{"a": 1}' * 20, "once the database has told it"


def test_a_frame_that_says_it_is_huge_is_refused() -> None:
    """Nothing of that size is ever stored."""
    with pytest.raises(ValueError, match="larger than any line"):
        line_packing.unpack(zstandard.ZstdCompressor().compress(bytes(64 << 20)))


def test_threads_share_nothing() -> None:
    """Many threads compress and read at the same time."""
    number, _ = line_packing.shipped()

    def one(n: int) -> bool:
        line = make_result(n + 1).to_line() * (1 + n % 5)
        return all(line_packing.unpack(line_packing.pack(line, number)) == line for _ in range(50))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(one, range(64)))


def test_a_new_database_compresses(postgres: Postgres) -> None:
    """The column holds frames, and readers get the probe's own bytes."""
    engine = store.open_store(postgres.new_database())
    try:
        add(engine, LINES)
        assert sum(map(len, frames(engine))) < sum(map(len, LINES)) * 0.7
        assert {line for _, line in page_lines(engine)} == set(LINES)
    finally:
        engine.dispose()


def test_a_database_of_before_stays_plain_until_it_is_told(postgres: Postgres) -> None:
    """Old lines stay as they are; the command compresses them and what comes; a repeat finds nothing to do."""
    url = str(postgres.new_database())
    engine = plain(url)
    try:
        add(engine, LINES)
        assert set(frames(engine)) == set(LINES), "an earlier version may still read them"
        done = run("database", "compact", "--json", database=url)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["results"] == len(LINES)
        assert not set(frames(engine)) & set(LINES)
        assert {line for _, line in page_lines(engine)} == set(LINES)
        assert compaction.compact(engine).lines == 0
        # a process that was there before looks again within a minute
        postgresql_writer._dictionaries.clear()
        late = make_result(9).to_line()
        add(engine, [late])
        assert late not in frames(engine) and late in {line for _, line in page_lines(engine)}
    finally:
        engine.dispose()


def test_an_interrupted_run_goes_on(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was done stays done, and both kinds of lines are read meanwhile."""
    monkeypatch.setattr(compaction, "_PAGE", 3)
    lines = [make_result(n).to_line() for n in range(1, 11)]
    engine = plain(str(postgres.new_database()))

    def stop(done: int) -> None:
        if done >= 6:
            raise KeyboardInterrupt

    try:
        add(engine, lines)
        with pytest.raises(KeyboardInterrupt):
            compaction.compact(engine, stop)
        assert len(set(frames(engine)) & set(lines)) == 4
        assert {line for _, line in page_lines(engine)} == set(lines)
        assert compaction.compact(engine).lines == 4
        assert {line for _, line in page_lines(engine)} == set(lines)
    finally:
        engine.dispose()


def test_an_sqlite_file_is_left_alone(tmp_path_factory: pytest.TempPathFactory) -> None:
    """There the command says so, and lines stay as they came."""
    url = f"sqlite:///{tmp_path_factory.mktemp('compact') / 'collector.db'}"
    engine = store.open_store(url)
    try:
        add(engine, LINES)
        done = run("database", "compact", database=url)
        assert done.returncode == 1 and "SQLite" in done.stderr
        assert set(frames(engine)) == set(LINES)
    finally:
        engine.dispose()
