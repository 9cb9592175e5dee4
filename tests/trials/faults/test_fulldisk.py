"""Promise 3: a full disk never corrupts and never drops silently, and acknowledgements still find room."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sigprobe.buffer import Buffer, DiskFullError, State, StorageError, Verdicts, reserve_file
from sigprobe.buffer.queue_file import QueueFile
from tests.support.records import record
from tests.support.taken_away import taken_away
from tests.trials.faults.trial import Trial, hold

COLLECTOR = "https://collector.example/"
SIZES = (10, 10, 400, 3000)
"""Round trips in a record: most are small, a few take pages of their own."""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Provide a file system of 2 MB."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "sigprobe-test", str(place)], check=True)
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def _fill(path: Path) -> None:
    """Use every free block."""
    with path.open("ab", buffering=0) as file:
        for size in (65536, 4096):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


def _empty(disk: Path) -> None:
    """Delete every file."""
    for path in disk.rglob("*"):
        if path.is_file():
            path.unlink()


def _cycle(queue: Path, filler: Path, saved: set[str], acked: set[str], t: Trial, *, last_block: bool = False) -> int:
    """Put until the disk is full, acknowledge on the full disk, free it; returns how many puts were refused.

    With `last_block` every block that opening the queue has freed is taken, too, and all records are acknowledged.
    """
    refused = 0
    with Buffer(queue) as buffer:
        for _ in range(t.random.randrange(3, 40)):
            saved.add(buffer.put(record()).result.id)
        _fill(filler)
        for _ in range(3000):  # free pages of the file are used first
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
        if last_block:
            _fill(filler)
        batch = [row.id for row in other.peek(500 if last_block else t.random.randrange(1, 500), 1 << 22)]
        try:
            other.settle(Verdicts(acked=batch), COLLECTOR)
        except DiskFullError as error:
            hold(False, "ack-lost", str(error))
        acked.update(batch)
    filler.unlink()
    with Buffer(queue) as buffer:
        hold(not buffer.set_aside_now, "corrupt")
        stored = {row.id: row.state for row in buffer.rows()}
        # what is acknowledged may have made room for further acks
        lost = saved - acked - set(stored)
        hold(not lost, "lost", f"{len(lost)} of {len(saved)}")
        hold(all(stored.get(name, State.ACKED) is State.ACKED for name in acked), "ack-lost")
        hold(refused == 3, "never-full", f"refused {refused}")
        if buffer.stats().size_bytes > 900_000:  # room for the next cycle, as an upload and a week would make
            rest = [row.id for row in buffer.rows(State.PENDING)]
            buffer.settle(Verdicts(acked=rest), COLLECTOR)
            acked.update(rest)
            _a_week_later(buffer)
            left = {row.id for row in buffer.rows()}
            saved &= left
            acked &= left
    return refused


def _a_week_later(buffer: Buffer) -> None:
    buffer._now = lambda: time.time() + 30 * 86400
    while buffer.prune():
        pass


@pytest.mark.root
def test_full_disk_refuses_loudly(small_disk: Path, trial: Callable[..., Trial]) -> None:
    """A disk of 2 MB is filled and freed: every refusal is said, nothing is lost, every ack is kept."""
    t = trial(3, "full disk", short=8, full=200)
    _cycle(small_disk / "last" / "b.db", small_disk / "filler", set(), set(), t, last_block=True)
    _empty(small_disk)
    with t.expect_failure("ack-lost"), taken_away(reserve_file, "keep", lambda path: False):
        _cycle(small_disk / "control" / "b.db", small_disk / "filler", set(), set(), t, last_block=True)
    _empty(small_disk)
    saved: set[str] = set()
    acked: set[str] = set()
    refused = 0
    for _ in range(t.n):
        with t.attempt():
            refused += _cycle(small_disk / "q" / "b.db", small_disk / "filler", saved, acked, t)
        if not (small_disk / "q" / "b.db.ballast").exists():
            # the file does not shrink: on a disk that is its alone it has grown into the reserve file's place
            _empty(small_disk)
            saved.clear()
            acked.clear()
    t.report(refused=refused)


def _put_few(buffer: Buffer, count: int, saved: set[str], size: int) -> int:
    """Put so many records; returns how many were refused. Exactly the others are stored."""
    refused = 0
    for _ in range(count):
        result = record(rtts=size)
        try:
            buffer.put(result)
            saved.add(result.id)
        except DiskFullError:
            refused += 1
        hold((buffer.find(result.id) is not None) == (result.id in saved), "not-as-told")
    return refused


def _upload(queue: Path, saved: set[str], acked: set[str], most: int) -> None:
    """Upload pending records in another process, and store the answers."""
    with Buffer(queue) as other:
        hold(not other.set_aside_now, "corrupt")
        batch = [row.id for row in other.peek(most, 1 << 22)]
        hold(set(batch) <= saved - acked, "sent-again")
        try:
            other.settle(Verdicts(acked=batch), COLLECTOR)
        except DiskFullError as error:
            hold(False, "ack-lost", f"{len(batch)} of {len(saved - acked)}: {error}")
        acked.update(batch)


def _by_cron(queue: Path, filler: Path, t: Trial, *, backlog: int, agent: bool, sizes: tuple[int, ...] = SIZES) -> int:
    """On a full disk a new process for every few puts, uploads between, and with `agent` one that stays; in the end
    everything saved must be acknowledged. Returns how many were acknowledged."""
    saved: set[str] = set()
    acked: set[str] = set()
    refused = 0
    with Buffer(queue) as buffer:
        _put_few(buffer, backlog, saved, 5)
    with ExitStack() as stack:
        stays = stack.enter_context(Buffer(queue)) if agent else None
        _fill(filler)
        for _ in range(3):
            misses = 0
            for _ in range(200):
                with Buffer(queue) as buffer:
                    missed = _put_few(buffer, 4, saved, t.random.choice(sizes))
                if stays is not None:
                    missed += _put_few(stays, 2, saved, 10)
                refused += missed
                misses = misses + 1 if missed else 0
                if misses == 3:
                    break
            _upload(queue, saved, acked, t.random.randrange(1, 120))
        hold(refused >= 3, "never-full", f"refused {refused}")
        for _ in range(1000):
            if saved == acked:
                break
            _upload(queue, saved, acked, 1000)
        hold(saved == acked, "ack-lost", f"{len(saved - acked)} wait")
    filler.unlink()
    with Buffer(queue) as buffer:
        hold(not buffer.set_aside_now, "corrupt")
        # the oldest that the collector holds may have made room
        hold({row.state for row in buffer.rows()} == {State.ACKED}, "ack-lost")
        _a_week_later(buffer)
        hold(_put_few(buffer, 5, saved, 10) == 0, "full-for-ever", f"{reserve_file.room(queue.parent)} bytes left")
        left = reserve_file.room(queue.parent)
        hold(buffer._file.reserved or left < 2 * reserve_file.FILE_BYTES, "no-reserve-file", f"{left} bytes left")
    return len(acked)


@pytest.mark.root
def test_full_disk_and_cron(small_disk: Path, trial: Callable[..., Trial]) -> None:
    """Processes that come and go on a full disk leave the room that acknowledgements need: every record is acked."""
    t = trial(3, "full disk, a process a check", short=6, full=150)
    place, filler = small_disk / "q", small_disk / "filler"

    def clear() -> None:
        for path in [filler, *place.glob("*")]:
            path.unlink(missing_ok=True)

    with t.expect_failure("ack-lost"), taken_away(QueueFile, "hold_reserve", lambda self, size: None):
        # small records alone fill every page, so that no free one is left by chance
        _by_cron(place / "b.db", filler, t, backlog=100, agent=False, sizes=(10,))
    acked = 0
    for number in range(t.n):
        clear()
        with t.attempt():
            backlog = t.random.choice((1, 100, 700))
            acked += _by_cron(place / "b.db", filler, t, backlog=backlog, agent=number % 2 == 1)
    t.report(acked=acked)
