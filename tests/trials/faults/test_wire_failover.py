"""Promise 16: a dead collector means the next one, within 60 s, and back to the first when it lives."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from sigprobe.buffer import Buffer
from sigprobe.upload import Backoff, Collector, Mode, Report, Upload, post
from tests.trials.faults.cutting_proxy import SIDES, Cut, Proxy, only
from tests.trials.faults.fault_site import Site, fill, queue
from tests.trials.faults.trial import Trial, hold

WITHIN_S: Final = 60.0
FASTER: Final = 10.0
"""Where a silent collector must be waited for, the drain's time runs this much faster than ours."""


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Site]]:
    """Provide two running collectors, each with its database."""
    folder = tmp_path_factory.mktemp("sites")
    with Site(folder / "first") as first, Site(folder / "second") as second:
        yield first, second


class Clock:
    """A wall clock that can be advanced: minutes of backoff pass without waiting."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s


def drain_within(
    buffer: Buffer, collectors: list[Collector], mode: Mode, clock: Clock, speed: float = 1.0
) -> tuple[Report, float]:
    """Upload as often as cron would, until nothing is pending or `WITHIN_S` of the upload's clock are over."""

    def scaled() -> float:
        return time.monotonic() * speed

    def send(channel: Any, url: str, body: bytes, headers: Any, timeout_s: float, *rest: Any) -> Any:
        return post(channel, url, body, headers, timeout_s / speed, *rest)

    started = scaled()
    while True:
        backoff = Backoff(buffer.path.with_name("backoff.json"), now=clock)
        report = Upload(buffer, collectors, backoff, mode, clock=scaled, send=send, now=clock).run()
        took = scaled() - started
        hold(took <= WITHIN_S, "too-late", f"{took:.0f} s, {report}")
        if not buffer.pending():
            return report, took
        hold(len(collectors) > 1 or took < WITHIN_S / 4, "stuck", str(report))
        time.sleep(0.05)
        clock.ahead_s += 1.0


def hold_each_once(ids: list[str], first: Counter[str], second: Counter[str]) -> None:
    """Hold that no collector has an id twice and that together they have all. Both may have the same record."""
    for stored in (first, second):
        twice = [name for name, times in stored.items() if times > 1]
        hold(not twice, "duplicate", f"{len(twice)}")
    missing = [name for name in ids if name not in first and name not in second]
    hold(not missing, "lost", f"{len(missing)} of {len(ids)}")


@pytest.mark.parametrize("mode", [Mode.TYPED, Mode.QUIET])
def test_the_first_dies_in_the_middle_of_a_batch(
    trial: Callable[..., Trial], sites: tuple[Site, Site], tmp_path: Path, mode: Mode
) -> None:
    """SIGKILL while a batch is on its way: the second takes over, and the first is used again once it is back."""
    run = trial(16, f"first collector killed, {mode.value}", short=1, full=100)
    first, second = sites
    clock = Clock()
    slowest = 0.0
    ids: list[str] = []
    with queue(tmp_path / "queue") as buffer, Proxy(first.port, on_cut=first.kill) as proxy:
        collectors = [Collector(proxy.url, first.token), Collector(second.url, second.token)]
        for _ in range(run.n):
            where = Cut(run.random.choice(SIDES), share=run.random.random())
            proxy.plan = only(proxy.exchanges + run.random.randint(0, 1), where)
            ids += fill(buffer, run.random.randint(250, 500), run.random)
            report, took = drain_within(buffer, collectors, mode, clock)
            hold(report.collector == second.url, "not-taken-over", str(report))
            slowest = max(slowest, took)
            first.start()
            clock.ahead_s += 900
            ids += fill(buffer, 5, run.random)
            report, _ = drain_within(buffer, collectors, mode, clock)
            hold(report.collector == proxy.url, "not-back", str(report))
        hold_each_once(ids, first.stored(), second.stored())
        first.kill()
        with run.expect_failure("stuck"):
            fill(buffer, 5, run.random)
            clock.ahead_s += 900
            drain_within(buffer, collectors[:1], mode, clock, FASTER)
        first.start()
    run.report(0, slowest_s=round(slowest, 1))


def test_the_first_falls_silent(trial: Callable[..., Trial], sites: tuple[Site, Site], tmp_path: Path) -> None:
    """A collector that still takes connections and answers nothing more (SIGSTOP) is a dead one too."""
    run = trial(16, "first collector silent", short=1, full=20)
    first, second = sites
    assert first.process is not None
    clock = Clock()
    slowest = 0.0
    ids: list[str] = []
    with queue(tmp_path / "queue") as buffer:
        collectors = [Collector(first.url, first.token), Collector(second.url, second.token)]
        for _ in range(run.n):
            first.process.send_signal(signal.SIGSTOP)
            ids += fill(buffer, run.random.randint(1, 500), run.random)
            report, took = drain_within(buffer, collectors, run.random.choice(list(Mode)), clock, FASTER)
            hold(report.collector == second.url, "not-taken-over", str(report))
            slowest = max(slowest, took)
            first.process.send_signal(signal.SIGCONT)
            clock.ahead_s += 900
            ids += fill(buffer, 5, run.random)
            report, _ = drain_within(buffer, collectors, Mode.TYPED, clock)
            hold(report.collector == first.url, "not-back", str(report))
        hold_each_once(ids, first.stored(), second.stored())
    run.report(0, slowest_s=round(slowest, 1))
