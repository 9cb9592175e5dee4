"""A PostgreSQL backup, and restores of it to its end and to a point in time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from sigprobe.collector import store
from sigprobe.collector.backup import postgresql_server
from sigprobe.collector.backup.copy import BackupError
from tests.collector.backup.test_sqlite_file import add
from tests.support.collector_process import run
from tests.support.postgres import Postgres

pytestmark = pytest.mark.process


class Archiving(Postgres):
    """A server that archives its WAL beside itself."""

    def __init__(self) -> None:
        super().__init__()
        self.archive = self.dir / "archive"
        self.run("psql", "--version")
        self.archive.mkdir()
        if self.user is not None:
            import os

            os.chown(self.archive, self.user.pw_uid, self.user.pw_gid)
        with (self.dir / "data" / "postgresql.conf").open("a") as file:
            file.write(f"archive_mode = on\narchive_command = 'cp %p {self.archive}/%f'\n")


@pytest.fixture
def server() -> Iterator[Archiving]:
    found = Archiving()
    try:
        found.start()
        yield found
    finally:
        found.close()


def wait_archived(server: Archiving, url: str) -> None:
    """Finish the present WAL file and wait until it is in the archive."""
    engine = store.open_store(url)
    with engine.begin() as connection:
        name = connection.scalar(text("SELECT pg_walfile_name(pg_switch_wal())"))
    engine.dispose()
    end = time.monotonic() + 60
    while not (server.archive / str(name)).exists():
        assert time.monotonic() < end, sorted(path.name for path in server.archive.iterdir())
        time.sleep(0.1)


def held(server: Postgres, data: Path, database: str) -> set[str]:
    """Start a restored data directory as its own server, and read its ids."""
    former = server.dir / "former"
    server.stop()
    (server.dir / "data").rename(former)
    data.rename(server.dir / "data")
    server.start()
    engine = store.open_store(f"postgresql://sigprobe@/{database}?host={server.dir}")
    with engine.connect() as connection:
        found = {str(row.id) for row in connection.execute(text("SELECT id FROM results"))}
    engine.dispose()
    return found


@pytest.mark.process
def test_restore_to_a_point_in_time(server: Archiving) -> None:
    """All that was acknowledged before that time is there, and nothing that came after it."""
    url = server.new_database()
    engine = store.open_store(url)
    early = add(engine, 20)
    made = run("backup", str(server.dir / "copy"), database=url)
    assert made.returncode == 0 and "20 results" in made.stdout, made.stdout + made.stderr
    later = add(engine, 30, first=100)
    with engine.connect() as connection:
        point: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    time.sleep(0.05)
    wrong = add(engine, 40, first=200)
    engine.dispose()
    wait_archived(server, url)
    place = server.dir / "restored"
    done = run(
        "restore", str(server.dir / "copy"), "--into", str(place), "--wal", str(server.archive),
        "--until", point.isoformat(), database=url,
    )  # fmt: skip
    assert done.returncode == 0 and "50 results" in done.stdout, done.stdout + done.stderr
    assert not (place / "recovery.signal").exists()
    assert "recovery_target_time" not in (place / "postgresql.auto.conf").read_text()
    found = held(server, place, "t1")
    assert set(early) | set(later) == found
    assert not found & set(wrong), "the control: these were stored, after the point"


@pytest.mark.process
def test_restore_to_the_end_of_the_archive(server: Archiving) -> None:
    """Without a time, everything in the archive is replayed; without an archive, the backup alone."""
    url = server.new_database()
    engine = store.open_store(url)
    early = add(engine, 5)
    copy = postgresql_server.back_up(url, server.dir / "copy")
    assert copy.results == 5
    later = add(engine, 6, first=100)
    engine.dispose()
    wait_archived(server, url)
    goal = postgresql_server.goal_of(url)
    alone = postgresql_server.restore(server.dir / "copy", server.dir / "alone", goal)
    assert alone.results == 5
    goal = postgresql_server.goal_of(url, wal=server.archive)
    place = server.dir / "restored"
    assert postgresql_server.restore(server.dir / "copy", place, goal).results == 11
    assert held(server, place, "t1") == set(early) | set(later)


@pytest.mark.process
def test_what_cannot_be_restored(server: Archiving) -> None:
    """A time after the archive's end, one before the backup, a damaged backup, a used folder: said, nothing left."""
    url = server.new_database()
    engine = store.open_store(url)
    add(engine, 5)
    engine.dispose()  # the end of a session drops its temporary table, which is a commit too
    postgresql_server.back_up(url, server.dir / "copy")
    wait_archived(server, url)
    place = server.dir / "restored"
    for year in (2020, 2087):
        until = datetime.fromisoformat(f"{year}-01-01T00:00:00+07:00")
        goal = postgresql_server.goal_of(url, wal=server.archive, until=until)
        with pytest.raises(BackupError, match=r"replay: .*recovery"):
            postgresql_server.restore(server.dir / "copy", place, goal)
        assert not place.exists()
    goal = postgresql_server.goal_of(url)
    place.mkdir()
    (place / "precious").touch()
    with pytest.raises(BackupError, match="exists"):
        postgresql_server.restore(server.dir / "copy", place, goal)
    with pytest.raises(BackupError, match="exists"):
        postgresql_server.back_up(url, place)
    table = max((server.dir / "copy" / "base").rglob("*"), key=lambda path: path.stat().st_size)
    with table.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xa5" * 100)
    with pytest.raises(BackupError, match="damaged"):
        postgresql_server.restore(server.dir / "copy", server.dir / "other", goal)
    assert not (server.dir / "other").exists()


def test_a_password_stays_out_of_the_command_line() -> None:
    """`ps` shows every argument to all users of the machine."""
    address, secrets = postgresql_server._without_password("postgresql://u:s3cret@h1,h2/d?sslmode=require")
    assert "s3cret" not in address and secrets == {"PGPASSWORD": "s3cret"}
    assert "h1,h2" in address and "sslmode=require" in address
