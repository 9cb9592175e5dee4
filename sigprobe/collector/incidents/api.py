"""Serve `GET /v1/incidents`: incidents for other programs, found last first."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, Response

from sigprobe.collector.incidents import queries
from sigprobe.collector.incidents.queries import StoredIncident, Work
from sigprobe.collector.web import opaque_words
from sigprobe.collector.web.problems import ProblemError, described
from sigprobe.collector.web.state import state_of
from sigprobe.collector.web.threads import READ_S, in_thread
from sigprobe.record.result import format_time

router = APIRouter(tags=["incidents"])

_CURSOR: Final = re.compile(r"1:([0-9]{1,17}):([0-9a-f-]{36})")
_PROBLEMS: Final = described(
    (401, "No valid token"),
    (403, "Not an admin's token, or no TLS"),
    (404, "There is no such incident"),
    (422, "A parameter is not valid"),
    (503, "The database is away: see Retry-After"),
)


@router.get(
    "/v1/incidents",
    summary="Incidents, found last first",
    response_class=JSONResponse,
    openapi_extra={"security": [{"bearer": []}]},
    responses={code: _PROBLEMS[code] for code in (401, 403, 422, 503)},
)
async def get_incidents(
    request: Request,
    state: Annotated[Literal["open", "ended", "all"], Query()] = "all",
    cursor: Annotated[str | None, Query(max_length=120)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> Response:
    """Return one page. `next` is the cursor of the page behind it, null on the last."""
    before = None if cursor is None else decode(cursor)
    found = await in_thread(
        lambda: queries.list_incidents(
            state_of(request).reader, state=None if state == "all" else state, before=before, limit=limit + 1
        ),
        limiter=state_of(request).read_threads,
        deadline_s=READ_S,
    )
    shown = found[:limit]
    following = encode(shown[-1]) if len(found) > limit else None
    document = {"incidents": [as_json(incident) for incident in shown], "next": following}
    return JSONResponse(document, headers={"Cache-Control": "no-store"})


@router.get(
    "/v1/incidents/{name}",
    summary="One incident with its changes",
    response_class=JSONResponse,
    openapi_extra={"security": [{"bearer": []}]},
    responses={code: _PROBLEMS[code] for code in (401, 403, 404, 503)},
)
async def get_incident(request: Request, name: str) -> Response:
    """Return an incident, its evidence, and all its changes, oldest first."""

    def read() -> tuple[StoredIncident, list[queries.Change]] | None:
        reader = state_of(request).reader
        incident = queries.find_incident(reader, name)
        return None if incident is None else (incident, queries.list_changes(reader, incident.id))

    found = await in_thread(read, limiter=state_of(request).read_threads, deadline_s=READ_S)
    if found is None:
        raise ProblemError(404, "there is no such incident")
    incident, steps = found
    document = as_json(incident) | {
        "changes": [
            {"number": step.number, "at": format_time(step.at), "what": step.what, "values": dict(step.body)}
            for step in steps
        ]
    }
    return JSONResponse(document, headers={"Cache-Control": "no-store"})


def as_json(incident: StoredIncident) -> dict[str, Any]:
    """Return an incident for programs."""
    evidence = incident.evidence
    return {
        "id": incident.id,
        "state": "open" if incident.ended_at is None else "ended",
        "aspect": incident.aspect,
        "kind": incident.kind,
        "plmn": incident.plmn,
        "area": incident.area or None,
        "target": incident.target,
        "since": format_time(incident.since),
        "found_at": format_time(incident.found_at),
        "ended_at": None if incident.ended_at is None else format_time(incident.ended_at),
        "confidence": incident.confidence,
        "silent": incident.silent,
        "found_late": incident.late,
        "stations": incident.stations,
        "stations_failing": incident.failing,
        "maintenance": None if incident.work is None else work_json(incident.work),
        "evidence": {
            "tokens": evidence["tokens"],
            "probes": evidence["probes"],
            "parts_failing": evidence["parts_failing"],
            "parts_working": evidence["parts_working"],
            "other_operators": evidence["others"],
            "results": evidence["results"],
            "timeline": [
                {
                    "at": format_time(datetime.fromtimestamp(at, UTC)),
                    "stations": stations,
                    "failing": failing,
                    "usually_failing": usual,
                    "others": others,
                    "others_failing": others_failing,
                }
                for at, stations, failing, usual, others, others_failing in evidence["timeline"]
            ],
        },
    }


def work_json(work: Work) -> dict[str, Any]:
    """Return maintenance for programs."""
    return {
        "id": work.id,
        "plmn": work.plmn,
        "area": work.area or None,
        "target": work.target,
        "begins_at": format_time(work.begins_at),
        "ends_at": format_time(work.ends_at),
        "ended_at": None if work.ended_at is None else format_time(work.ended_at),
        "person": work.person,
        "reason": work.reason,
    }


def encode(incident: StoredIncident) -> str:
    """Return the cursor of what comes after an incident."""
    micros = round(incident.found_at.timestamp() * 1_000_000)
    return opaque_words.encode(f"1:{micros}:{incident.id}")


def decode(word: str) -> tuple[datetime, str]:
    """Return the place that a cursor names. Raises ProblemError 422."""
    try:
        found = _CURSOR.fullmatch(opaque_words.decode(word))
        if found is not None:
            return datetime.fromtimestamp(int(found[1]) / 1_000_000, UTC), str(uuid.UUID(found[2]))
    except (ValueError, OverflowError, OSError):
        pass
    raise ProblemError(422, "the cursor is not one of ours")
