"""The collector's log: one line an event, bounded in rate."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

import pytest

from sigprobe.collector.web.log import LineFormatter, RateLimit, start
from tests.support.collector_client import Collector, batch_of, make_result


def record(message: str, level: int = logging.WARNING, **fields: object) -> logging.LogRecord:
    """An event with its fields."""
    made = logging.makeLogRecord({"name": "sigprobe.x", "msg": message, "levelno": level, **fields})
    made.levelname = logging.getLevelName(level)
    return made


def test_json_lines_keep_every_field() -> None:
    """Each event is one JSON object with time, level, event and fields, whatever they hold."""
    line = LineFormatter("json").format(record("token refused", client="x\n\ud800", count=3))
    assert "\n" not in line
    read = json.loads(line)
    assert (read["level"], read["event"], read["client"], read["count"]) == ("warning", "token refused", "x\n\ud800", 3)
    assert read["time"].endswith("+00:00")


def test_text_lines_cannot_be_forged() -> None:
    """A value with line ends, quotes or blanks stays one value on one line."""
    line = LineFormatter("text").format(record("token refused", client='x\n2029 ERROR "y" a=b', path=""))
    assert line.count("\n") == 0
    assert line.endswith('WARNING token refused client="x\\n2029 ERROR \\"y\\" a=b" path=""')


def test_a_traceback_is_one_line() -> None:
    """A traceback is a field, in both forms."""
    try:
        raise ValueError("broken")
    except ValueError as error:
        event = record("failed", exc_info=(ValueError, error, error.__traceback__))
    for style in ("text", "json"):
        line = LineFormatter(style).format(event)  # type: ignore[arg-type]
        assert "\n" not in line and "ValueError: broken" in line


def test_warnings_of_one_kind_are_limited() -> None:
    """Twenty pass in ten seconds; the next one later tells how many were held back. Other kinds and news pass."""
    now = 0.0
    limit = RateLimit(each=20, window_s=10, clock=lambda: now)
    assert sum(limit.filter(record("refused")) for _ in range(1000)) == 20
    assert limit.filter(record("another kind"))
    assert all(limit.filter(record("stored", logging.INFO)) for _ in range(100))
    now = 10.0
    later = record("refused")
    assert limit.filter(later)
    assert later.__dict__["held_back"] == 980
    assert not hasattr(record("refused"), "held_back")


def test_invented_kinds_do_not_fill_the_memory() -> None:
    """However many kinds there are, few are remembered."""
    limit = RateLimit()
    for number in range(5000):
        limit.filter(record(f"kind {number}"))
    assert len(limit._kinds) <= 1001


def test_each_line_names_its_request(
    make_collector: Callable[..., Collector], capfd: pytest.CaptureFixture[str]
) -> None:
    """The id stands in the answer and in the lines of the log; a proxy of ours may tell one, if it is sound."""
    stop = start("json", "info")
    try:
        for behind_proxy, told, kept in (
            (True, "from-nginx-0001", True),
            (True, "x\ty", False),
            (False, "from-anybody-1", False),
        ):
            collector = make_collector(behind_proxy=behind_proxy)
            answer = collector.post(batch_of(make_result()), X_Request_Id=told)
            assert (answer.headers["x-request-id"] == told) is kept
            wrong = collector.post(batch_of(make_result()), token="wrong")
            assert wrong.headers["x-request-id"] not in (told, answer.headers["x-request-id"])
            ids = [answer.headers["x-request-id"], wrong.headers["x-request-id"]]
            logging.getLogger("sigprobe.test").warning("an end")
            stop()
            lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
            events = {line["event"]: line.get("request") for line in lines}
            assert events["batch stored"] == ids[0]
            assert (events["token refused: not valid"], events["batch refused"]) == (ids[1], ids[1])
            assert events["an end"] is None
            stop = start("json", "info")
    finally:
        stop()
