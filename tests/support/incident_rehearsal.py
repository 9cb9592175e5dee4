"""Rehearse an incident end to end: devices send over HTTP, the worker works, a reader asks for incidents.

One operator fails in one regency for the second half of the time until shortly before its end; the others work.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import uvicorn

from sigprobe.collector import store
from sigprobe.collector.access import queries as access_queries
from sigprobe.collector.app import create_app
from sigprobe.collector.store.reference_clock import ReferenceClock
from sigprobe.collector.web.settings import Settings
from sigprobe.collector.worker.loop import Worker
from sigprobe.protocol import batches
from tests.support.outage import BEGAN, Sent, devices, fails_in, sent_by

PLMN, AREA = "51010", "3273"
REGENCIES = ("3273", "3204")
LOOKS_EVERY_S = 600.0


@dataclass
class Clock:
    """The time that everything in the rehearsal has."""

    now: float = BEGAN

    def __call__(self) -> float:
        """Return it."""
        return self.now


@dataclass
class Rehearsal:
    """What was sent, and what the reader saw at the end and while it lasted."""

    begins: float
    ends: float
    requests: int = 0
    records: int = 0
    took_s: float = 0.0
    incidents: list[dict[str, Any]] = field(default_factory=list)
    open_seen_at: float | None = None
    unknown_results: int = 0
    wrong_results: int = 0

    @property
    def told(self) -> list[str]:
        """Return the figures as lines."""
        seen = "never"
        if self.open_seen_at is not None:
            seen = f"{(self.open_seen_at - self.begins) / 60:.0f} min after it began"
        return [
            *(
                f"{one['kind']} {one['plmn']} {one['area']}: since {one['since']}, found {one['found_at']}, ended "
                f"{one['ended_at']}, {one['stations_failing']} of {one['stations']} TPS, confidence {one['confidence']}"
                for one in self.incidents
            ),
            f"first seen open: {seen}",
        ]

    def faults(self) -> list[str]:
        """Return what is missing, wrong or too much."""
        if len(self.incidents) != 1:
            return [f"{len(self.incidents)} incidents instead of one"]
        (one,) = self.incidents
        wanted = {"kind": "operator", "plmn": PLMN, "area": AREA, "state": "ended", "silent": False, "aspect": "works"}
        found = [f"{name} is {one[name]}, not {value}" for name, value in wanted.items() if one[name] != value]
        if abs(_seconds(one["since"]) - self.begins) > 300:
            found.append(f"since {one['since']}")
        if one["ended_at"] is None or abs(_seconds(one["ended_at"]) - self.ends) > 600:
            found.append(f"ended {one['ended_at']}")
        if self.open_seen_at is None or self.open_seen_at - self.begins > 1500:
            found.append("not seen open within 25 minutes")
        if not one["evidence"]["results"] or self.unknown_results or self.wrong_results:
            found.append(f"{self.unknown_results} unknown and {self.wrong_results} wrong results among its evidence")
        others = one["evidence"]["other_operators"]
        if PLMN in others or sum(others.values()) > -3:
            found.append("the other operators are not seen to work")
        return found


def rehearse(database: str, streams: int, hours: float) -> Rehearsal:
    """Send everything, look every ten minutes, and return what was seen."""
    began = time.monotonic()
    begins = BEGAN + hours * 1800
    seen = Rehearsal(begins, begins + hours * 1200)
    some = devices(streams, REGENCIES)
    clock = Clock()
    engine = store.open_store(database)
    worker = Worker(engine, wall=clock)
    try:
        tokens = {one.number: access_queries.create_token(engine, f"laptop-{one.number}", "probe") for one in some}
        admin = access_queries.create_token(engine, "centre", "admin")
        with _served(engine, worker, clock) as port:
            looks = BEGAN + LOOKS_EVERY_S
            for sent in sent_by(some, hours, fails_in(PLMN, AREA, seen.begins, seen.ends)):
                while sent.received >= looks:
                    clock.now = looks
                    _look(seen, worker, port, admin, looks)
                    looks += LOOKS_EVERY_S
                clock.now = max(clock.now, sent.received)
                _send(port, tokens[sent.device.number], sent)
                seen.requests += 1
                seen.records += len(sent.results)
            clock.now = BEGAN + hours * 3600 + 60
            _look(seen, worker, port, admin, clock.now)
            found = _get(port, admin, "/v1/incidents")["incidents"]
            seen.incidents = [_get(port, admin, f"/v1/incidents/{one['id']}") for one in found]
            _check_results(seen, port, admin)
    finally:
        worker.stop()
        engine.dispose()
    seen.took_s = time.monotonic() - began
    return seen


def _look(seen: Rehearsal, worker: Worker, port: int, admin: str, now: float) -> None:
    worker.look_now()
    found = _get(port, admin, "/v1/incidents?state=open")["incidents"]
    if seen.open_seen_at is None and any((one["plmn"], one["area"]) == (PLMN, AREA) for one in found):
        seen.open_seen_at = now


def _check_results(seen: Rehearsal, port: int, admin: str) -> None:
    """Look up each result that the evidence names: it must exist, and be of the operator and place that failed."""
    wanted = {name for one in seen.incidents for name in one["evidence"]["results"]}
    cursor: str | None = None
    found = set()
    while wanted:
        page = _get(port, admin, "/v1/results?limit=1000" + (f"&cursor={cursor}" if cursor else ""))
        for record in page["results"]:
            if record["id"] in wanted:
                found.add(record["id"])
                tags = record["tags"]
                right = tags["tps_id"].startswith(AREA) and tags["network"]["operator"]["plmn"] == PLMN
                seen.wrong_results += not (right and record["data"]["verdict"]["owner"] == "operator")
        cursor = page["next"]
        if cursor is None:
            break
    seen.unknown_results = len(wanted - found)


def _send(port: int, token: str, sent: Sent) -> None:
    batch = batches.build_batch([(result.id, result.to_line()) for result in sent.results])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", "/v1/batches", batch.body, batches.batch_headers(batch, token))
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise AssertionError(f"HTTP {answer.status}: {body[:300]!r}")
    finally:
        connection.close()


def _get(port: int, token: str, path: str) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise AssertionError(f"HTTP {answer.status}: {body[:300]!r}")
        return json.loads(body)
    finally:
        connection.close()


@contextmanager
def _served(engine: Any, worker: Worker, clock: Clock) -> Iterator[int]:
    """Serve the collector on a free port; what it stores has the time of the rehearsal."""
    app = create_app(Settings(), engine, worker)
    app.state.collector.clock = _InjectedClock(engine, clock)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 60
    while not server.started:
        if time.monotonic() > until:
            raise AssertionError("the collector does not serve")
        time.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(30)
        app.state.ingest.group.close()


class _InjectedClock(ReferenceClock):
    """The rehearsal's time; never compared with the machine's."""

    def __init__(self, engine: Any, clock: Clock) -> None:
        super().__init__(engine)
        self._clock = clock

    def is_fresh(self) -> bool:
        """Return that there is nothing to measure."""
        return True

    def fault(self) -> str | None:
        """Return that it is trusted."""
        return None

    def now(self) -> datetime:
        """Return the time of the rehearsal."""
        return datetime.fromtimestamp(self._clock.now, UTC)


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
