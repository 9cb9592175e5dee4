"""The log file: tracebacks and warnings go there, never to the screen. Nothing is written until there is cause."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path

from sigprobe.files.locations import log_file

_LIMIT_BYTES = 1_000_000


class _AtNeed(logging.Handler):
    """Opens the file with the first record: most runs have nothing to say."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._file: logging.Handler | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if self._file is None:
                place = log_file()
                place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._file = RotatingFileHandler(place, maxBytes=_LIMIT_BYTES, backupCount=1, encoding="utf-8")
                self._file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
            self._file.emit(record)
        except OSError:
            # a log that cannot be written must not stop a test
            return

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        super().close()


@contextmanager
def scope() -> Iterator[None]:
    """Remove on leaving every log handler that was added inside the block."""
    loggers = (logging.getLogger(), logging.getLogger("sigprobe"))
    before = [(log, list(log.handlers), log.propagate) for log in loggers]
    try:
        yield
    finally:
        for log, handlers, propagate in before:
            for handler in [handler for handler in log.handlers if handler not in handlers]:
                log.removeHandler(handler)
                handler.close()
            log.propagate = propagate


def install() -> None:
    """Send sigprobe's warnings to the log file."""
    log = logging.getLogger("sigprobe")
    # libraries' warnings must not reach the screen by Python's last resort; they can hold whole URLs
    logging.getLogger().addHandler(logging.NullHandler())
    if not log.handlers:
        log.addHandler(_AtNeed())
        log.propagate = False


def record(error: BaseException) -> Path:
    """Write an unexpected fault with its traceback; returns the file's place."""
    install()
    logging.getLogger("sigprobe").error("unexpected fault", exc_info=error)
    return log_file()
