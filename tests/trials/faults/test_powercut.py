"""Promise 2: a check that was shown as saved survives a power cut, on a disk that honours flush."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

from sigprobe.buffer import Buffer, JournalMode, StorageError, Verdicts
from tests.support.records import record
from tests.trials.faults.trial import Trial, hold
from tests.trials.faults.unsynced_disk import PowerCutError, UnsyncedDisk

JOURNAL_MODES = (JournalMode("wal", "FULL", "fixed-sqlite"), JournalMode("truncate", "EXTRA", "old-sqlite"))
_names = count()


def _work(buffer: Buffer, rng: random.Random, told: list[str], acked: list[str], stop_after: int | None) -> None:
    """Put, settle and fold until the power goes, or until this many records are stored."""
    while stop_after is None or len(told) < stop_after:
        result = record(rng=rng, rtts=rng.choice((0, 10, 10, 1500)))
        buffer.put(result)
        told.append(result.id)
        if rng.random() < 0.1:
            names = [row.id for row in buffer.peek(rng.randrange(1, 20), 1 << 22)]
            buffer.settle(Verdicts(acked=names), "https://collector.example/")
            acked += names
        if rng.random() < 0.05:
            buffer._file.fold()


def _cut_once(
    directory: Path,
    rng: random.Random,
    journal: JournalMode,
    *,
    synchronous: bool = True,
    after_records: int | None = None,
) -> tuple[int, bool]:
    """Work on a disk whose power goes; check what was reported as stored, and return how much that was.

    The cut falls on a random operation, or with `after_records` right after that many records were stored.
    """
    before, after = directory / "before", directory / "after"
    before.mkdir(parents=True)
    after.mkdir()
    disk = UnsyncedDisk(f"unsynced-{next(_names)}", rng)
    told: list[str] = []
    acked: list[str] = []
    buffer = Buffer(before / "b.db", vfs=disk.name, journal=journal)
    try:
        if not synchronous:
            buffer._file._db.pragma("synchronous", "OFF")  # type: ignore[union-attr]
        if after_records is None:
            disk.cut_at = disk.operations + rng.randrange(1, 1500)
        with suppress(PowerCutError, StorageError):
            _work(buffer, rng, told, acked, after_records)
        if after_records is not None:
            disk.cut()
    finally:
        with suppress(PowerCutError, StorageError):
            buffer.close()
    hold(disk.image is not None, "nothing-tried")
    disk.restore(after)
    with Buffer(after / "b.db") as there:
        hold(there._file.set_aside_now is False, "corrupt", f"{journal.mode}")
        lost = [name for name in told if there.find(name) is None]
        hold(not lost, "lost", f"{len(lost)} of {len(told)}, {journal.mode}")
        unsettled = [name for name in acked if (row := there.find(name)) is None or row.state.name != "ACKED"]
        hold(not unsettled, "ack-lost", f"{len(unsettled)} of {len(acked)}")
        there.put(record())
    return len(told), bool(acked)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # apsw reports each VFS error twice
def test_power_cut_loses_nothing(tmp_path: Path, trial: Callable[..., Trial]) -> None:
    """Writes that were not flushed are dropped or torn at a random moment: every reported record and ack is there."""
    t = trial(2, "power cut while putting", short=16, full=1000)
    for journal in JOURNAL_MODES:
        home = tmp_path / journal.mode
        assert _cut_once(home / "on", t.random, journal, after_records=20)[0] == 20
        with t.expect_failure("lost"):  # the same cut, without flushes
            _cut_once(home / "off", t.random, journal, synchronous=False, after_records=20)
    records = 0
    for number in range(t.n):
        with t.attempt():
            records += _cut_once(tmp_path / str(number), t.random, JOURNAL_MODES[number % 2])[0]
    hold(records > t.n, "nothing-tried", f"{records} records")
    t.report(records=records)
