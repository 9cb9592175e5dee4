"""Promise 9: a corrupt, foreign, truncated or newer buffer never stops collection, and no altered row is handed out."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import apsw

from sigprobe.buffer import Buffer, State, Verdicts, schema
from sigprobe.record.result import Result
from tests.support.records import record
from tests.support.taken_away import taken_away
from tests.trials.faults.trial import Trial, hold


def _queue(path: Path, rng: random.Random) -> tuple[dict[str, bytes], set[str]]:
    """Return a queue with records of all sizes and states, copied while it is open so that its -wal is there.

    Returns every line by its id, and the ids that are not acknowledged.
    """
    lines: dict[str, bytes] = {}
    live = path.parent / "live"
    with Buffer(live / "b.db") as buffer:
        for _ in range(rng.choice((20, 60, 120))):
            stored = buffer.put(record(rng=rng, rtts=rng.choice((0, 10, 10, 10, 900, 3000))))
            lines[stored.result.id] = stored.line
        names = list(lines)
        acked = set(names[: rng.randrange(len(names))])
        buffer.settle(Verdicts(acked=sorted(acked)), "https://collector.example/")
        if rng.random() < 0.5:
            buffer._file.fold()
            for _ in range(10):
                stored = buffer.put(record(rng=rng))
                lines[stored.result.id] = stored.line
        for suffix in ("", "-wal"):
            shutil.copy(live / f"b.db{suffix}", f"{path}{suffix}")
    shutil.rmtree(live)
    return lines, set(lines) - acked


def _spoil(path: Path, rng: random.Random) -> str:
    """Damage the files as happens in the field; returns the kind of damage."""
    file = rng.choice([path, path.with_name(path.name + "-wal")])
    raw = bytearray(file.read_bytes())
    how = rng.choice(["flip", "flips", "burst", "truncate", "no-wal", "empty", "zeros", "text", "head"])
    if how == "flip":
        raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
    elif how == "flips":
        for _ in range(rng.randrange(2, 200)):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
    elif how == "burst":
        at = rng.randrange(len(raw))
        raw[at : at + 4096] = rng.randbytes(len(raw[at : at + 4096]))
    elif how == "truncate":
        del raw[rng.randrange(len(raw)) :]
    elif how == "zeros":
        at = rng.randrange(len(raw)) // 4096 * 4096
        raw[at : at + 8192] = bytes(len(raw[at : at + 8192]))
    elif how == "text":
        raw = bytearray(b"this is no database\n" * 100)
    elif how == "head":
        raw[:4096] = rng.randbytes(4096)
    elif how == "empty":
        raw.clear()
    if how == "no-wal":
        path.with_name(path.name + "-wal").unlink()
        return how
    file.write_bytes(raw)
    return f"{how} {file.name}"


def _use(path: Path, lines: dict[str, bytes], what: str, *, verify: bool = True) -> tuple[Buffer, Result]:
    """Open the queue, store the next check, and check everything that would be sent."""
    buffer = Buffer(path)
    fresh = record()
    buffer.put(fresh)
    handed: dict[str, bytes] = {}
    skip: set[int] = set()
    while page := buffer.peek(50, 1 << 22, skip):
        for row in page:
            handed[row.id] = row.line
            skip.add(row.pos)
    if not verify:  # the control: what a queue that believes its file would send
        handed |= {row.id: row.line for row in buffer.rows(State.PENDING, State.DAMAGED)}
    hold(fresh.id in handed, "next-check-lost", what)
    del handed[fresh.id]
    for name, line in handed.items():
        hold(lines.get(name) == line, "altered", f"{what}: {name}")
    list(buffer.rows())
    buffer.stats()
    buffer.prune()
    return buffer, fresh


def _newer(path: Path, rng: random.Random) -> dict[str, bytes]:
    """Make a queue of a newer version, by its header or its -wal alone; returns its lines."""
    path.parent.mkdir()
    lines, _ = _queue(path, rng)
    db = apsw.Connection(str(path))
    db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    db.pragma("user_version", rng.randrange(schema.VERSION + 1, schema.HIGHEST_VERSION))
    if rng.random() < 0.5:
        db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    db.close()
    path.with_name(path.name + "-shm").unlink(missing_ok=True)
    return lines


def _use_beside(path: Path, lines: dict[str, bytes]) -> None:
    """Hold that collection continues beside a newer file, which stays unchanged byte for byte and is reported."""
    theirs = (path, path.with_name(path.name + "-wal"))
    before = [file.read_bytes() for file in theirs]
    mine: dict[str, bytes] = {}
    for _ in range(2):
        buffer, fresh = _use(path, lines | mine, "newer")
        with buffer:
            hold([file.read_bytes() if file.exists() else None for file in theirs] == before, "newer-touched")
            hold(buffer.path != path and buffer.stats().newer_files == (str(path),), "newer-not-named")
            mine[fresh.id] = b"".join(row.line for row in buffer.rows() if row.id == fresh.id)
            hold({row.id: row.line for row in buffer.rows()} == mine, "newer-mixed")


def test_corruption_never_stops_collection(tmp_path: Path, trial: Callable[..., Trial]) -> None:
    """Files flipped, torn, cut, without -wal, empty, foreign, newer: the next check is stored, no other bytes sent."""
    t = trial(9, "corrupt and foreign files", short=20, full=200)
    set_aside = saved = waiting = there = 0
    for number in range(t.n):
        path = tmp_path / f"{number}" / "b.db"
        path.parent.mkdir()
        lines, pending = _queue(path, t.random)
        what = _spoil(path, t.random)
        with t.attempt():
            buffer, _ = _use(path, lines, what)
            with buffer:
                set_aside += buffer.set_aside_now
                saved += buffer.salvaged
                waiting += len(pending)
                there += sum(1 for row in buffer.rows(State.PENDING) if row.id in pending)
            with Buffer(path) as again:
                hold(not again.set_aside_now, "corrupt-again", what)
        shutil.rmtree(path.parent)
    newer = max(4, t.n // 10)
    for number in range(newer):
        path = tmp_path / f"newer{number}" / "b.db"
        lines = _newer(path, t.random)
        with t.attempt():
            _use_beside(path, lines)
        shutil.rmtree(path.parent)
    path = tmp_path / "newer-control" / "b.db"
    lines = _newer(path, t.random)
    steps = ("SELECT 1",) * schema.HIGHEST_VERSION
    # a queue that takes every version for one that it knows; VERSION is made of MIGRATIONS, so both are replaced
    with (
        t.expect_failure("newer-touched"),
        taken_away(schema, "VERSION", schema.HIGHEST_VERSION),
        taken_away(schema, "MIGRATIONS", steps, copied_by=(schema.__name__,)),
    ):
        _use_beside(path, lines)
    with t.expect_failure("altered"):
        _altered_row_control(tmp_path / "control" / "b.db", t.random)
    t.report(newer=newer, set_aside=set_aside, salvaged=saved, pending_before=waiting, pending_after=there)


def _altered_row_control(path: Path, rng: random.Random) -> None:
    """Run the same check without the digest: a flipped bit inside a line, which SQLite cannot see, would be sent."""
    path.parent.mkdir()
    lines, _ = _queue(path, rng)
    with Buffer(path) as buffer:
        buffer._file.fold()
    raw = bytearray(path.read_bytes())
    at = raw.rfind(b'"tps_id":"3273011001005"')
    raw[at + 12] ^= 1
    path.write_bytes(raw)
    _use(path, lines, "one bit", verify=False)[0].close()
