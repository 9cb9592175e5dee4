"""A copy of a SQLite database is complete or absent, whatever happens meanwhile."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine

from sigprobe.collector import store
from sigprobe.collector.backup import sqlite_file
from sigprobe.collector.backup.copy import BackupError
from sigprobe.collector.ingest import queries as ingest_queries
from sigprobe.collector.ingest.records import sort_lines
from sigprobe.collector.results import queries as results_queries
from sigprobe.collector.store import epochs
from tests.support.collector_client import make_result
from tests.support.collector_process import run


def add(engine: Engine, count: int, first: int = 1) -> list[str]:
    """Store so many results in one batch; their ids."""
    lines = [make_result(first + n).to_line() for n in range(count)]
    rows = sort_lines(lines).rows
    found = ingest_queries.add_results(engine, rows, carrier="laptop-1", token_id=None, now=datetime.now(UTC))
    return list(found)


def ids_in(path: Path) -> set[str]:
    engine = store.open_store(f"sqlite:///{path}")
    try:
        return {stored.id for stored in results_queries.list_newest(engine, results_queries.Filters(), limit=100_000)}
    finally:
        engine.dispose()


def test_a_copy_while_batches_arrive(tmp_path: Path) -> None:
    """What was acknowledged before the copy began is in it, the copy is sound, and the writer was not held up."""
    source, place = tmp_path / "c.db", tmp_path / "copies" / "c.db"
    engine = store.open_store(f"sqlite:///{source}")
    before = add(engine, 2_000)
    stop, during = threading.Event(), list[str]()

    def write() -> None:
        while not stop.is_set():
            during.extend(add(engine, 5, first=10_000 + len(during)))

    writer = threading.Thread(target=write)
    writer.start()
    steps: list[tuple[int, int]] = []
    try:
        while not during:
            time.sleep(0.01)
        made = sqlite_file.back_up(source, place, lambda done, whole: steps.append((done, whole)))
    finally:
        stop.set()
        writer.join()
    held = ids_in(place)
    assert set(before) <= held and made.results == len(held)
    assert made.size_bytes == place.stat().st_size if not steps else steps[-1][0] == steps[-1][1]
    assert stat.S_IMODE(place.stat().st_mode) == 0o600, "positions and token hashes are private"
    assert len(held) <= len(before) + len(during)
    engine.dispose()


def test_nothing_is_replaced(tmp_path: Path) -> None:
    """Neither by a backup nor by a restore; the files stay as they were."""
    source = tmp_path / "c.db"
    engine = store.open_store(f"sqlite:///{source}")
    add(engine, 3)
    engine.dispose()
    other = tmp_path / "other"
    other.write_text("precious")
    for act in (sqlite_file.back_up, sqlite_file.restore):
        with pytest.raises(BackupError, match="exists"):
            act(source, other)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    with pytest.raises(BackupError, match="exists"):
        sqlite_file.back_up(source, link)
    assert other.read_text() == "precious"
    assert not list(tmp_path.glob(".*partial*"))


@pytest.mark.parametrize("ending", ["-wal", "-shm", "-journal"])
def test_a_journal_of_the_former_database_is_refused(tmp_path: Path, ending: str) -> None:
    """SQLite would play it into the restored file."""
    engine = store.open_store(f"sqlite:///{tmp_path}/c.db")
    engine.dispose()
    (tmp_path / f"new.db{ending}").write_bytes(b"left over")
    with pytest.raises(BackupError, match=f"new.db{ending}"):
        sqlite_file.restore(tmp_path / "c.db", tmp_path / "new.db")
    assert not (tmp_path / "new.db").exists()


def damage(path: Path) -> None:
    """Overwrite pages in the middle of a database."""
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xa5" * 20_000)


def test_a_damaged_database_gives_no_copy(tmp_path: Path) -> None:
    """It is said, and no file with the wanted name is left that could be taken for a backup."""
    engine = store.open_store(f"sqlite:///{tmp_path}/c.db")
    add(engine, 500)
    engine.dispose()
    damage(tmp_path / "c.db")
    for act in (sqlite_file.back_up, sqlite_file.restore):
        with pytest.raises(BackupError, match="damaged"):
            act(tmp_path / "c.db", tmp_path / "copy.db")
    assert sorted(path.name for path in tmp_path.glob("*copy*")) == []


@pytest.mark.parametrize("content", [b"", b"a text file, as long as a page" * 200])
def test_what_is_no_collector_is_refused(tmp_path: Path, content: bytes) -> None:
    """An empty file and a foreign one."""
    (tmp_path / "c.db").write_bytes(content)
    with pytest.raises(BackupError, match=r"not_ours"):
        sqlite_file.restore(tmp_path / "c.db", tmp_path / "new.db")
    assert not (tmp_path / "new.db").exists()


SLOW = """
import sys, time
from pathlib import Path
from sigprobe.collector.backup import sqlite_file
sqlite_file._PAGES_A_STEP = 1
def slow(done, whole):
    print(done, flush=True)
    time.sleep(0.05)
sqlite_file.back_up(Path(sys.argv[1]), Path(sys.argv[2]), slow)
"""


@pytest.mark.process
def test_a_killed_backup_leaves_no_backup(tmp_path: Path) -> None:
    """Only a finished copy has its name, and the next attempt works."""
    engine = store.open_store(f"sqlite:///{tmp_path}/c.db")
    add(engine, 300)
    engine.dispose()
    command = [sys.executable, "-c", SLOW, str(tmp_path / "c.db"), str(tmp_path / "copy.db")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
    assert not (tmp_path / "copy.db").exists()
    assert sqlite_file.back_up(tmp_path / "c.db", tmp_path / "copy.db").results == 300


def test_the_commands(tmp_path: Path) -> None:
    """Backup and restore as they are typed; each refusal names the file and has exit code 1."""
    engine = store.open_store(f"sqlite:///{tmp_path}/c.db")
    names = add(engine, 7)
    engine.dispose()
    url, copy, new = f"sqlite:///{tmp_path}/c.db", str(tmp_path / "copy.db"), f"sqlite:///{tmp_path}/new.db"
    done = run("backup", copy, database=url)
    assert (done.returncode, "7 results" in done.stdout) == (0, True), done.stdout + done.stderr
    again = run("backup", copy, database=url)
    assert again.returncode == 1 and copy in again.stderr
    restored = run("restore", copy, "--json", database=new)
    assert restored.returncode == 0 and '"results": 7' in restored.stdout, restored.stdout + restored.stderr
    assert ids_in(tmp_path / "new.db") == set(names)
    assert run("restore", copy, database=new).returncode == 1
    assert run("restore", copy, "--until", "yesterday", database=new).returncode == 2
    missing = run("backup", copy + "2", database=f"sqlite:///{tmp_path}/absent.db")
    assert missing.returncode == 1 and not (tmp_path / "absent.db").exists()


def test_readers_begin_a_new_history(tmp_path: Path) -> None:
    """A restored copy gives numbers out again: its epoch is another one, even in the same place of the disk."""

    def epoch(path: Path) -> str | None:
        engine = store.open_store(f"sqlite:///{path}")
        try:
            with engine.connect() as connection:
                return epochs.current(connection)
        finally:
            engine.dispose()

    before = epoch(tmp_path / "c.db")
    assert before is not None and epoch(tmp_path / "c.db") == before, "the control: opening it again changes nothing"
    sqlite_file.back_up(tmp_path / "c.db", tmp_path / "copy.db")
    sqlite_file.restore(tmp_path / "copy.db", tmp_path / "new.db")
    assert epoch(tmp_path / "new.db") not in (before, None)
