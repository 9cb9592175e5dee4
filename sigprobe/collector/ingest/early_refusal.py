"""Refuse batches from their first bytes while there is no room for any: before the head is even parsed.

A refusal by the usual way costs a tenth of storing a small batch. At ten times the load that would take all that the
machine has.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from sigprobe.collector.ingest.admission import Gate
from sigprobe.collector.ingest.lateness import Lateness
from sigprobe.protocol import batches

START: Final = f"POST /{batches.BATCH_PATH} ".encode("ascii")
"""What a request for us begins with."""

ENOUGH: Final = 24
"""With so many batches on their way the database has work. With fewer a late one is served all the same."""

_TITLE: Final = "the collector is busy"

log = logging.getLogger(__name__)


def early_refusal(gate: Gate, count: Callable[[int], None]) -> Callable[[bytes, float], bytes | None]:
    """Return what looks at the first bytes of a request: a whole answer to send, or None to go on as usual.

    It is given the seconds that they have waited. `count` is told the status of each refusal.
    """
    lateness = Lateness()

    def look(data: bytes, waited_s: float) -> bytes | None:
        if not data.startswith(START):
            return None
        # in this order: each request counts for the lateness
        late = lateness.is_too_late(waited_s) and gate.in_flight >= ENOUGH
        if not late and not gate.is_full():
            return None
        count(503)
        log.warning("batch refused", extra={"status": 503, "reason": _TITLE})
        return answer(503, _TITLE, gate.refuse())

    return look


def answer(status: int, title: str, retry_after_s: int) -> bytes:
    """Return a refusal as it goes over the wire."""
    body = batches.problem_body(status, title)
    return (
        f"HTTP/1.1 {status} Service Unavailable\r\ncontent-type: {batches.PROBLEM_TYPE}\r\n"
        f"content-length: {len(body)}\r\nretry-after: {retry_after_s}\r\ncache-control: no-store\r\n"
        "x-content-type-options: nosniff\r\nconnection: close\r\n\r\n"
    ).encode("ascii") + body
