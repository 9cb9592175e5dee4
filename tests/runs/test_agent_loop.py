"""The agent's loop on clocks of the test's own: nothing here sleeps."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import filelock
import pytest

from sigprobe.runs.agent import (
    START_WITHIN_S,
    WAKE_S,
    Agent,
    last_run,
    lock_file,
    next_run_at,
    next_slot,
    note_runs,
    state_file,
)
from sigprobe.upload.jitter import OWN_LINK_S, share

PROBE = "6a1f0c52-1d2b-4c67-9a3e-0d7c2e7c9f10"
PERIOD = 900.0


@dataclass
class World:
    """A device with its time since boot; waiting passes time, and events happen at moments that are set before."""

    now: float = 5000.0
    end: float = 5000.0 + 4 * 3600
    tests: list[float] = field(default_factory=list)
    sends: list[tuple[float, float]] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    forgiven: list[float] = field(default_factory=list)
    told: list[float] = field(default_factory=list)
    links: list[float] = field(default_factory=list)
    test_takes: float = 60.0
    send_again: float = 60.0
    suspends: list[tuple[float, float]] = field(default_factory=list)
    period: float = PERIOD
    reload_at: float = float("inf")
    reloads: int = 0

    def agent(self, **changes: object) -> Agent:
        self.stop = threading.Event()
        self.made = Agent(
            period_s=self.period,
            probe_id=PROBE,
            run_test=self.test,
            send=self.send,
            wait=self.wait,
            link_up=lambda: self.forgiven.append(self.now),
            reload=self.reload,
            stop=self.stop,
            clock=lambda: self.now,
            told=self.told.append,
            **changes,  # type: ignore[arg-type]
        )
        return self.made

    def test(self) -> None:
        self.tests.append(self.now)
        self.now += self.test_takes

    def send(self, give_way_s: float) -> float:
        self.sends.append((self.now, give_way_s))
        return self.send_again

    def reload(self) -> float:
        self.reloads += 1
        return self.period

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        assert seconds > 0, "a wait for nothing is a busy loop"
        assert len(self.waits) < 20_000
        if self.links and self.links[0] <= self.now + seconds:
            self.now = max(self.now, self.links.pop(0))
            return True
        self.now += seconds
        if self.suspends and self.now >= self.suspends[0][0]:
            self.now += self.suspends.pop(0)[1]
        if self.now >= self.reload_at:
            self.reload_at = float("inf")
            self.made.reload_wanted.set()
        if self.now >= self.end:
            self.stop.set()
        return False


def test_a_test_every_period_at_this_probes_own_moments() -> None:
    """Over four hours: one at the start within half a minute, then one each quarter of an hour, on the probe's grid."""
    world = World()
    world.agent().run()
    assert world.tests[0] - 5000 <= START_WITHIN_S
    offset = share(PROBE, "schedule") * PERIOD
    assert len(world.tests) in (16, 17)
    for moment in world.tests[1:]:
        slots = (moment - offset) / PERIOD
        assert slots == pytest.approx(round(slots), abs=1e-9)
    gaps = {round(b - a, 3) for a, b in zip(world.tests[1:], world.tests[2:], strict=False)}
    assert gaps == {PERIOD}


def test_two_probes_do_not_test_together() -> None:
    """The offset is the probe's own."""
    assert share(PROBE, "schedule") != share("another", "schedule")
    assert next_slot(0, 900, 0.25) == 225
    assert next_slot(225, 900, 0.25) == 1125
    assert next_slot(224.9, 900, 0.25) == 225


def test_it_sends_at_the_start_and_after_each_test() -> None:
    """The backlog goes first thing, and the results of a test right behind it."""
    world = World(send_again=1e9)
    world.agent().run()
    assert world.sends[0][0] == 5000
    ends = [moment + world.test_takes for moment in world.tests]
    assert [moment for moment, _ in world.sends[1:]] == ends[: len(world.sends) - 1]


def test_a_long_drain_is_told_when_to_give_way() -> None:
    """Measuring goes on: a drain knows how long it is until the next test."""
    world = World()
    world.agent().run()
    assert all(0 < give_way <= PERIOD * 1.5 for _, give_way in world.sends)
    for moment, give_way in world.sends:
        assert any(abs(moment + give_way - test) < 1e-6 for test in world.tests) or moment + give_way > world.end


def test_a_link_that_comes_up_is_used_within_three_seconds() -> None:
    """Its backoff is forgiven and the drain begins, whatever was waited for."""
    world = World(send_again=10_000.0, links=[6000.0, 9000.5])
    world.agent().run()
    assert world.forgiven == [6000.0, 9000.5]
    for up in world.forgiven:
        after = min(moment for moment, _ in world.sends if moment >= up)
        assert after - up <= OWN_LINK_S


def test_after_a_suspend_there_is_one_test_at_once_and_no_flood() -> None:
    """Six hours of sleep are one test when it is over, and the next one not before half a period has passed."""
    world = World(suspends=[(7000.0, 6 * 3600.0)], end=5000 + 8 * 3600)
    world.agent().run()
    woken = next(moment for moment in world.tests if moment > 7000 + 6 * 3600)
    assert woken - (7000 + 6 * 3600) <= WAKE_S + world.test_takes
    gaps = [b - a for a, b in zip(world.tests, world.tests[1:], strict=False) if a >= woken]
    assert gaps
    assert min(gaps) >= PERIOD / 2


def test_the_wall_clock_is_never_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A jump of the wall clock can neither skip nor repeat a test: the loop does not read it."""

    def forbidden() -> float:
        raise AssertionError("the loop asked the wall clock")

    monkeypatch.setattr("time.time", forbidden)
    World().agent().run()


def test_started_again_it_does_not_test_again_at_once() -> None:
    """A restart soon after a test waits for the next moment; after a long pause it tests within half a minute."""
    world = World()
    world.agent(last_run_at=4900.0).run()
    assert world.tests[0] >= 4900 + PERIOD / 2
    world = World()
    world.agent(last_run_at=3000.0).run()
    assert world.tests[0] <= 5000 + START_WITHIN_S
    world = World()
    world.agent(last_run_at=999_999.0).run()
    assert world.tests[0] <= 5000 + START_WITHIN_S, "a moment that lies ahead was of another boot"


def test_new_settings_count_from_the_next_test_on() -> None:
    """After a reload the new period holds; a period that did not change moves nothing."""
    world = World(reload_at=8000.0)
    world.agent()
    world.period = 300.0
    world.made.run()
    assert world.reloads == 1
    late = [moment for moment in world.tests if moment > 8400]
    assert {round(b - a) for a, b in pairwise(late)} == {300}


def test_it_sleeps() -> None:
    """Nothing to do is nothing done: an hour costs at most an awakening each 20 s and what is due."""
    world = World(end=5000 + 3600)
    world.agent().run()
    assert len(world.waits) <= 3600 / WAKE_S + len(world.sends) + len(world.tests) + 5


# --- beside the queue ---------------------------------------------------------------------------------------


def test_the_last_run_is_of_this_boot_only(tmp_path: Path) -> None:
    """After a reboot the time since boot begins anew, so an old note says nothing."""
    queue = tmp_path / "buffer.db"
    note_runs(queue, "boot-1", 123.0, 60.0)
    assert last_run(queue, "boot-1") == 123.0
    assert last_run(queue, "boot-2") is None
    assert last_run(queue, None) is None
    state_file(queue).write_text('{"boot_id": "boot-1", "last_run_boottime_s": "soon"}')
    assert last_run(queue, "boot-1") is None
    state_file(queue).write_text("[")
    assert last_run(queue, "boot-1") is None


def test_the_next_run_is_known_only_while_an_agent_lives(tmp_path: Path) -> None:
    """What a dead agent noted is no promise."""
    queue = tmp_path / "buffer.db"
    note_runs(queue, "boot-1", None, 60.0, now=lambda: 1000.0)
    assert next_run_at(queue) is None
    with filelock.FileLock(lock_file(queue)):
        assert next_run_at(queue) == 1060.0
