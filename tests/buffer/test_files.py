"""What may lie where the queue's file should be, and what becomes of it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import apsw
import pytest

from sigprobe.buffer import (
    Buffer,
    DiskFullError,
    JournalMode,
    State,
    StorageError,
    Verdicts,
    durability,
    identity,
    quarantine,
    reserve_file,
    schema,
)
from sigprobe.buffer.lock import FileLock
from sigprobe.buffer.page_recovery import PageRecovery
from tests.support.records import record
from tests.support.requirements import ROOT

COLLECTOR = "https://collector.example/"


def fill(path: Path, count: int = 30) -> list[str]:
    """A queue with some records, a third of them acknowledged; its -wal is left as a kill leaves it."""
    live = path.parent / "live"
    with Buffer(live / path.name) as buffer:
        names = [buffer.put(record()).result.id for _ in range(count)]
        buffer.settle(Verdicts(acked=names[: count // 3]), COLLECTOR)
        for suffix in ("", "-wal"):
            shutil.copy(live / f"{path.name}{suffix}", f"{path}{suffix}")
    shutil.rmtree(live)
    return names


def everything(directory: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in directory.iterdir() if p.is_file()}


def test_what_a_kill_leaves_is_whole(tmp_path: Path) -> None:
    """The -wal that was never folded in is read, with its verdicts."""
    names = fill(tmp_path / "b.db")
    with Buffer(tmp_path / "b.db") as buffer:
        assert not buffer.set_aside_now
        assert [r.id for r in buffer.rows(State.PENDING)] == names[10:]


@pytest.mark.parametrize("first", [0, 1, 2])
def test_records_are_recovered_without_root_pages(tmp_path: Path, first: int) -> None:
    """With header, schema and table roots gone, every record that lies elsewhere is saved, and its verdict with it."""
    path = tmp_path / "b.db"
    names = fill(path, 300)
    with Buffer(path) as buffer:
        buffer._file.fold()
    path.with_name("b.db-wal").unlink(missing_ok=True)
    raw = bytearray(path.read_bytes())
    raw[first * 4096 : 4 * 4096] = os.urandom((4 - first) * 4096)
    path.write_bytes(raw)
    with Buffer(path) as buffer:
        assert buffer.set_aside_now
        assert len(buffer.stats().set_aside_files) == 1
        saved = {r.id: r.state for r in buffer.rows()}
        assert len(saved) == buffer.salvaged >= 290
        assert set(saved) <= set(names)
        assert sum(1 for n in names[:100] if saved.get(n) is State.ACKED) >= 90
        assert not [n for n in names[100:] if saved.get(n, State.PENDING) is not State.PENDING]


def test_long_lines_are_recovered_from_overflow_pages(tmp_path: Path) -> None:
    """A line that goes on in other pages is put together again, out of the -wal as out of the file."""
    path = tmp_path / "b.db"
    with Buffer(path) as buffer:
        names = [buffer.put(record(rtts=n)).result.id for n in (300, 450, 500, 900, 3000, 5000)]
        for _ in range(2):
            with PageRecovery(path) as recovery:
                assert {found.id for found in recovery.records()} == set(names)
            buffer._file.fold()


def test_salvage_goes_on_after_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut short at any point, salvage is done by the next opening; done twice it changes nothing."""
    path = tmp_path / "b.db"
    names = fill(path)
    raw = bytearray(path.read_bytes())
    raw[:100] = bytes(100)
    path.write_bytes(raw)
    with monkeypatch.context() as patch:
        patch.setattr("sigprobe.buffer.salvage._take", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            Buffer(path)
    with Buffer(path) as buffer:
        assert sorted(r.id for r in buffer.rows()) == sorted(names)
        [aside] = buffer.stats().set_aside_files
        assert quarantine.unsaved(path) == []
        quarantine.mark(Path(aside)).touch()
    with Buffer(path) as buffer:
        assert buffer.salvaged == 0
        assert len(list(buffer.rows())) == 30


def test_two_queues_in_one_directory_do_not_mix(tmp_path: Path) -> None:
    """What was set aside from one queue is neither listed nor saved by another one beside it."""
    names = fill(tmp_path / "b.db")
    raw = bytearray((tmp_path / "b.db").read_bytes())
    raw[:100] = bytes(100)
    (tmp_path / "b.db").write_bytes(raw)
    quarantine.set_aside(tmp_path / "b.db", "by the test", "2029-02-14T07:05:01.123Z")
    with Buffer(tmp_path / "b-2.db") as other:
        assert other.stats().set_aside_files == ()
        assert other.salvaged == 0
    with Buffer(tmp_path / "b.db") as buffer:
        assert {r.id for r in buffer.rows()} == set(names)


def test_foreign_files_are_set_aside_unread(tmp_path: Path) -> None:
    """A text file and another application's database are kept whole in quarantine; collection goes on."""
    path = tmp_path / "b.db"
    path.write_text("my shopping list\n" * 50)
    with Buffer(path) as buffer:
        buffer.put(record())
        [aside] = buffer.stats().set_aside_files
        assert Path(aside).read_text().startswith("my shopping list")
    path.unlink()
    for name, application in (("other", 0x0F055112), ("plain", 0)):
        path = tmp_path / name / "b.db"
        path.parent.mkdir()
        db = sqlite3.connect(path)
        db.execute(f"PRAGMA application_id = {application}")
        db.execute("CREATE TABLE theirs (x)")
        db.commit()
        db.close()
        before = path.read_bytes()
        with Buffer(path) as buffer:
            buffer.put(record())
            assert buffer.salvaged == 0
            [aside] = buffer.stats().set_aside_files
            assert Path(aside).read_bytes() == before


@pytest.mark.parametrize("folded", [True, False])
def test_newer_version_is_left_byte_for_byte(tmp_path: Path, folded: bool) -> None:
    """A newer queue stays untouched, even when only its -wal says that it is newer; ours lies beside it."""
    path = tmp_path / "b.db"
    fill(path)
    db = apsw.Connection(str(path))
    db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    db.pragma("user_version", schema.VERSION + 1)
    if folded:
        db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    db.close()
    path.with_name("b.db-shm").unlink(missing_ok=True)
    mine = ("b.db", "b.db-wal")
    before = {name: data for name, data in everything(tmp_path).items() if name in mine}
    for count in (1, 2):
        with Buffer(path) as buffer:
            buffer.put(record())
            assert buffer.path == tmp_path / "b.v1.db"
            assert buffer.stats().newer_files == (str(path),)
            assert buffer.pending() == count
    assert {name: data for name, data in everything(tmp_path).items() if name in mine} == before


@pytest.mark.parametrize("version", [schema.HIGHEST_VERSION + 1, 0x20202021, -1])
@pytest.mark.parametrize("folded", [True, False])
def test_a_version_that_none_can_have_is_damage(tmp_path: Path, version: int, folded: bool) -> None:
    """A header with flipped bits must not pass for a newer file, whose records nobody here would ever send."""
    path = tmp_path / "b.db"
    names = fill(path)
    db = apsw.Connection(str(path))
    db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    db.pragma("user_version", version)
    if folded:
        db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    db.close()
    with Buffer(path) as buffer:
        assert buffer.path == path
        assert [r.id for r in buffer.rows()] == names
        assert len(buffer.stats().set_aside_files) == 1


def test_after_an_upgrade_the_kept_file_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an older version queued beside a newer file is in the queue once that file can be read, states and all."""
    path = tmp_path / "b.db"
    theirs = fill(path)
    db = apsw.Connection(str(path))
    db.pragma("user_version", schema.VERSION + 1)
    db.close()
    old = Buffer(path)
    acked, waiting, late = record(), record(), record()
    for one in (acked, waiting):
        old.put(one)
    old.settle(Verdicts(acked=[acked.id]), "collector")
    kept = tmp_path / "b.v1.db"
    assert kept.exists()

    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, "SELECT 1"))
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    with Buffer(path) as new:
        assert new.path == path
        found = {row.id: row.state for row in new.rows()}
        acks = dict.fromkeys((*theirs[:10], acked.id), State.ACKED)
        assert found == dict.fromkeys((*theirs[10:], waiting.id), State.PENDING) | acks
        assert new.stats().set_aside_files == ()  # nothing about it is broken
        assert not kept.exists()
        assert [p.suffix for p in (tmp_path / "quarantine").glob("*.taken")] == [".taken"]
        assert not list((tmp_path / "quarantine").glob("*.unsaved"))
    with old:  # a process that was there all the time loses nothing either
        old.put(late)
    with Buffer(path) as new:
        assert {row.id for row in new.rows()} == {*found, late.id}


@pytest.mark.parametrize("left", ["", "gone"])
def test_a_wal_without_its_database_is_not_thrown_away(tmp_path: Path, left: str) -> None:
    """SQLite deletes a -wal beside an empty database; its records are recovered from it instead."""
    path = tmp_path / "b.db"
    names = fill(path)
    path.unlink()
    if not left:
        path.touch()
    with Buffer(path) as buffer:
        assert {r.id for r in buffer.rows()} == set(names)


def test_empty_file_is_a_fresh_queue(tmp_path: Path) -> None:
    """An empty file is used as it is."""
    (tmp_path / "b.db").touch()
    with Buffer(tmp_path / "b.db") as buffer:
        buffer.put(record())
        assert not buffer.set_aside_now


def test_what_is_no_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    """A directory or a pipe where the file should be is a mistake of the settings, not something to move away."""
    (tmp_path / "b.db").mkdir()
    os.mkfifo(tmp_path / "pipe.db")
    for name in ("b.db", "pipe.db"):
        with pytest.raises(StorageError, match="is not a file"):
            Buffer(tmp_path / name)
    assert (tmp_path / "b.db").is_dir()


def test_symbolic_link_is_followed_for_all_files(tmp_path: Path) -> None:
    """Two names of one queue share its -wal, its lock, its id and its quarantine."""
    real, link = tmp_path / "real", tmp_path / "link"
    link.mkdir()
    (link / "b.db").symlink_to(real / "b.db")
    with Buffer(link / "b.db") as one, Buffer(real / "b.db") as other:
        one.put(record())
        assert other.pending() == 1
        assert one.path == other.path == real / "b.db"
        assert one.probe_id == other.probe_id
    assert sorted(os.listdir(link)) == ["b.db"]
    (link / "loop.db").symlink_to(link / "loop.db")
    with pytest.raises(StorageError):
        Buffer(link / "loop.db")


def test_unwritable_quarantine_is_no_end(tmp_path: Path) -> None:
    """Where `quarantine/` cannot be made the broken file is set aside in the queue's own directory."""
    (tmp_path / "quarantine").write_text("a file of that name")
    (tmp_path / "b.db").write_bytes(b"x" * 5000)
    with Buffer(tmp_path / "b.db") as buffer:
        buffer.put(record())
        [aside] = buffer.stats().set_aside_files
        assert Path(aside).parent == tmp_path


@pytest.mark.root
@pytest.mark.parametrize("what", ["file", "directory"])
def test_read_only_is_a_storage_error(tmp_path: Path, what: str) -> None:
    """What cannot be written is said as such, and nothing is set aside for it."""
    home = tmp_path / "q"
    fill(home / "b.db") if home.mkdir() else None
    with Buffer(home / "b.db") as buffer:
        buffer.put(record())
    for path in (home, *home.iterdir()):
        os.chown(path, 65534, 65534)
    (home / "b.db" if what == "file" else home).chmod(0o400 if what == "file" else 0o500)
    for parent in (home, *home.parents):
        if parent == Path("/"):
            break
        parent.chmod(parent.stat().st_mode | 0o011)
    code = (
        "import os,sys; sys.path[:0]=[sys.argv[2]]\n"
        "from pathlib import Path\nfrom tests.support.records import record\n"
        "from sigprobe.buffer import Buffer, StorageError\n"
        "Buffer(Path(sys.argv[3])).put(record())\n"  # the interpreter may lie where only root can read
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try:\n    Buffer(Path(sys.argv[1])).put(record())\nexcept StorageError as e:\n    print('refused', e)\n"
    )
    command = [
        sys.executable,
        "-c",
        code,
        str(home / "b.db"),
        str(ROOT),
        str(tmp_path / "w" / "b.db"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith("refused"), done.stderr[-500:]
    home.chmod(0o700)
    assert not list(home.glob("quarantine/*"))


def test_a_reserve_file_that_will_not_close_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening and settling go on when the disk's last word about the reserve file is an error."""
    closed: list[int] = []

    def close(fd: int) -> None:
        os.close(fd)
        closed.append(fd)
        raise InterruptedError(4, "Interrupted system call")

    calls = SimpleNamespace(**{name: getattr(os, name) for name in dir(os) if not name.startswith("__")})
    calls.close = close
    monkeypatch.setattr(reserve_file, "os", calls)
    with Buffer(tmp_path / "b.db") as buffer:
        one = record()
        buffer.put(one)
        (tmp_path / "b.db.ballast").unlink()
        buffer.settle(Verdicts([one.id]), "https://c.example")
        assert buffer.stats().acked == 1
    assert len(closed) == 2


def test_folding_in_empties_the_wal(tmp_path: Path) -> None:
    """What lies in the -wal is in the file then, and its room is free."""
    with Buffer(tmp_path / "b.db") as buffer:
        buffer.put(record())
        assert (tmp_path / "b.db-wal").stat().st_size > 0
        assert buffer._file.fold()
        assert (tmp_path / "b.db-wal").stat().st_size == 0


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_rights_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    """Personal: 0600 for every file. System (2770): 0660 for every file, the quarantine open to the group."""
    (tmp_path / "system").mkdir()
    (tmp_path / "system").chmod(0o2770)
    (tmp_path / "personal").mkdir()
    old = os.umask(umask)
    try:
        for name, wanted in (("system", 0o660), ("personal", 0o600)):
            path = tmp_path / name / "b.db"
            path.write_bytes(b"broken" * 1000)
            with Buffer(path) as buffer:
                buffer.put(record())
                found = {p.name: stat.S_IMODE(p.stat().st_mode) for p in path.parent.iterdir() if p.is_file()}
                assert {"b.db", "b.db-wal", "b.db-shm", "probe-id", "b.db.lock", "b.db.ballast"} <= set(found)
                assert set(found.values()) == {wanted}, found
            home = stat.S_IMODE((path.parent / "quarantine").stat().st_mode)
            assert home == (0o2770 if name == "system" else 0o700)
    finally:
        os.umask(old)


def test_probe_id_damaged_and_shared(tmp_path: Path) -> None:
    """A torn `probe-id` is put beside and replaced; a sound one stays for good."""
    with Buffer(tmp_path / "b.db") as buffer:
        first = buffer.probe_id
    (tmp_path / "probe-id").write_bytes(b"\x00" * 37)
    with Buffer(tmp_path / "b.db") as buffer:
        second = buffer.probe_id
    with Buffer(tmp_path / "other.db") as buffer:
        assert buffer.probe_id == second != first
    assert (tmp_path / "probe-id.damaged").exists()


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "9p", "fuse.sshfs", "fuse", "drvfs"])
def test_no_shared_memory_no_wal(tmp_path: Path, kind: str) -> None:
    """On file systems without shared memory the rollback journal serves, and stores."""
    journal = durability.choose_journal_mode(tmp_path / "b.db", file_system=kind)
    assert journal == JournalMode("truncate", "EXTRA", "network-file-system")
    with Buffer(tmp_path / "b.db", journal=journal) as buffer:
        buffer.put(record())
        assert buffer.journal == journal
        assert not (tmp_path / "b.db-wal").exists()


def test_guard_by_version_and_file_system(tmp_path: Path) -> None:
    """Old SQLite: rollback journal. Local file systems: WAL. A file changes its journal when the mode changes."""
    assert durability.choose_journal_mode(tmp_path / "b.db", fixed=False, file_system="ext4").reason == "old-sqlite"
    assert durability.choose_journal_mode(tmp_path / "b.db", fixed=True, file_system="ext4").mode == "wal"
    versions = {"3.40.1": False, "3.44.6": True, "3.50.7": True, "3.51.2": False, "3.51.3": True, "3.54.0": True}
    assert {v: durability.sqlite_is_fixed(v) for v in versions} == versions
    for journal in (JournalMode("truncate", "EXTRA", "old-sqlite"), JournalMode("wal", "FULL", "fixed-sqlite")) * 2:
        with Buffer(tmp_path / "b.db", journal=journal) as buffer:
            buffer.put(record())
            assert buffer.journal == journal
    with Buffer(tmp_path / "b.db") as buffer:
        assert buffer.pending() == 4


def test_mounts_are_read_with_their_escapes(tmp_path: Path) -> None:
    """A mount point with a space in it is found, and the innermost mount counts."""
    mounts = tmp_path / "mounts"
    shown = str(tmp_path).replace(" ", "\\040")
    mounts.write_text(f"a / ext4 rw 0 0\nb {shown}/a\\040stick fuse.sshfs rw 0 0\nbroken\n")
    assert durability.file_system_of(tmp_path / "a stick" / "b.db", mounts) == "fuse.sshfs"
    assert durability.file_system_of(tmp_path / "b.db", mounts) == "ext4"
    assert durability.file_system_of(tmp_path, tmp_path / "none") is None


def test_a_lock_that_is_never_given_back_ends_in_an_error(tmp_path: Path) -> None:
    """No wait is without an end."""
    holder, waiter = FileLock(tmp_path / "l"), FileLock(tmp_path / "l", limit_s=0.05)
    holder.share()
    with pytest.raises(OSError, match="temporarily unavailable"), waiter.exclusive():
        pass
    holder.release()
    with waiter.exclusive():
        pass
    holder.close()
    waiter.close()


def test_errors_name_their_code() -> None:
    """Each refusal leads to its own sentence on the screen."""
    from sigprobe.buffer import BufferLimitError
    from sigprobe.words.codes import CODES

    assert {e.code for e in (StorageError, DiskFullError, BufferLimitError)} <= set(CODES)


def test_boot_id(tmp_path: Path) -> None:
    """The boot's UUID, the same each time; a file with anything else is not one."""
    path = tmp_path / "boot_id"
    path.write_text("DDDACF68-7809-439a-b914-9df946353884\n")
    assert identity.boot_id(path) == "dddacf68-7809-439a-b914-9df946353884"
    path.write_bytes(b"\xff\xfe")
    assert identity.boot_id(path) is None
    assert identity.boot_id(tmp_path / "gone") is None
