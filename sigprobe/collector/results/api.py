"""Serve `GET /v1/results`: stored records for other programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from sigprobe.collector.access.reader import Admin
from sigprobe.collector.results import cursors, reading
from sigprobe.collector.results.cursors import Cursor
from sigprobe.collector.store import epochs
from sigprobe.collector.web.problems import ProblemError, described
from sigprobe.collector.web.state import State, state_of
from sigprobe.collector.web.threads import READ_S, in_thread

router = APIRouter(tags=["results"])


def read_cursor(word: str) -> Cursor:
    """Return the place that a cursor names. Raises ProblemError 422 when it is none of ours."""
    try:
        return cursors.decode(word)
    except cursors.NotOursError as error:
        raise ProblemError(422, "the cursor is not one of ours") from error


_RESULTS_ANSWER: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["results", "next"],
    "properties": {
        "results": {"type": "array", "items": {"type": "object"}},
        "next": {"type": ["string", "null"]},
    },
}
_PROBLEMS: Final = described(
    (401, "No valid token"),
    (403, "Not an admin's token, or no TLS"),
    (410, "The cursor is of a history that this copy of the database does not share: see detail"),
    (422, "A parameter is not valid"),
    (503, "The database is away: see Retry-After"),
)


@router.get(
    "/v1/results",
    summary="Stored records, oldest received first",
    response_class=Response,
    openapi_extra={"security": [{"bearer": []}]},
    responses={
        200: {"description": "One page", "content": {"application/json": {"schema": _RESULTS_ANSWER}}},
        **_PROBLEMS,
    },
)
async def get_results(
    request: Request,
    _admin: Admin,
    cursor: Annotated[str | None, Query(max_length=64)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    tps_id: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """Return one page, run records included, each as the probe wrote it. `next` is null once nothing more is stored."""
    state = state_of(request)
    start = None if cursor is None else read_cursor(cursor)
    page = await in_thread(_read, state, start, limit, tps_id, limiter=state.read_threads, deadline_s=READ_S)
    following = "null" if page.following is None else f'"{page.following}"'
    # the stored bytes unchanged: parsing and encoding them again could change signed content
    body = b'{"results":[' + b",".join(page.lines) + b'],"next":' + following.encode() + b"}"
    return Response(body, headers={"Cache-Control": "no-store"}, media_type="application/json")


@dataclass(frozen=True, slots=True)
class _Page:
    lines: list[bytes]
    following: str | None


def _read(state: State, start: Cursor | None, limit: int, tps_id: str | None) -> _Page:
    if state.worker is not None:
        state.worker.publish()
    with reading.snapshot(state.reader) as connection:
        try:
            after = 0 if start is None else cursors.hold(connection, start)
        except cursors.GoneError as error:
            raise _gone(error.resume) from None
        found = reading.read_lines(connection, after=after, limit=limit + 1, tps_id=tps_id)
        epoch = epochs.current(connection)
    shown = found[:limit]
    following = None
    if len(found) > limit:
        following = cursors.encode(Cursor(shown[-1].number, epoch, cursors.check_of(shown[-1].id)))
    return _Page([line.line for line in shown], following)


def _gone(resume: str | None) -> ProblemError:
    how = "without a cursor" if resume is None else f"at cursor={resume}"
    return ProblemError(
        410,
        "the cursor is of another history of this database",
        f"the database was restored or taken over since; go on {how}, and leave out records whose id you have",
    )
