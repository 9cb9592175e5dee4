"""Build and verify batches, their digests and their receipts. No transport.

A batch is NDJSON, the stored bytes of one record a line, gzipped. Its receipt names each record. Only a receipt
that passes `read_receipt` acknowledges anything.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sigprobe.record import result
from sigprobe.record.foreign_json import read_json

BATCH_PATH: Final = "v1/batches"
BATCH_TYPE: Final = "application/x-ndjson"
RECEIPT_TYPE: Final = "application/vnd.sigprobe.receipt+json"
PROBLEM_TYPE: Final = "application/problem+json"
RECEIPT_VERSION: Final = 1

MAX_COMPRESSED_BYTES: Final = 1024 * 1024
MAX_DECOMPRESSED_BYTES: Final = 16 * 1024 * 1024
MAX_RATIO: Final = 100
MAX_RECORDS: Final = 5_000
MAX_LINE_BYTES: Final = result.MAX_LINE_BYTES
MAX_RECEIPT_BYTES: Final = 4 * 1024 * 1024

ACCEPTED: Final = "accepted"
DUPLICATE: Final = "duplicate"
REJECTED: Final = "rejected"
CONFLICT: Final = "conflict"
RETRY: Final = "retry"
STATUSES: Final = frozenset({ACCEPTED, DUPLICATE, REJECTED, CONFLICT, RETRY})


@dataclass(frozen=True, slots=True)
class Batch:
    """One request: its UUID, the gzip bytes, their digest header value, and the ids inside, in order."""

    id: str
    body: bytes
    digest: str
    ids: tuple[str, ...]
    raw_bytes: int


@dataclass(frozen=True, slots=True)
class Answer:
    """Status of one record in a receipt."""

    id: str
    status: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """Receipt that was verified against its batch. `server_time` is RFC 3339 UTC, or None."""

    batch: str
    digest: str
    server_time: str | None
    results: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class ProblemBody:
    """Error body marked as sigprobe's own (`"sigprobe": 1`)."""

    status: int
    title: str
    detail: str | None


class NotAReceiptError(Exception):
    """Raised when an answer acknowledges nothing. The message gives the reason in technical words."""


def content_digest(body: bytes) -> str:
    """Return the `Content-Digest` header's value for `body` (RFC 9530)."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode('ascii')}:"


def build_batch(rows: Iterable[tuple[str, bytes]]) -> Batch:
    """Build one batch from (id, stored line) pairs. The lines are sent byte for byte."""
    pairs = list(rows)
    raw = b"".join(line + b"\n" for _, line in pairs)
    body = gzip.compress(raw, compresslevel=9, mtime=0)
    return Batch(str(uuid.uuid4()), body, content_digest(body), tuple(i for i, _ in pairs), len(raw))


def batch_headers(batch: Batch, token: str | None) -> dict[str, str]:
    """Return the request headers of a batch."""
    headers = {
        "Content-Type": BATCH_TYPE,
        "Content-Encoding": "gzip",
        "Accept": f"{RECEIPT_TYPE}, {PROBLEM_TYPE}",
        "Idempotency-Key": batch.id,
        "Content-Digest": batch.digest,
    }
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return headers


def receipt_body(batch: str, digest: str, server_time: str | None, results: Sequence[Answer]) -> bytes:
    """Return the receipt as the collector sends it, after COMMIT; without a time that the collector does not trust."""
    return json.dumps(
        {
            "receipt": RECEIPT_VERSION,
            "batch": batch,
            "digest": digest,
            **({} if server_time is None else {"server_time": server_time}),
            "results": [
                {"id": a.id, "status": a.status} | ({} if a.reason is None else {"reason": a.reason}) for a in results
            ],
        },
        ensure_ascii=False,
        separators=(",", ":"),
    ).encode()


def media_type(header: str | None) -> str:
    """Return the bare media type of a Content-Type header in lower case; empty without one."""
    return (header or "").partition(";")[0].strip().lower()


def read_receipt(status: int, content_type: str | None, body: bytes, batch: Batch) -> Receipt:
    """Verify an answer as the receipt of `batch`.

    Raises NotAReceiptError when the status is not exactly 200, or the media type, batch id or digest does not match.
    The same holds for a record that was not sent. An unknown status word counts as `retry`.
    """
    if status != 200:
        raise NotAReceiptError(f"status {status}")
    if media_type(content_type) != RECEIPT_TYPE:
        raise NotAReceiptError(f"media type {media_type(content_type) or 'missing'}")
    document = _json_object(body)
    version = document.get("receipt")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise NotAReceiptError("no receipt version")
    if document.get("batch") != batch.id:
        raise NotAReceiptError("receipt for another batch")
    if document.get("digest") != batch.digest:
        raise NotAReceiptError("receipt for another digest")
    entries = document.get("results")
    if not isinstance(entries, list):
        raise NotAReceiptError("no list of results")
    server_time = document.get("server_time")
    return Receipt(
        batch.id,
        batch.digest,
        server_time if isinstance(server_time, str) else None,
        tuple(_answers(entries, frozenset(batch.ids))),
    )


def _answers(entries: list[Any], sent: frozenset[str]) -> Iterable[Answer]:
    seen: set[str] = set()
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
            raise NotAReceiptError("an entry without an id")
        name = entry["id"]
        if name not in sent:
            raise NotAReceiptError("an id that was not sent")
        if name in seen:
            raise NotAReceiptError("an id named twice")
        seen.add(name)
        status = entry.get("status")
        reason = entry.get("reason")
        yield Answer(
            name,
            status if isinstance(status, str) and status in STATUSES else RETRY,
            reason if isinstance(reason, str) else None,
        )


def _json_object(body: bytes) -> dict[str, Any]:
    if len(body) > MAX_RECEIPT_BYTES:
        raise NotAReceiptError("answer too long")
    try:
        document = read_json(body)
    except ValueError as error:
        raise NotAReceiptError("answer is not JSON") from error
    if not isinstance(document, dict):
        raise NotAReceiptError("answer is not a JSON object")
    return document


def problem_body(status: int, title: str, detail: str | None = None) -> bytes:
    """Build an error body (RFC 9457) with a mark that captive portals do not set."""
    return json.dumps(
        {"type": "about:blank", "title": title, "status": status, "sigprobe": 1}
        | ({} if detail is None else {"detail": detail})
    ).encode()


def read_problem(status: int, content_type: str | None, body: bytes) -> ProblemBody | None:
    """Parse an error answer; None unless it has sigprobe's mark."""
    if media_type(content_type) != PROBLEM_TYPE:
        return None
    try:
        document = _json_object(body)
    except NotAReceiptError:
        return None
    mark = document.get("sigprobe")
    if not isinstance(mark, int) or isinstance(mark, bool) or mark != 1:
        return None
    detail = document.get("detail")
    return ProblemBody(status, str(document.get("title", "")), detail if isinstance(detail, str) else None)


_SECONDS: Final = re.compile(r"^\d{1,12}$")


def retry_after_s(headers: Mapping[str, str], cap_s: float = 3600.0) -> float | None:
    """Return the seconds of `Retry-After`, at most `cap_s`; None when it is absent or not a plain number.

    The date form is not read, since it depends on the device's clock.
    """
    text = headers.get("Retry-After", "").strip()
    return min(float(text), cap_s) if _SECONDS.match(text) else None
