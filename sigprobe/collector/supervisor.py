"""Run several serving processes on one listening socket, and replace those that end.

The processes are forked: they share the socket, the loaded program and nothing else. A connection that waits in the
socket's queue is taken by any of them, so the death of one costs only the requests that it had in hand.

SIGTERM and SIGINT end all of them in order. SIGHUP replaces them one by one, each once its successor serves: so a new
certificate is used without a refused connection. When this process is killed, the others notice and end in order.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType
from typing import Final, Protocol

PAUSE_S: Final = 0.5
"""Before a process that ended is started again. It doubles with each one that ends soon, up to `LONGEST_PAUSE_S`."""

LONGEST_PAUSE_S: Final = 30.0
STEADY_S: Final = 60.0
"""A process that lasted so long was sound: the next pause is the shortest again."""

STOP_S: Final = 20.0
"""Running requests have ten seconds to end, the worker ten; what is still there then is killed."""

log = logging.getLogger(__name__)


class StartError(Exception):
    """Raised when a process ended before all of them served for the first time."""


class Serve(Protocol):
    """Serve in a new process until SIGTERM, or until `parent` reads as ended."""

    def __call__(self, place: int, parent: int, ready: Callable[[], None]) -> None:
        """Return when it is over. `place` is a small number that no other living process has."""


@dataclass(slots=True, eq=False)
class _Process:
    """A started process; `told` reads a byte once it serves, and its end when it has ended."""

    pid: int
    place: int
    told: int
    began_s: float
    serves: bool = False
    successor_of: _Process | None = None
    leaves: bool = False
    """It was asked to end."""


class Supervisor:
    """The processes of one `serve`."""

    def __init__(
        self,
        count: int,
        serve: Serve,
        *,
        ready: Callable[[], None],
        ended: Callable[[int], None] = lambda _place: None,
        renew: Callable[[], bool] = lambda: True,
    ) -> None:
        """`ready` is called once all serve; `ended` with the place of each that has ended.

        `renew` prepares what new processes need after SIGHUP; False to leave everything as it is.
        """
        self._count = count
        self._serve = serve
        self._ready = ready
        self._ended = ended
        self._renew = renew
        self._processes: list[_Process] = []
        self._due_s: list[float] = []
        """When the next ones are started."""
        self._pause_s = PAUSE_S
        self._all_served = False
        self._failed = False
        self._stopping_s: float | None = None
        self._renewing: list[_Process] = []
        self._signals: list[int] = []
        self._selector = selectors.DefaultSelector()
        # as long as this process lives nobody writes to it: its end is the end of this process
        self._life, self._own_life = os.pipe()
        self._woken, self._wake = os.pipe()

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT. Raises StartError."""
        handled = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
        for end in (self._woken, self._wake):
            os.set_blocking(end, False)
        before = {number: signal.signal(number, self._note) for number in handled}
        previous = signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        try:
            self._due_s = [time.monotonic()] * self._count
            while self._stopping_s is None or self._processes:
                self._start_due()
                self._wait()
                self._obey()
                self._reap()
                self._go_on_renewing()
                self._kill_late()
            if self._failed:
                raise StartError
        finally:
            for process in self._processes:
                _signal(process, signal.SIGKILL)
                os.waitpid(process.pid, 0)
            signal.set_wakeup_fd(previous)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._selector.close()
            for end in (self._life, self._own_life, self._woken, self._wake):
                os.close(end)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGCHLD:
            self._signals.append(number)

    def _start_due(self) -> None:
        now = time.monotonic()
        due = [at_s for at_s in self._due_s if at_s <= now]
        self._due_s = [at_s for at_s in self._due_s if at_s > now]
        for _ in due:
            self._start()

    def _start(self, successor_of: _Process | None = None) -> None:
        taken = {process.place for process in self._processes}
        place = next(n for n in range(len(taken) + 1) if n not in taken)
        told, tells = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            os.close(told)
            self._be_child(place, tells)
        os.close(tells)
        process = _Process(pid, place, told, time.monotonic(), successor_of=successor_of)
        self._processes.append(process)
        self._selector.register(told, selectors.EVENT_READ, process)

    def _be_child(self, place: int, tells: int) -> None:
        """Serve, and end this process; never returns."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            # Ctrl-C is the supervisor's to pass on: a second signal would cut running requests off
            os.setpgid(0, 0)
            for process in self._processes:
                os.close(process.told)
            for end in (self._own_life, self._woken, self._wake):
                os.close(end)
            self._selector.close()

            def ready() -> None:
                os.write(tells, b"1")

            self._serve(place, self._life, ready)
            code = 0
        except SystemExit:
            pass  # it has said why
        except BaseException:  # noqa: BLE001 - whatever it is: this process ends here
            traceback.print_exc()
        finally:
            with suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _wait(self) -> None:
        now = time.monotonic()
        times = [*self._due_s, *([] if self._stopping_s is None else [self._stopping_s])]
        for key, _ in self._selector.select(max(0.0, min(times) - now) if times else None):
            if key.fd == self._woken:
                with suppress(BlockingIOError):
                    os.read(self._woken, 4096)
            elif os.read(key.fd, 1):
                key.data.serves = True
            else:
                self._selector.unregister(key.fd)
        if not self._all_served and self._stopping_s is None:
            self._all_served = sum(process.serves for process in self._processes) >= self._count
            if self._all_served:
                self._ready()

    def _obey(self) -> None:
        signals, self._signals = self._signals, []
        for number in signals:
            # a terminal that is closed says so with the same signal
            if number != signal.SIGHUP or sys.stderr.isatty():
                self._stop()
            elif self._stopping_s is None and not self._renewing and self._renew():
                log.warning("processes are replaced")
                self._renewing = list(self._processes)

    def _stop(self) -> None:
        self._due_s, self._renewing = [], []
        self._stopping_s = self._stopping_s or time.monotonic() + STOP_S
        for process in self._processes:
            self._end(process)

    def _end(self, process: _Process) -> None:
        process.leaves = True
        _signal(process, signal.SIGTERM)

    def _kill_late(self) -> None:
        if self._stopping_s is not None and time.monotonic() > self._stopping_s:
            for process in self._processes:
                log.error("a process had to be killed", extra={"pid": process.pid})
                _signal(process, signal.SIGKILL)
            self._stopping_s = time.monotonic() + STOP_S

    def _reap(self) -> None:
        for process in list(self._processes):
            pid, status = os.waitpid(process.pid, os.WNOHANG)
            if pid == 0:
                continue
            self._processes.remove(process)
            with suppress(KeyError):
                self._selector.unregister(process.told)
            os.close(process.told)
            self._ended(process.place)
            if process.leaves or self._stopping_s is not None:
                continue
            self._replace(process, os.waitstatus_to_exitcode(status))

    def _replace(self, process: _Process, code: int) -> None:
        fields = {"pid": process.pid, "code": code} if code >= 0 else {"pid": process.pid, "signal": -code}
        if not self._all_served:
            # what keeps one from its first start keeps all: better to say so than to try for ever
            self._failed = True
            self._stop()
            return
        if process.successor_of is not None and not process.serves:
            log.error("a new process ended before it served; the old ones stay", extra=fields)
            self._renewing = []
            return
        if process in self._renewing:
            self._renewing.remove(process)
        lasted = time.monotonic() - process.began_s >= STEADY_S
        pause_s = PAUSE_S if lasted else self._pause_s
        self._pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)
        log.error("a process ended", extra={**fields, "again_in_s": pause_s})
        self._due_s.append(time.monotonic() + pause_s)

    def _go_on_renewing(self) -> None:
        """Start the successor of the next old process once the one before serves, and end whom it succeeds."""
        if self._stopping_s is not None:
            return
        coming = next((process for process in self._processes if process.successor_of is not None), None)
        if coming is not None:
            if coming.serves:
                old, coming.successor_of = coming.successor_of, None
                if old in self._processes:
                    self._end(old)
            else:
                return
        if self._renewing:
            self._start(self._renewing.pop(0))


def _signal(process: _Process, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process.pid, number)
