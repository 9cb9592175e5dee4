"""`POST /v1/batches`: store a batch; acknowledge each record only after commit.

The order of the checks is part of the protocol: limit, token, size, digest, unpacking, lines, COMMIT, receipt. Each
costs more than the one before. Unauthenticated requests stop at the token check.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
import re
import time
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from sigprobe.collector.access import queries as access_queries
from sigprobe.collector.access.queries import Token
from sigprobe.collector.access.reader import require_token
from sigprobe.collector.ingest.body import Pace, check_digest, declared_length, read_body, split_lines, unpack
from sigprobe.collector.ingest.queries import Statuses
from sigprobe.collector.ingest.records import Sorted, answers, count_statuses, sort_lines
from sigprobe.collector.ingest.rows import NewBatch
from sigprobe.collector.ingest.state import Ingest, ingest_of
from sigprobe.collector.web import kernel_wait
from sigprobe.collector.web.problems import DatabaseSilentError, ProblemError, described
from sigprobe.collector.web.state import State, client, state_of
from sigprobe.collector.web.threads import STORE_S, in_thread
from sigprobe.protocol import batches
from sigprobe.record.result import utc_now

router = APIRouter(tags=["ingest"])

log = logging.getLogger(__name__)

_SMALL_BYTES: Final = 4096
_KEY: Final = re.compile(r'"([!-~]{1,128})"|([!#-~][!-~]{0,127})')
_REFUSED: Final = re.compile(r"q=0(?:\.0{0,3})?", re.IGNORECASE)
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
        **described(
            (400, "Header, digest or gzip at fault"),
            (401, "No valid token"),
            (403, "Not a probe's token, or no TLS"),
            (408, "The body came too slowly"),
            (413, "Over a limit"),
            (415, "Unknown Content-Encoding"),
            (429, "This token or network has too many batches on the way: see Retry-After"),
            (422, "A line without a record or an id"),
            (503, "Busy, or the database is away: see Retry-After"),
        ),
    },
)
async def post_batch(request: Request) -> Response:
    """Answer with a receipt that names every id of the batch once."""
    ingest = ingest_of(request)
    status = 503
    try:
        response = await _take(request, state_of(request), ingest)
        status = 200
    except ProblemError as error:
        status = error.status
        log.warning(
            "batch refused",
            extra={"status": status, "reason": error.title, "client": client(request).address},
        )
        raise
    finally:
        ingest.batches.labels(str(status)).inc()
    return response


async def _take(request: Request, state: State, ingest: Ingest) -> Response:
    settings = state.settings
    with ingest.gate.admit(client(request)) as place:
        began_s = time.monotonic()
        token = await require_token(request, access_queries.PROBE)
        place.waited_s = request.scope.get(kernel_wait.KEY, 0.0) + time.monotonic() - began_s
        ingest.gate.claim(place, token.id)
        declared_length(request.headers.get("content-length"))
        batch = _key(request.headers.get("idempotency-key"))
        digest = request.headers.get("content-digest")
        pace = Pace(settings.body_idle_s, settings.body_grace_s, settings.body_least_bps)
        try:
            body = await read_body(request.stream(), pace=pace, arrived=lambda size: ingest.gate.hold(place, size))
        except ClientDisconnect as error:
            raise ProblemError(400, "the sender left in the middle of the body") from error
        check_digest(digest, body)
        async with ingest.gate.store(place, body):
            started = time.perf_counter()
            encoding = request.headers.get("content-encoding", "")
            if len(body) <= _SMALL_BYTES:
                # a thread would cost more than the few records of one test
                batch_read = _read(body, encoding)
            else:
                batch_read = await in_thread(_read, body, encoding, limiter=ingest.threads)
            found = await _store(state, ingest, token, batch_read)
            ingest.store_seconds.inc(time.perf_counter() - started)
    state.database_served()
    counts = count_statuses(found)
    for status, count in counts.items():
        ingest.records.labels(status).inc(count)
    ingest.last_batch.set(time.time())
    log.info("batch stored", extra={"batch": batch, "token": token.name, "client": client(request).address, **counts})
    body = batches.receipt_body(batch, digest or "", None if state.clock.fault() else utc_now(), found)
    headers = {"Cache-Control": "no-store", "Vary": "Accept-Encoding"}
    if _takes_gzip(request.headers.get("accept-encoding", "")):
        # ids are most of a receipt: compressed it is a third, which matters for uploads over 2G
        body = gzip.compress(body, compresslevel=6, mtime=0)
        headers["Content-Encoding"] = "gzip"
    return Response(body, headers=headers, media_type=batches.RECEIPT_TYPE)


def _takes_gzip(header: str) -> bool:
    """Return True when the sender names gzip and does not refuse it (RFC 9110, 12.5.3)."""
    return any(
        name.strip().lower() == "gzip" and not _REFUSED.fullmatch(weight.replace(" ", ""))
        for name, _, weight in (entry.partition(";") for entry in header.split(","))
    )


def _key(header: str | None) -> str:
    """Return the batch id, with or without the quotes that a structured header has."""
    found = _KEY.fullmatch((header or "").strip())
    if found is None:
        raise ProblemError(400, "Idempotency-Key is missing or not usable")
    return found[1] or found[2]


def _read(body: bytes, encoding: str) -> Sorted:
    """Unpack and parse."""
    return sort_lines(split_lines(unpack(body, encoding)))


async def _store(state: State, ingest: Ingest, token: Token, batch: Sorted) -> list[batches.Answer]:
    """Store with whatever else waits. All returned statuses are committed."""
    stored: Statuses = {}
    if batch.rows:
        try:
            # one deadline for both: a sender is promised an answer within 20 s
            async with asyncio.timeout(STORE_S):
                if not state.clock.is_fresh():
                    await in_thread(state.clock.refresh, limiter=ingest.threads, deadline_s=STORE_S)
                new = NewBatch(batch.rows, token.name, token.id, state.clock.now())
                future = ingest.group.submit(new, len(new.rows))
                stored = await asyncio.wrap_future(future)
        except TimeoutError as error:
            raise DatabaseSilentError from error
        if state.worker is not None:
            state.worker.nudge()
    return answers(batch, stored)
