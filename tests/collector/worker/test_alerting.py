"""Alerts reach a receiver in Alertmanager's format: once a change, again after a fault, not for announced work."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from sqlalchemy import Engine, select

from sigprobe.collector.incidents import queries
from sigprobe.collector.incidents.schema import deliveries
from sigprobe.collector.worker import alerting
from sigprobe.collector.worker.alerting import REPEAT_S, Alerting
from tests.support.stored_incidents import SINCE, an_incident, save


@dataclass
class Receiver:
    """A stand-in for Alertmanager: answers with `status`, and keeps what came."""

    status: int = 200
    port: int = 0
    came: list[tuple[str, Any]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}/api/v2/alerts"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Provide a receiver on a socket of its own."""
    told = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told.came.append((self.headers["Idempotency-Key"], json.loads(body)))
            self.send_response(told.status)
            if told.status == 302:
                self.send_header("Location", told.url)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield told
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine the receiver may be slow to answer."""
    monkeypatch.setattr(alerting, "_TIMEOUT_S", 60.0)


class Sender:
    """The job with a clock that the test sets."""

    def __init__(self, engine: Engine, url: str) -> None:
        self.engine = engine
        self.now = SINCE + 700
        self.job = Alerting(engine, url, lambda: self.now)

    def work(self, after_s: float = 0.0) -> None:
        """Send what is due, and store what became of it."""
        self.now += after_s
        with self.engine.connect().execution_options(write=True) as connection:
            self.job.step(connection)
            self.job.wait(90.0)
            self.job.step(connection)
            self.job.wait(90.0)


def test_a_change_is_told_once(engine: Engine, receiver: Receiver) -> None:
    """Found, then ended: two requests under one label set, with begin and end."""
    sender = Sender(engine, receiver.url)
    incident = an_incident()
    save(engine, incident)
    sender.work()
    sender.work()
    ((key, (alert,)),) = receiver.came
    assert alert["labels"] == {"alertname": "SigprobeIncident", "incident": incident.id, "aspect": "works"}
    assert alert["startsAt"] == "2029-02-14T03:00:00.000Z"
    assert alert["endsAt"] > datetime.fromtimestamp(sender.now, UTC).isoformat()
    assert alert["annotations"]["summary"].startswith("Telkomsel (51010) does not work in Kota Bandung")
    assert "tidak berfungsi" in alert["annotations"]["ringkasan"]
    incident.ended_at = SINCE + 1800
    save(engine, incident, now=SINCE + 1900)
    sender.work(1300)
    assert len(receiver.came) == 2
    second, (ended,) = receiver.came[1]
    assert ended["labels"] == alert["labels"] and ended["endsAt"] == "2029-02-14T03:30:00.000Z"
    assert second != key
    sender.work(REPEAT_S + 1)
    assert len(receiver.came) == 2, "what has ended is not repeated"


def test_an_open_incident_is_repeated(engine: Engine, receiver: Receiver) -> None:
    """Before the end that was announced passes, it is announced again."""
    sender = Sender(engine, receiver.url)
    save(engine, an_incident())
    sender.work()
    sender.work(REPEAT_S / 2)
    assert len(receiver.came) == 1
    sender.work(REPEAT_S)
    (_, (first,)), (_, (again,)) = receiver.came
    assert again["endsAt"] > first["endsAt"] and again["labels"] == first["labels"]


@pytest.mark.parametrize("status", [503, 400, 302])
def test_a_fault_is_tried_again_later(engine: Engine, receiver: Receiver, status: int) -> None:
    """With growing pauses and the same key, until the receiver takes it; a redirect is not followed."""
    sender = Sender(engine, receiver.url)
    receiver.status = status
    save(engine, an_incident())
    sender.work()
    assert len(receiver.came) == 1
    sender.work(1)
    assert len(receiver.came) == 1, "not before the pause is over"
    sender.work(5)
    sender.work(5)
    with engine.connect() as connection:
        row = connection.execute(select(deliveries)).one()
    assert (row.tries, row.fault, row.delivered_at, len(receiver.came)) == (2, f"HTTP {status}", None, 2)
    assert (row.next_try_at.timestamp() - sender.now) <= 10
    receiver.status = 200
    sender.work(11)
    assert len({key for key, _ in receiver.came}) == 1
    with engine.connect() as connection:
        row = connection.execute(select(deliveries)).one()
    assert (row.tries, row.fault, row.change_no) == (0, None, 1)


def test_a_receiver_that_is_away_holds_up_nothing(engine: Engine) -> None:
    """Nobody listens there: noted, and tried again."""
    sender = Sender(engine, "http://127.0.0.1:9/")
    save(engine, an_incident())
    sender.work()
    with engine.connect() as connection:
        row = connection.execute(select(deliveries)).one()
    assert row.tries == 1 and row.fault


def test_another_worker_goes_on_where_it_was(engine: Engine, receiver: Receiver) -> None:
    """What was delivered is in the database: a takeover repeats nothing."""
    save(engine, an_incident())
    Sender(engine, receiver.url).work()
    Sender(engine, receiver.url).work()
    assert len(receiver.came) == 1


def test_announced_work_and_old_ones_alert_nobody(engine: Engine, receiver: Receiver) -> None:
    """Maintenance silences; what had ended long before it was found is not worth an alert."""
    began = datetime.fromtimestamp(SINCE, UTC)
    work = queries.Work(
        "6f1c2c57-6c3c-4d0a-9b57-51f1b0d6a7c1",
        *("51010", "3273", None, began - timedelta(hours=1), datetime(2999, 1, 1, tzinfo=UTC), "Budi", "antena"),
        began - timedelta(days=1),
        None,
    )
    queries.announce(engine, work)
    save(engine, an_incident(1))
    save(engine, an_incident(2, plmn="51001", ended_at=SINCE - 7200, since=SINCE - 9000, late=True))
    sender = Sender(engine, receiver.url)
    sender.work()
    assert receiver.came == []
    queries.end_maintenance(engine, work.id, began - timedelta(minutes=1))
    sender.work(10)
    assert [alert["labels"]["incident"] for _, alerts in receiver.came for alert in alerts] == [an_incident(1).id]
