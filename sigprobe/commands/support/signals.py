"""Signals taken by a verb itself for as long as it works."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def caught(handle: Callable[[int, object], None]) -> Iterator[None]:
    """Call `handle` for SIGINT, SIGTERM and SIGHUP, where the system has them; afterwards all is as it was."""
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {getattr(signal, name): signal.signal(getattr(signal, name), handle) for name in names}
    try:
        yield
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)
