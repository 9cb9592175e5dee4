"""Promise 3: a full disk never corrupts and never drops silently, and acknowledgements still find room."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import Trial, hold
from records import record

from sigprobe.buffer import Buffer, DiskFullError, State, StorageError, Verdicts, ballast

COLLECTOR = "https://collector.example/"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB, made for this test and taken away after it."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "sigprobe-test", str(place)], check=True)
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def _fill(path: Path) -> None:
    """Take every block that is left."""
    with path.open("ab", buffering=0) as file:
        for size in (65536, 4096):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


def _cycle(queue: Path, filler: Path, saved: set[str], acked: set[str], t: Trial) -> int:
    """Put until the disk is full, acknowledge on the full disk, free it; returns how many puts were refused."""
    refused = 0
    with Buffer(queue) as buffer:
        for _ in range(t.random.randrange(3, 40)):
            saved.add(buffer.put(record()).result.id)
        _fill(filler)
        for _ in range(600):
            result = record()
            try:
                buffer.put(result)
                saved.add(result.id)
            except DiskFullError:
                refused += 1
                hold(buffer.find(result.id) is None, "refused-but-there")
                if refused == 3:
                    break
            except StorageError as error:
                hold(False, "wrong-error", str(error))
    # another process opens the full disk, sends what waits, and must be able to keep the answer
    with Buffer(queue) as other:
        hold(not other.set_aside_now, "corrupt")
        batch = [row.id for row in other.peek(t.random.randrange(1, 500), 1 << 22)]
        try:
            other.settle(Verdicts(acked=batch), COLLECTOR)
        except DiskFullError as error:
            hold(False, "ack-lost", str(error))
        acked.update(batch)
    filler.unlink()
    with Buffer(queue) as buffer:
        hold(not buffer.set_aside_now, "corrupt")
        stored = {row.id: row.state for row in buffer.rows()}
        hold(saved <= set(stored), "lost", f"{len(saved - set(stored))} of {len(saved)}")
        hold(all(stored[name] is State.ACKED for name in acked), "ack-lost")
        hold(refused == 3, "never-full", f"refused {refused}")
        if buffer.stats().size_bytes > 900_000:  # room for the next cycle, as an upload and a week would make
            rest = [row.id for row in buffer.rows(State.PENDING)]
            buffer.settle(Verdicts(acked=rest), COLLECTOR)
            buffer._now = lambda: __import__("time").time() + 30 * 86400
            while buffer.prune():
                pass
            left = {row.id for row in buffer.rows()}
            saved &= left
            acked &= left
    return refused


@pytest.mark.root
def test_full_disk_refuses_loudly(small_disk: Path, trial: Callable[..., Trial]) -> None:
    """A disk of 2 MB is filled and freed: every refusal is said, nothing is lost, every ack is kept."""
    t = trial(3, "full disk", short=8, full=200)
    with t.expect_failure("ack-lost"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(ballast, "keep", lambda path: False)
        for number in range(20):
            home = small_disk / f"control{number}"
            _cycle(home / "b.db", small_disk / "filler", set(), set(), t)
    for path in [small_disk / "filler", *small_disk.glob("control*/*")]:
        path.unlink(missing_ok=True)
    saved: set[str] = set()
    acked: set[str] = set()
    refused = 0
    for _ in range(t.n):
        with t.attempt():
            refused += _cycle(small_disk / "q" / "b.db", small_disk / "filler", saved, acked, t)
    t.report(refused=refused)
