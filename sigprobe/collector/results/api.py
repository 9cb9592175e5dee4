"""Serve `GET /v1/results`: stored records for other programs."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from sigprobe.collector.access.reader import Admin
from sigprobe.collector.results import queries as result_queries
from sigprobe.collector.web.problems import ProblemError
from sigprobe.collector.web.state import state_of
from sigprobe.collector.web.threads import READ_S, in_thread

router = APIRouter(tags=["results"])

_CURSOR: Final = re.compile(r"1:([0-9]{1,18})")


def make_cursor(number: int) -> str:
    """Return an opaque, URL-safe word for a place in the receive order."""
    return base64.urlsafe_b64encode(f"1:{number}".encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> int:
    """Return the receive number of a cursor. Raises ProblemError 422 when it is none of ours."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError) as error:
        raise ProblemError(422, "the cursor is not one of ours") from error
    found = _CURSOR.fullmatch(text)
    if found is None:
        raise ProblemError(422, "the cursor is not one of ours")
    return int(found[1])


_RESULTS_ANSWER: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["results", "next"],
    "properties": {
        "results": {"type": "array", "items": {"type": "object"}},
        "next": {"type": ["string", "null"]},
    },
}
_PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    status: {
        "description": text,
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for status, text in (
        (401, "No valid token"),
        (403, "Not an admin's token, or no TLS"),
        (422, "A parameter is not valid"),
        (503, "The database is away: see Retry-After"),
    )
}


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
    after = 0 if cursor is None else read_cursor(cursor)
    lines = await in_thread(
        result_queries.page_lines,
        state.reader,
        after=after,
        limit=limit + 1,
        tps_id=tps_id,
        limiter=state.read_threads,
        deadline_s=READ_S,
    )
    shown = lines[:limit]
    following = f'"{make_cursor(shown[-1][0])}"' if len(lines) > limit else "null"
    # the stored bytes unchanged: parsing and encoding them again could change signed content
    body = b'{"results":[' + b",".join(line for _, line in shown) + b'],"next":' + following.encode() + b"}"
    return Response(body, headers={"Cache-Control": "no-store"}, media_type="application/json")
