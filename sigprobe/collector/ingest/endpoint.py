"""`POST /v1/batches`: take a batch in, and say what is safe only once it is.

The order of the checks is part of the protocol: room, token, size, digest, unpacking, lines, COMMIT, receipt.
Each costs more than the one before, and a stranger gets no further than the token.
"""

from __future__ import annotations

import gzip
import re
import time
from datetime import UTC, datetime
from typing import Any, Final

from anyio import to_thread
from fastapi import APIRouter, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from sigprobe.collector import store
from sigprobe.collector.ingest.body import check_digest, declared_length, read_body, split_lines, unpack
from sigprobe.collector.ingest.records import answers, count_statuses, sort_lines
from sigprobe.collector.store import Token
from sigprobe.collector.web.problems import ProblemError
from sigprobe.collector.web.state import State, state_of
from sigprobe.protocol import batches
from sigprobe.record.result import utc_now

router = APIRouter(tags=["ingest"])

_KEY: Final = re.compile(r'"([!-~]{1,128})"|([!#-~][!-~]{0,127})')
_REFUSED: Final = re.compile(r"q=0(?:\.0{0,3})?", re.IGNORECASE)
_PROBLEM: Final = {"content": {batches.PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
_API: Final[dict[str, Any]] = {
    "parameters": [
        {"name": name, "in": "header", "required": True, "schema": {"type": "string"}, "description": text}
        for name, text in (
            ("Idempotency-Key", "UUID of the batch; the receipt repeats it"),
            ("Content-Digest", "sha-256 of the body as sent (RFC 9530); the receipt repeats it"),
        )
    ]
    + [
        {
            "name": "Content-Encoding",
            "in": "header",
            "required": False,
            "schema": {"type": "string", "enum": ["gzip", "identity"]},
        }
    ],
    "requestBody": {
        "required": True,
        "description": "One record a line, as stored by the probe; at most 1 MiB as sent, 16 MiB and 100 times "
        "its size unpacked, 5,000 records, 64 KiB a line",
        "content": {batches.BATCH_TYPE: {"schema": {"type": "string", "format": "binary"}}},
    },
    "security": [{"bearer": []}],
}


@router.post(
    f"/{batches.BATCH_PATH}",
    summary="Store a batch of records",
    response_class=Response,
    openapi_extra=_API,
    responses={
        200: {
            "description": "The receipt: all that it calls accepted or duplicate is committed",
            "content": {batches.RECEIPT_TYPE: {"schema": {"$ref": "#/components/schemas/Receipt"}}},
        },
        400: {"description": "Header, digest or gzip at fault", **_PROBLEM},
        401: {"description": "No valid token", **_PROBLEM},
        403: {"description": "Not a probe's token, or no TLS", **_PROBLEM},
        408: {"description": "The body stopped arriving", **_PROBLEM},
        413: {"description": "Over a limit", **_PROBLEM},
        415: {"description": "Unknown Content-Encoding", **_PROBLEM},
        422: {"description": "A line without a record or an id", **_PROBLEM},
        503: {"description": "Busy, or the database is away: see Retry-After", **_PROBLEM},
    },
)
async def post_batch(request: Request) -> Response:
    """Answer with a receipt that names every id of the batch once."""
    state = state_of(request)
    try:
        response = await _take(request, state)
    except ProblemError as error:
        state.batches[error.status] += 1
        raise
    except Exception:
        state.batches[503] += 1
        raise
    state.batches[200] += 1
    return response


async def _take(request: Request, state: State) -> Response:
    declared = request.headers.get("content-length", "")
    reserved = min(int(declared), batches.MAX_COMPRESSED_BYTES) if declared.isdigit() else batches.MAX_COMPRESSED_BYTES
    with state.gate.admit(reserved):
        token = await to_thread.run_sync(
            state.tokens.require, request.headers.get("authorization"), store.PROBE, limiter=state.token_threads
        )
        declared_length(request.headers.get("content-length"))
        batch = _key(request.headers.get("idempotency-key"))
        digest = request.headers.get("content-digest")
        try:
            body = await read_body(request.stream(), idle_s=state.settings.body_idle_s)
        except ClientDisconnect as error:
            raise ProblemError(400, "the sender left in the middle of the body") from error
        check_digest(digest, body)
        with state.gate.store():
            found = await to_thread.run_sync(
                _store, state, token, body, request.headers.get("content-encoding", ""), limiter=state.store_threads
            )
    state.records.update(count_statuses(found))
    state.last_batch_at_s = time.time()
    body = batches.receipt_body(batch, digest or "", utc_now(), found)
    headers = {"Cache-Control": "no-store", "Vary": "Accept-Encoding"}
    if _takes_gzip(request.headers.get("accept-encoding", "")):
        # the ids are most of a receipt: packed it costs a third, which a drain over 2G feels
        body = gzip.compress(body, compresslevel=6, mtime=0)
        headers["Content-Encoding"] = "gzip"
    return Response(body, headers=headers, media_type=batches.RECEIPT_TYPE)


def _takes_gzip(header: str) -> bool:
    """True when the sender names gzip and does not refuse it (RFC 9110, 12.5.3)."""
    return any(
        name.strip().lower() == "gzip" and not _REFUSED.fullmatch(weight.replace(" ", ""))
        for name, _, weight in (entry.partition(";") for entry in header.split(","))
    )


def _key(header: str | None) -> str:
    """The batch id, with or without the quotes that a structured header has."""
    found = _KEY.fullmatch((header or "").strip())
    if found is None:
        raise ProblemError(400, "Idempotency-Key is missing or not usable")
    return found[1] or found[2]


def _store(state: State, token: Token, body: bytes, encoding: str) -> list[batches.Answer]:
    """Unpack, read and store, in a thread. What it returns is committed."""
    started = time.perf_counter()
    batch = sort_lines(split_lines(unpack(body, encoding)))
    stored = store.add_results(state.engine, batch.rows, carrier=token.name, token_id=token.id, now=datetime.now(UTC))
    state.store_seconds += time.perf_counter() - started
    return answers(batch, stored)
