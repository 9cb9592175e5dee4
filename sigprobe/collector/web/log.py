"""Write the log: text or JSON, one line an event, rate-limited, without blocking requests."""

from __future__ import annotations

import json
import logging
import logging.handlers
import queue
import re
import secrets
import time
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final, Literal

LogFormat = Literal["text", "json"]

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
_MOST_WAITING: Final = 10_000
_OTHERS_ID: Final = re.compile(r"[A-Za-z0-9._-]{8,64}")


REQUEST: Final[ContextVar[str | None]] = ContextVar("request", default=None)
"""The id of the request that this code works for."""


class RateLimit(logging.Filter):
    """Lets at most `each` warnings of one kind pass in `window_s`, and says afterwards how many it held back."""

    def __init__(self, each: int = 20, window_s: float = 10.0, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._each = each
        self._window_s = window_s
        self._clock = clock
        self._kinds: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether this event is written."""
        if record.levelno < logging.WARNING:
            return True
        kind = (record.name, str(record.msg)[:60])
        now = self._clock()
        began, count = self._kinds.get(kind, (now, 0))
        if now - began >= self._window_s:
            if count > self._each:
                record.held_back = count - self._each
            began, count = now, 0
        if len(self._kinds) > 1000:
            self._kinds.clear()
        self._kinds[kind] = (began, count + 1)
        return count < self._each


class LineFormatter(logging.Formatter):
    """One line: time, level, event and its fields, as text or as a JSON object."""

    def __init__(self, style: LogFormat) -> None:
        super().__init__()
        self._json = style == "json"

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of an event. A traceback is one field, with its line ends written as \\n."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields: dict[str, Any] = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        event = {"time": when, "level": record.levelname.lower(), "event": record.getMessage().strip(), **fields}
        if self._json:
            return json.dumps(event, ensure_ascii=True, default=str)
        shown = " ".join(f"{name}={_plain(value)}" for name, value in fields.items())
        return f"{when} {record.levelname} {_plain(event['event'], quoted=False)} {shown}".rstrip()


def request_id(told: str | None) -> str:
    """Return the id of a request: what a proxy told in `X-Request-Id`, where that is sound, or a new one."""
    return told if told is not None and _OTHERS_ID.fullmatch(told) else secrets.token_hex(8)


def _plain(value: object, *, quoted: bool = True) -> str:
    text = json.dumps(str(value))
    bare = text[1:-1]
    return bare if not quoted or (bare and not set(bare) & set(' "=\\')) else text


class _Dropping(logging.handlers.QueueHandler):
    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:  # stderr does not move: losing a line is better than stopping the server
            return

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        # it is formatted in another thread, which knows of no request
        if (request := REQUEST.get()) is not None:
            record.request = request
        return record


def start(style: LogFormat, level: str, *, threaded: bool = True) -> Callable[[], None]:
    """Write all events to stderr; the function that is returned writes what waits, and ends it.

    A thread writes them, so that requests never wait for stderr; not `threaded` where processes are forked.
    """
    waiting: queue.Queue[logging.LogRecord] = queue.Queue(_MOST_WAITING)
    target = logging.StreamHandler()
    target.setFormatter(LineFormatter(style))
    entry: logging.Handler = _Dropping(waiting) if threaded else target
    entry.addFilter(RateLimit())
    listener = logging.handlers.QueueListener(waiting, target) if threaded else None
    root, ours = logging.getLogger(), logging.getLogger("sigprobe")
    before = root.level, ours.level
    root.setLevel(logging.WARNING)
    ours.setLevel(level.upper())
    root.addHandler(entry)
    if listener is not None:
        listener.start()

    def stop() -> None:
        root.removeHandler(entry)
        root.setLevel(before[0])
        ours.setLevel(before[1])
        if listener is not None:
            listener.stop()

    return stop
