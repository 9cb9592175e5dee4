"""Promise 9: a corrupt, foreign or truncated buffer never stops collection, and no altered row is handed out."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

from harness import Trial, hold
from records import record

from sigprobe.buffer import Buffer, State, Verdicts
from sigprobe.result import Result


def _queue(path: Path, rng: random.Random) -> tuple[dict[str, bytes], set[str]]:
    """A queue with records of all sizes and fates, copied while it is open so that its -wal is there.

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
    """Do to the files what the field does; returns what was done."""
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
    """Open, store the next check, look at everything that would be sent."""
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


def test_corruption_never_stops_collection(tmp_path: Path, trial: Callable[..., Trial]) -> None:
    """Files flipped, torn, cut, without -wal, empty, foreign: the next check is stored, no altered row is sent."""
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
    with t.expect_failure("altered"):
        _altered_row_control(tmp_path / "control" / "b.db", t.random)
    t.report(set_aside=set_aside, salvaged=saved, pending_before=waiting, pending_after=there)


def _altered_row_control(path: Path, rng: random.Random) -> None:
    """The same look without the digest: a bit flipped inside a line, which SQLite cannot see, would be sent."""
    path.parent.mkdir()
    lines, _ = _queue(path, rng)
    with Buffer(path) as buffer:
        buffer._file.fold()
    raw = bytearray(path.read_bytes())
    at = raw.rfind(b'"tps_id":"3273011001005"')
    raw[at + 12] ^= 1
    path.write_bytes(raw)
    _use(path, lines, "one bit", verify=False)[0].close()
