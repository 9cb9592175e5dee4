"""Send incidents to a receiver of alerts, in the format of Alertmanager's API v2.

The leading worker sends. Each alert is named by its incident alone, so one that is sent twice is one. An open incident
is repeated, with an end some minutes ahead: when the worker is gone, the receiver does not show it for ever. What fails
is tried again with growing pauses. Requests run in a thread of their own, since a slow receiver must not hold up the
leader; what became of them is stored by the leader.
"""

from __future__ import annotations

import hashlib
import json
import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Engine, and_, or_, select

from sigprobe.collector.incidents import queries, wording
from sigprobe.collector.incidents.queries import StoredIncident
from sigprobe.collector.incidents.schema import deliveries, incidents
from sigprobe.collector.store.engine import write_turn
from sigprobe.collector.store.schema import MAX_TEXT, upsert
from sigprobe.record.result import format_time
from sigprobe.words import i18n

log = logging.getLogger(__name__)

STEP_S: Final = 5.0
REPEAT_S: Final = 120.0
"""An open incident is sent again after so long."""
_LASTS_S: Final = 300.0
_OLD_S: Final = 3600.0
"""What had ended before so long when it was found alerts nobody."""
_MOST: Final = 100
_TIMEOUT_S: Final = 5.0
_FIRST_PAUSE_S: Final = 5.0
_MOST_PAUSE_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class _Sent:
    """Incidents that were sent together, by id: the number of the change that was told, and earlier tries."""

    told: dict[str, tuple[int, int]]
    at: datetime
    fault: str | None


class Alerting:
    """Deliver incidents to one URL."""

    def __init__(self, engine: Engine, url: str, wall: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._url = url
        self._receiver = hashlib.sha256(url.encode()).hexdigest()[:32]
        self._wall = wall
        self._thread: threading.Thread | None = None
        self._sent: _Sent | None = None

    def step(self, connection: Connection) -> bool:
        """Store what became of the last request, and begin the next if one is due. Never waits for the receiver."""
        if self._thread is not None and self._thread.is_alive():
            return False
        self._thread = None
        if self._sent is not None:
            with write_turn(self._engine), connection.begin():
                self._note(connection, self._sent)
            self._sent = None
        now = datetime.fromtimestamp(self._wall(), UTC)
        with self._engine.connect() as reader:
            due = self._due(reader, now)
        if due:
            self._thread = threading.Thread(target=self._send, args=(due, now), name="alerts", daemon=True)
            self._thread.start()
        return False

    def wait(self, timeout_s: float = 10.0) -> None:
        """Wait for a request on its way."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _due(self, reader: Connection, now: datetime) -> list[tuple[StoredIncident, int]]:
        known = deliveries
        query = (
            select(incidents, known.c.tries)
            .outerjoin(known, and_(known.c.incident_id == incidents.c.id, known.c.receiver == self._receiver))
            .where(
                or_(known.c.next_try_at.is_(None), known.c.next_try_at <= now),
                or_(
                    and_(
                        known.c.change_no.is_(None),
                        or_(incidents.c.ended_at.is_(None), incidents.c.ended_at > now - timedelta(seconds=_OLD_S)),
                    ),
                    known.c.change_no < incidents.c.last_change,
                    and_(
                        incidents.c.ended_at.is_(None),
                        known.c.delivered_at <= now - timedelta(seconds=REPEAT_S),
                    ),
                ),
            )
            .order_by(incidents.c.found_at)
            .limit(_MOST)
        )
        rows = reader.execute(query).all()
        # announced work is shown and alerts nobody
        return [
            (found, int(row.tries or 0))
            for row, found in zip(rows, queries.read(reader, rows), strict=True)
            if found.work is None
        ]

    def _send(self, due: Sequence[tuple[StoredIncident, int]], now: datetime) -> None:
        import urllib3

        told = {incident.id: (incident.last_change, tries) for incident, tries in due}
        body = json.dumps([alert(incident, now) for incident, _ in due]).encode()
        key = hashlib.sha256(json.dumps({name: number for name, (number, _) in told.items()}).encode()).hexdigest()
        try:
            fault = post(self._url, body, key)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            fault = type(error).__name__
        self._sent = _Sent(told, now, fault)

    def _note(self, connection: Connection, sent: _Sent) -> None:
        if sent.fault is not None:
            log.warning("alerts could not be delivered", extra={"reason": sent.fault, "incidents": len(sent.told)})
        for name, (number, tries) in sorted(sent.told.items()):
            values: dict[str, Any]
            if sent.fault is None:
                values = {
                    "change_no": number, "delivered_at": sent.at, "tries": 0, "next_try_at": sent.at, "fault": None
                }  # fmt: skip
                first = values
            else:
                pause = min(_MOST_PAUSE_S, _FIRST_PAUSE_S * 2**tries) * random.uniform(0.5, 1.0)  # noqa: S311
                values = {
                    "tries": tries + 1,
                    "next_try_at": sent.at + timedelta(seconds=pause),
                    "fault": sent.fault[:MAX_TEXT],
                }
                first = {"change_no": 0, **values}
            statement = upsert(connection, deliveries).values(incident_id=name, receiver=self._receiver, **first)
            connection.execute(statement.on_conflict_do_update(index_elements=["incident_id", "receiver"], set_=values))


def post(url: str, body: bytes, key: str) -> str | None:
    """Send a body; return None when the receiver took it, else why not. Redirects are not followed."""
    import urllib3

    answer = urllib3.request(
        "POST",
        url,
        body=body,
        headers={"Content-Type": "application/json", "Idempotency-Key": key, "User-Agent": "sigprobe-collector"},
        timeout=_TIMEOUT_S,
        retries=False,
        redirect=False,
    )
    return None if 200 <= answer.status < 300 else f"HTTP {answer.status}"


def alert(incident: StoredIncident, now: datetime) -> dict[str, Any]:
    """Return an incident as an alert. Its labels never change, since they are its identity for the receiver."""
    ends = incident.ended_at or now + timedelta(seconds=_LASTS_S)
    return {
        "labels": {"alertname": "SigprobeIncident", "incident": incident.id, "aspect": incident.aspect},
        "annotations": {
            "summary": wording.title(incident, i18n.load("en").gettext),
            "ringkasan": wording.title(incident, i18n.load("id").gettext),
            "kind": incident.kind,
            "plmn": incident.plmn or "",
            "area": incident.area,
            "target": incident.target or "",
            "stations": str(incident.stations),
            "failing": str(incident.failing),
            "confidence": f"{incident.confidence:.2f}",
            "silent": str(incident.silent).lower(),
            "found_late": str(incident.late).lower(),
            "page": f"/insiden/{incident.id}",
        },
        "startsAt": format_time(incident.since),
        "endsAt": format_time(ends),
    }
