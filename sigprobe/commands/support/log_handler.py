"""Write warnings to a rotating file that is opened with the first of them."""

from __future__ import annotations

import logging

from sigprobe.commands.support import terminal
from sigprobe.files.locations import log_file

_LIMIT_BYTES = 1_000_000


class _Masking(logging.Formatter):
    """Format a record with its traceback, without the tokens of the command line."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        for secret in terminal.current().secrets:
            text = text.replace(secret, "***")
        return text


class OpenedAtNeed(logging.Handler):
    """Open the file with the first record; most runs write no warning."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._file: logging.Handler | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if self._file is None:
                # brings pickle, queue and socket along: 5 ms that a run without warnings need not pay
                from logging.handlers import RotatingFileHandler

                place = log_file()
                place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._file = RotatingFileHandler(place, maxBytes=_LIMIT_BYTES, backupCount=1, encoding="utf-8")
                self._file.setFormatter(_Masking("%(asctime)s %(levelname)s %(name)s %(message)s"))
            self._file.emit(record)
        except OSError:
            # a log that cannot be written must not stop a test
            return

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        super().close()
