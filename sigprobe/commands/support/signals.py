"""Signal handlers that a command installs while it runs."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sigprobe.commands.support.exit_codes import INTERRUPTED


@contextmanager
def caught(handle: Callable[[int, object], None], *, ignored_stay: bool = False) -> Iterator[None]:
    """Call `handle` for SIGINT, SIGTERM and SIGHUP, as far as the system has them; restore the handlers afterwards.

    `ignored_stay`: a signal that is ignored, as SIGHUP under nohup, stays ignored.
    """
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    wanted = [n for n in numbers if not ignored_stay or signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handle) for number in wanted}
    try:
        yield
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP during work that ends as after Ctrl-C; the exit code is 128 + the signal."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.exit_code = 128 + number


def code_of(stop: BaseException) -> int:
    """Return the exit code after Ctrl-C (130), SIGTERM (143) or SIGHUP (129)."""
    return int(getattr(stop, "exit_code", INTERRUPTED))


@dataclass(slots=True)
class Ending:
    """The signal that ended the work inside `terminated`, as an exit code; None without one."""

    exit_code: int | None = None


@contextmanager
def terminated() -> Iterator[Ending]:
    """Raise Terminated on SIGTERM and SIGHUP inside the block. A second signal ends the process at once.

    A signal that is ignored, as under nohup, stays ignored. In another thread than the main one nothing changes.
    """
    ending = Ending()
    if threading.current_thread() is not threading.main_thread():
        yield ending
        return

    def handle(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        raised = Terminated(number)
        ending.exit_code = raised.exit_code
        raise raised

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    caught_here = [number for number in numbers if before[number] is not signal.SIG_IGN]
    for number in caught_here:
        signal.signal(number, handle)
    try:
        yield ending
    finally:
        for number in caught_here:
            signal.signal(number, before[number])
