"""Read tests per place from the stored records: the last test of each run, its position, and whether it was online.

Records are read as plain JSON: they may be from another version or another device.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sigprobe.record import kinds
from sigprobe.record.foreign_json import object_or_none
from sigprobe.record.result import RUN_KIND, parse_time
from sigprobe.verdict.verdict import CONNECTED

Position = tuple[float, float]

_UNTRUSTED: Final = frozenset({"zero", "useless_accuracy"})
DOUBTED: Final = frozenset({"jump", "time_back", "other_province"})
"""Reasons for which a position is shown, but not recommended as a destination."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One run of `sigprobe test`, as far as it was stored.

    `healthy` is from the verdict, or from the outcomes if the run was cut short. `connected` (the internet was
    reachable) is from the run's path check, or else from the verdict. `position` is its last plausible one.
    """

    run_id: str
    tps_id: str | None
    at: datetime | None
    own: bool
    cause: str | None
    healthy: bool
    connected: bool
    position: Position | None
    operator: str | None
    rat: str | None


@dataclass(slots=True)
class _Growing:
    """Records of one run during reading."""

    own: bool
    first: dict[str, Any]
    outcomes: set[str] = field(default_factory=set)
    path: str | None = None
    position: Position | None = None
    network: dict[str, Any] = field(default_factory=dict)
    verdict: dict[str, Any] = field(default_factory=dict)


def visits(rows: Iterable[tuple[bytes, bool]]) -> list[Visit]:
    """Return the runs in the order of storage. A row is a record's bytes and whether this device made it."""
    runs: dict[str, _Growing] = {}
    for line, own in rows:
        record = object_or_none(line) or {}
        run_id = record.get("run_id")
        if not isinstance(run_id, str):
            continue
        run = runs.setdefault(run_id, _Growing(own, record))
        tags = _object(record.get("tags"))
        run.position = position(tags.get("location"), doubted=False) or run.position
        run.network = {**run.network, **{k: v for k, v in _object(tags.get("network")).items() if v is not None}}
        if record.get("kind") == RUN_KIND:
            run.verdict = _object(_object(record.get("data")).get("verdict"))
        else:
            run.outcomes.add(str(record.get("outcome")))
        if kinds.way(str(record.get("kind"))) is kinds.Way.WALK:
            run.path = str(record.get("outcome"))
    return [_visit(run_id, run) for run_id, run in runs.items()]


def newest_position(rows: Iterable[tuple[bytes, bool]]) -> tuple[Position, datetime | None] | None:
    """Return this device's last stored position and the start of its check; None without any."""
    found: tuple[Position, datetime | None] | None = None
    for line, own in rows:
        record = object_or_none(line) or {}
        here = position(_object(record.get("tags")).get("location"))
        if own and here is not None:
            found = here, parse_time(str(record.get("started_at")))
    return found


def newest_by_tps(found: Iterable[Visit]) -> dict[str, Visit]:
    """Return the newest test of each TPS.

    The order of storage decides, since clocks may be wrong. An imported record of another device is newer only if its
    own clock says so.
    """
    newest: dict[str, Visit] = {}
    for test in found:
        if test.tps_id is None:
            continue
        known = newest.get(test.tps_id)
        if known is None or test.own or (test.at is not None and (known.at is None or test.at > known.at)):
            newest[test.tps_id] = test
    return newest


def position(value: object, *, doubted: bool = True) -> Position | None:
    """Return the degrees of a location tag; None without a plausible one.

    Without `doubted`, a position is also left out if the receiver was wrong, or if it does not fit its TPS.
    """
    place = _object(value)
    lat, lon = _degrees(place.get("lat"), 90), _degrees(place.get("lon"), 180)
    if lat is None or lon is None:
        return None
    reasons = place.get("quality_reasons")
    refused = _UNTRUSTED if doubted else _UNTRUSTED | DOUBTED
    if isinstance(reasons, list) and refused & {r for r in reasons if isinstance(r, str)}:
        return None
    return lat, lon


def _visit(run_id: str, run: _Growing) -> Visit:
    tags = _object(run.first.get("tags"))
    operator = _object(run.network.get("operator"))
    cause = _text(run.verdict.get("cause"))
    owner = run.verdict.get("owner")
    answered = bool(run.outcomes & {"ok", "degraded"})
    if cause is not None:
        healthy = owner == "none"
        connected = answered and (owner in ("none", "service", "collector") or cause in CONNECTED)
    else:
        healthy = connected = answered and "failed" not in run.outcomes
    if run.path in ("ok", "failed"):
        # the check for exactly this question: did anything beyond the gateway answer
        connected = run.path == "ok"
    return Visit(
        run_id=run_id,
        tps_id=_text(tags.get("tps_id")),
        at=parse_time(str(run.first.get("started_at"))),
        own=run.own,
        cause=cause,
        healthy=healthy,
        connected=connected,
        position=run.position,
        operator=_text(operator.get("name")) or _text(operator.get("plmn")),
        rat=_text(run.network.get("rat")),
    )


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value[:100] if isinstance(value, str) and value else None


def _degrees(value: object, most: float) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) <= most else None  # NaN compares false
