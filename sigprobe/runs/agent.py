"""Run the long-running loop: scheduled tests, and uploads whenever a connection is available.

Uses CLOCK_BOOTTIME, which counts suspend. Clock changes neither skip nor repeat tests, and after a suspend one test
runs at once. The process sleeps until something is due or the kernel reports a new route.
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
"""The longest sleep: a sleep pauses while the device is suspended, so its end must be checked."""
LOOK_S: Final = 60.0
"""How often the queue is looked at for results that another process has put there."""
START_WITHIN_S: Final = 30.0


def device_clock() -> float:
    """Return monotonic seconds that include suspend, if the system has such a clock."""
    now = boottime()
    return time.monotonic() if now is None else now


def next_slot(after: float, period_s: float, share: float) -> float:
    """Return the next slot of this probe's schedule: every `period_s`, shifted by its `share` of a period."""
    offset = share * period_s
    return (math.floor((after - offset) / period_s) + 1) * period_s + offset


@dataclass(slots=True)
class Agent:
    """Loop of the agent. Clocks, waiting and actions are fields, so that tests can replace them.

    `run_test` measures once. `send(give_way_s)` uploads, stops after that many seconds, and returns the seconds until
    the next attempt. `wait(seconds)` returns True when a route has appeared; then `link_up` is called. `reload` reads
    the settings again and returns the period. `slept` is called after each sleep.
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
        """Run until `stop` is set."""
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
                self.told(self.next_run_at - now)  # noted before it begins: a crash must not repeat the test at once
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
            # restarted soon after a test: no second one now
            return max(next_slot(now, self.period_s, self._share()), self.last_run_at + self.period_s / 2)
        return now + self._share() * min(START_WITHIN_S, self.period_s)

    def _slot_after(self, now: float) -> float:
        # a late test, for example after a suspend, is not followed by the next one at once
        return next_slot(now + self.period_s / 2, self.period_s, self._share())

    def _share(self) -> float:
        return jitter.share(self.probe_id, "schedule")

    def _take_period(self, period_s: float) -> None:
        if period_s != self.period_s:
            self.period_s = period_s
            self.next_run_at = next_slot(self.clock(), period_s, self._share())


# --- files beside the queue ---------------------------------------------------------------------------------


def lock_file(queue: Path) -> Path:
    """Return the path of the lock that a running agent holds."""
    return queue.with_name(queue.name + ".agent.lock")


def state_file(queue: Path) -> Path:
    """Return the path of the file with an agent's last and next test."""
    return queue.with_name(queue.name + ".agent.json")


def note_runs(
    queue: Path, boot_id: str | None, last_run_at: float | None, next_in_s: float, now: Callable[[], float] = time.time
) -> None:
    """Store when the last test was (time since boot) and when the next one is due (wall clock, for display)."""
    document = {
        "pid": os.getpid(),
        "boot_id": boot_id,
        "last_run_boottime_s": last_run_at,
        "next_run_at": now() + next_in_s,
    }
    note_state(state_file(queue), document)


def last_run(queue: Path, boot_id: str | None) -> float | None:
    """Return when an agent's last test was, in seconds since this boot; None without one."""
    document = read_state(state_file(queue))
    told = document.get("last_run_boottime_s")
    if boot_id is None or document.get("boot_id") != boot_id or not isinstance(told, (int, float)):
        return None
    return float(told) if math.isfinite(told) else None


def next_run_at(queue: Path) -> float | None:
    """Return when a running agent tests next, in wall-clock seconds; None when no agent is running."""
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
