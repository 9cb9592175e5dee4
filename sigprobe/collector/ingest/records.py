"""Parse batch lines into rows; reject invalid records with a reason; 422 for a line without id."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from sigprobe import places
from sigprobe.collector.ingest.rows import NewResult
from sigprobe.collector.store.clocks import read_clock
from sigprobe.collector.store.metrics import read_metrics
from sigprobe.collector.store.schema import MAX_WORD
from sigprobe.collector.store.text import sound_text
from sigprobe.collector.web.problems import ProblemError
from sigprobe.protocol.batches import ACCEPTED, CONFLICT, REJECTED, Answer
from sigprobe.record.foreign_json import read_json
from sigprobe.record.read_record import envelope_fault
from sigprobe.record.result import MAX_WHOLE_NUMBER, RUN_KIND, parse_time

_MAX_ID: Final = 128
_MOST_WAIT_S: Final = 2 * 86_400
MAX_DEPTH: Final = 64
"""Records of every kind stay below ten levels."""
_TWICE: Final = "the batch holds this id twice with different bytes; the first line counts"
_OTHER_BYTES: Final = "this id is already stored with other bytes"


@dataclass(frozen=True, slots=True)
class Sorted:
    """Parsed batch: rows to store, one per id, and the final statuses of the others, in order."""

    rows: Sequence[NewResult]
    ids: Sequence[str]
    rejected: Mapping[str, str]
    twice: frozenset[str]


def sort_lines(lines: Iterable[bytes]) -> Sorted:
    """Parse each line as far as columns and receipt need it.

    A repeated id with the same bytes counts once. With other bytes the first line counts, and the receipt says
    `conflict`: "accepted" would lose the second silently. Raises ProblemError 422 for a line without an id.
    """
    rows: dict[str, NewResult] = {}
    rejected: dict[str, str] = {}
    seen: dict[str, bytes] = {}
    twice: set[str] = set()
    for number, line in enumerate(lines, start=1):
        record = _read(line, number)
        name = record["id"]
        digest = hashlib.sha256(line).digest()
        if name in seen:
            if seen[name] != digest:
                twice.add(name)
            continue
        seen[name] = digest
        fault = _fault(record, line)
        if fault is not None:
            rejected[name] = fault
        else:
            rows[name] = _row(record, line, digest)
    return Sorted(list(rows.values()), list(seen), rejected, frozenset(twice))


def answers(batch: Sorted, stored: Mapping[str, str]) -> list[Answer]:
    """Return the receipt: each id of the batch once, in the order of arrival."""
    found = []
    for name in batch.ids:
        if name in batch.rejected:
            found.append(Answer(name, REJECTED, batch.rejected[name]))
        elif name in batch.twice:
            found.append(Answer(name, CONFLICT, _TWICE))
        else:
            status = stored[name]
            found.append(Answer(name, status, _OTHER_BYTES if status == CONFLICT else None))
    return found


def count_statuses(found: Iterable[Answer]) -> dict[str, int]:
    """Count each status."""
    counts = {ACCEPTED: 0}
    for answer in found:
        counts[answer.status] = counts.get(answer.status, 0) + 1
    return counts


_DECODER: Final = msgspec.json.Decoder()


def _read(line: bytes, number: int) -> dict[str, Any]:
    """Return the record as a JSON object with an id fit for a receipt, or ProblemError 422 that names the line."""
    try:
        record = _DECODER.decode(line)
    except (ValueError, RecursionError):  # msgspec's own errors, and those of UTF-8
        # the reference decides: it reads lone surrogates and huge exponents, which the fast one refuses
        try:
            record = read_json(line)
        except ValueError as error:
            raise ProblemError(422, "a line is not a JSON record", f"line {number}") from error
    name = record.get("id") if isinstance(record, dict) else None
    if not isinstance(name, str) or not 1 <= len(name) <= _MAX_ID or not name.isprintable():
        raise ProblemError(422, "a line has no id", f"line {number}")
    assert isinstance(record, dict)
    return record


def _fault(record: dict[str, Any], line: bytes) -> str | None:
    fault = envelope_fault(record)
    if fault is not None:
        return fault
    # a record of every kind has fewer brackets than levels are allowed, so most need no closer look
    if line.count(b"{") + line.count(b"[") > MAX_DEPTH and not _shallow(record):
        return f"it is nested more than {MAX_DEPTH} levels deep"
    name = record["id"]
    if name[14] != "7" or name[19] not in "89ab":
        return "id must be a UUID of version 7"
    return None


def _shallow(value: object) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return True
    return False


def _row(record: dict[str, Any], line: bytes, digest: bytes) -> NewResult:
    tags = record["tags"]
    data = record["data"]
    kind = record["kind"]
    operator = _object(_object(tags.get("network")).get("operator"))
    place = _object(tags.get("location"))
    verdict = _object(data.get("verdict")) if kind == RUN_KIND else {}
    lat, lon = _degrees(place.get("lat"), 90), _degrees(place.get("lon"), 180)
    tps_id = _text(tags.get("tps_id"))
    plmn = _text(operator.get("plmn"))
    started_at = parse_time(record["started_at"])
    assert started_at is not None  # envelope_fault has read it
    clock = read_clock(record, started_at)
    metrics, at_least = read_metrics(kind, data)
    target = _text(record["target"].get("name"))
    return NewResult(
        id=record["id"],
        probe_id=record["probe_id"],
        stream_id=record["stream_id"],
        seq=record["seq"],
        run_id=record["run_id"],
        kind=sound_text(kind),
        kind_version=_whole(record.get("kind_version")),
        schema=_whole(record.get("schema")),
        tps_id=tps_id,
        regency=places.regency_code(tps_id),
        site=_text(tags.get("site")),
        operator_plmn=plmn,
        operator_name=_text(operator.get("name")) or _operator_name(plmn),
        outcome=sound_text(record["outcome"]),
        failure_code=_text(_object(record.get("failure")).get("code")),
        verdict_owner=_text(verdict.get("owner")),
        verdict_cause=_text(verdict.get("cause")),
        lat=lat if lon is not None else None,
        lon=lon if lat is not None else None,
        started_at=started_at,
        line=line,
        sha256=digest,
        boot_id=clock.boot_id,
        since_boot_s=clock.since_boot_s,
        corrected_at=clock.corrected_at,
        clock_error_s=clock.error_s,
        target=None if target is None else target[:MAX_WORD],
        metrics=metrics,
        at_least=at_least,
        next_contact_s=_wait(data.get("next_contact_s")) if kind == RUN_KIND else None,
    )


@functools.lru_cache(maxsize=1024)
def _operator_name(plmn: str | None) -> str | None:
    known = places.operator(plmn)
    return None if known is None else known.name


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return sound_text(value) if isinstance(value, str) and value else None


def _whole(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > MAX_WHOLE_NUMBER:
        return None
    return value


def _wait(value: object) -> float | None:
    """Return a span until the next contact; None for nonsense, and for more than two days: that is no schedule."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _MOST_WAIT_S:
        return None
    return float(value)


def _degrees(value: object, most: float) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > most or not math.isfinite(value):
        return None
    return float(value)
