"""The long-running loop: a test on its schedule, and the backlog sent whenever there is a way.

Time is the time since boot, suspend included: setting the wall clock neither skips a test nor makes a flood of them,
and after a suspend there is one test at once. The process sleeps until something is due or the kernel tells of a
new way out.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sigprobe.files.atomic import note_state, read_state
from sigprobe.upload import jitter
from sigprobe.upload.clock_offset import boottime

WAKE_S: Final = 20.0
"""The longest sleep: sleeping stands still while the device is suspended, and must be noticed to be over."""
LOOK_S: Final = 60.0
"""How often the queue is looked at for results that another process has put there."""
START_WITHIN_S: Final = 30.0


def device_clock() -> float:
    """Seconds that never jump and count suspend, where the system can tell."""
    now = boottime()
    return time.monotonic() if now is None else now


def next_slot(after: float, period_s: float, share: float) -> float:
    """The next moment of this probe's own grid: every `period_s`, moved by its `share` of a period."""
    offset = share * period_s
    return (math.floor((after - offset) / period_s) + 1) * period_s + offset


@dataclass(slots=True)
class Agent:
    """The loop and what it works with; every clock, wait and deed is a field.

    `run_test` measures once. `send(give_way_s)` drains, leaving off after so many seconds, and returns the seconds
    until the next try. `wait(seconds)` returns True when a way out has come, `link_up` is called then. `reload`
    reads the settings anew and returns the period, `slept` is called after each sleep.
    """

    period_s: float
    probe_id: str
    run_test: Callable[[], None]
    send: Callable[[float], float]
    wait: Callable[[float], bool]
    link_up: Callable[[], None]
    reload: Callable[[], float]
    stop: threading.Event
    reload_wanted: threading.Event = field(default_factory=threading.Event)
    clock: Callable[[], float] = device_clock
    told: Callable[[float], None] = lambda _: None
    """Told the seconds until the next test whenever that changes, and at every waking."""
    last_run_at: float | None = None
    next_run_at: float = 0.0

    def run(self) -> None:
        """Go on until `stop` is set."""
        self.next_run_at = self._first_run()
        next_send_at = self.clock()
        while not self.stop.is_set():
            now = self.clock()
            self.told(self.next_run_at - now)
            if self.reload_wanted.is_set():
                self.reload_wanted.clear()
                self._take_period(self.reload())
            elif now >= self.next_run_at:
                self.last_run_at = now
                self.next_run_at = self._slot_after(now)
                self.told(self.next_run_at - now)  # noted before it begins: a crash must not repeat it at once
                self.run_test()
                next_send_at = self.clock()
            elif now >= next_send_at:
                next_send_at = self.send(self.next_run_at - now) + self.clock()
            elif self.wait(min(self.next_run_at - now, next_send_at - now, WAKE_S)):
                self.link_up()
                next_send_at = self.clock() + jitter.after_link_up_s(self.probe_id)

    def _first_run(self) -> float:
        now = self.clock()
        if self.last_run_at is not None and now - self.period_s < self.last_run_at <= now:
            # started again soon after a test: no second one now
            return max(next_slot(now, self.period_s, self._share()), self.last_run_at + self.period_s / 2)
        return now + self._share() * min(START_WITHIN_S, self.period_s)

    def _slot_after(self, now: float) -> float:
        # a late test, as after a suspend, is not followed by the next one at once
        return next_slot(now + self.period_s / 2, self.period_s, self._share())

    def _share(self) -> float:
        return jitter.share(self.probe_id, "schedule")

    def _take_period(self, period_s: float) -> None:
        if period_s != self.period_s:
            self.period_s = period_s
            self.next_run_at = next_slot(self.clock(), period_s, self._share())


# --- what lies beside the queue -----------------------------------------------------------------------------


def lock_file(queue: Path) -> Path:
    """The file whose lock an agent holds as long as it lives."""
    return queue.with_name(queue.name + ".agent.lock")


def state_file(queue: Path) -> Path:
    """Where an agent notes its last and next test."""
    return queue.with_name(queue.name + ".agent.json")


def note_runs(
    queue: Path, boot_id: str | None, last_run_at: float | None, next_in_s: float, now: Callable[[], float] = time.time
) -> None:
    """Note when the last test was (time since boot) and when the next one is due (wall clock, for people)."""
    document = {
        "pid": os.getpid(),
        "boot_id": boot_id,
        "last_run_boottime_s": last_run_at,
        "next_run_at": now() + next_in_s,
    }
    note_state(state_file(queue), document)


def last_run(queue: Path, boot_id: str | None) -> float | None:
    """When the last test of an agent was, in seconds since this boot; None when none was."""
    document = read_state(state_file(queue))
    told = document.get("last_run_boottime_s")
    if boot_id is None or document.get("boot_id") != boot_id or not isinstance(told, (int, float)):
        return None
    return float(told) if math.isfinite(told) else None


def next_run_at(queue: Path) -> float | None:
    """When a living agent tests next, in wall-clock seconds; None when no agent is alive."""
    import filelock

    told = read_state(state_file(queue)).get("next_run_at")
    if not isinstance(told, (int, float)) or not math.isfinite(told):
        return None
    try:
        with filelock.FileLock(lock_file(queue), timeout=0, mode=0o660):
            return None
    except filelock.Timeout:
        return float(told)
    except OSError:
        return None
