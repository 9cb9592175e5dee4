"""Write tracebacks and warnings to the log file, never to the screen. It is created with the first of them.

`logging` takes some 5 ms to load, which `--help` need not pay: it is imported where it is used.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sigprobe.files.locations import log_file

# the root logger, which libraries write to, and our own
_LOGGERS = (None, "sigprobe")


@contextmanager
def scope() -> Iterator[None]:
    """Remove on leaving every log handler that was added inside the block."""
    loaded = sys.modules.get("logging")
    before = {}
    for name in _LOGGERS:
        log = loaded.getLogger(name) if loaded else None
        before[name] = (list(log.handlers), log.propagate) if log else ([], True)
    try:
        yield
    finally:
        if "logging" in sys.modules:
            import logging

            for name, (handlers, propagate) in before.items():
                log = logging.getLogger(name)
                for handler in [handler for handler in log.handlers if handler not in handlers]:
                    log.removeHandler(handler)
                    handler.close()
                log.propagate = propagate


def install() -> None:
    """Send sigprobe's warnings to the log file."""
    import logging

    from sigprobe.commands.support.log_handler import OpenedAtNeed

    log = logging.getLogger("sigprobe")
    # libraries' warnings must not reach the screen by Python's last resort; they can hold whole URLs
    logging.getLogger().addHandler(logging.NullHandler())
    if not log.handlers:
        log.addHandler(OpenedAtNeed())
        log.propagate = False


def record(error: BaseException) -> Path:
    """Write an unexpected error with its traceback; return the path of the file."""
    import logging

    install()
    logging.getLogger("sigprobe").error("unexpected fault", exc_info=error)
    return log_file()
