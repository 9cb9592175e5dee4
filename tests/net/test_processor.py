"""A device without processor time is told apart from a slow link."""

from __future__ import annotations

from pathlib import Path

import pytest

from sigprobe.net.processor import ProcessorWatch
from sigprobe.record.result import Processor


class Clock:
    """A clock that stands until it is set."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def thread(tasks: Path, name: str, waited_s: float, ran_s: float = 1.0) -> None:
    """Write what the kernel counts for one thread."""
    (tasks / name).mkdir(exist_ok=True)
    (tasks / name / "schedstat").write_text(f"{int(ran_s * 1e9)} {int(waited_s * 1e9)} 7\n")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize(("waited_s", "busy"), [(0.1, False), (4.0, True)])
def test_the_thread_that_waits_longest_counts(tmp_path: Path, clock: Clock, waited_s: float, busy: bool) -> None:
    """Only what was waited since the mark counts, by the worst of all threads."""
    thread(tmp_path, "1", 50.0)
    thread(tmp_path, "2", 0.0)
    watch = ProcessorWatch(clock, tmp_path)
    mark = watch.mark()
    thread(tmp_path, "2", waited_s)
    clock.now += 10
    seen = watch.since(mark)
    assert seen is not None
    assert (seen.busy, seen.wait_ratio) == (busy, waited_s / 10)


def test_a_thread_that_began_and_ended_meanwhile(tmp_path: Path, clock: Clock) -> None:
    """A thread counts from its first sight, and after its end with what it had waited."""
    watch = ProcessorWatch(clock, tmp_path)
    mark = watch.mark()
    thread(tmp_path, "9", 1.0)
    watch.mark()
    thread(tmp_path, "9", 6.0)
    watch.mark()
    (tmp_path / "9" / "schedstat").unlink()
    clock.now += 10
    seen = watch.since(mark)
    assert seen is not None
    assert (seen.busy, seen.wait_ratio) == (True, 0.5)


def test_where_nothing_is_counted(tmp_path: Path, clock: Clock) -> None:
    """Without the kernel's numbers the ratio is unknown, not 0; a moment is too short for any."""
    watch = ProcessorWatch(clock, tmp_path / "none")
    mark = watch.mark()
    clock.now += 0.1
    assert watch.since(mark) is None
    clock.now += 10_000
    seen = watch.since(mark)
    assert isinstance(seen, Processor)
    assert (seen.busy, seen.wait_ratio, seen.wake_late_ms) == (False, None, None)


def test_a_thread_that_sleeps_is_watched() -> None:
    """The watch counts its own wakes, and ends with its context."""
    with ProcessorWatch() as watch:
        mark = watch.mark()
        while (seen := watch.since(mark)) is None or seen.wake_late_ms is None:
            pass
    assert seen.wake_late_ms >= 0
    # this test runs all the time: what it did not use, it waited for
    assert seen.used_ratio is not None and seen.used_ratio + (seen.wait_ratio or 0) > 0.3
