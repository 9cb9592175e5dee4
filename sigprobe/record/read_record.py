"""Read records that another program or version wrote: check the envelope, parse a record as a `Result`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from sigprobe.record.result import (
    MAX_WHOLE_NUMBER,
    Clock,
    Failure,
    Location,
    Network,
    Operator,
    Outcome,
    Processor,
    Result,
    Software,
    Tags,
    Target,
    parse_time,
)

_RFC3339: Final = re.compile(r"^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:[Zz]|[+-]\d{2}:\d{2})\Z", re.ASCII)
_UUID: Final = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")


def envelope_fault(record: object) -> str | None:
    """Return the error in a record's envelope, or None when a collector can store it.

    Only the fields behind identity, order and columns are checked. Unknown fields, unknown kinds and a higher `schema`
    are valid, so that an old collector stores the records of a new probe.
    """
    if not isinstance(record, dict):
        return "a record must be a JSON object"
    schema = record.get("schema")
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        return "schema must be an integer of at least 1"
    for name in ("id", "run_id", "probe_id", "stream_id"):
        if not isinstance(record.get(name), str) or not _UUID.match(record[name]):
            return f"{name} must be a lower-case UUID"
    seq = record.get("seq")
    if not isinstance(seq, int) or isinstance(seq, bool) or not 1 <= seq <= MAX_WHOLE_NUMBER:
        return "seq must be a positive integer"
    kind = record.get("kind")
    if not isinstance(kind, str) or not 1 <= len(kind) <= 64:
        return "kind must be a string of 1 to 64 characters"
    started = record.get("started_at")
    if not isinstance(started, str) or not _RFC3339.match(started) or parse_time(started) is None:
        return "started_at must be an RFC 3339 time"
    outcome = record.get("outcome")
    if not isinstance(outcome, str) or not 1 <= len(outcome) <= 32:
        return "outcome must be a string of 1 to 32 characters"
    failure = record.get("failure")
    if failure is not None and not (isinstance(failure, dict) and isinstance(failure.get("code"), str)):
        return "failure must be null or an object with a code"
    for name in ("data", "tags", "target"):
        if not isinstance(record.get(name), dict):
            return f"{name} must be an object"
    tps_id = record["tags"].get("tps_id")
    if tps_id is not None and not isinstance(tps_id, str):
        return "tags.tps_id must be a string or null"
    return None


def read_result(record: Mapping[str, Any]) -> Result:
    """Parse a stored record as a `Result`, for screens and reports. Unknown fields are left out.

    Raises ValueError when the envelope is invalid.
    """
    fault = envelope_fault(record)
    if fault is not None:
        raise ValueError(fault)
    plain: dict[str, Any] = {name: record.get(name) for name in _PLAIN_FIELDS}
    failure = record.get("failure")
    tags = record["tags"]
    network = dict(tags.get("network") or {})
    place = tags.get("location")
    try:
        return Result(
            **plain,
            target=_known(Target, {"name": "", **record["target"]}),
            outcome=Outcome(record["outcome"]),
            failure=None if failure is None else Failure(str(failure["code"]), failure.get("detail")),
            data=record["data"],
            tags=Tags(
                tags.get("tps_id"),
                tags.get("election_id"),
                tags.get("site"),
                None if place is None else _location(place),
                _known(Network, {**network, "operator": _known(Operator, network.get("operator") or {})}),
                _known(Clock, tags.get("clock") or {}),
                _processor(tags.get("processor")),
            ),
            software=_known(Software, {"name": "", "version": "", **(record.get("software") or {})}),
        )
    except (TypeError, AttributeError) as error:
        raise ValueError(f"not a readable record: {error}") from error


_PLAIN_FIELDS: Final = (
    *("id", "run_id", "probe_id", "kind", "kind_version", "started_at"),
    *("duration_ms", "stream_id", "seq", "boot_id", "schema"),
)


def _processor(told: Any) -> Processor | None:
    if not isinstance(told, Mapping) or not isinstance(told.get("busy"), bool):
        return None
    return _known(Processor, told)  # type: ignore[no-any-return]


def _known(kind: Any, values: Mapping[str, Any]) -> Any:
    return kind(**{name: values[name] for name in kind.__slots__ if name in values})


def _location(values: Mapping[str, Any]) -> Any:
    return _known(Location, {**values, "quality_reasons": tuple(values.get("quality_reasons") or ())})
