"""Rebuild a run's screen from its stored records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sigprobe import places
from sigprobe.record.profile import Profile
from sigprobe.record.read_record import read_result
from sigprobe.record.result import RUN_KIND, Result, parse_time
from sigprobe.render.view import RunView
from sigprobe.verdict import UNCERTAIN, Candidate, Verdict


def view_of(
    records: Sequence[Mapping[str, Any]],
    profile: Profile | None,
    place: str | None = None,
    *,
    automatic: bool = False,
    folder: Path | None = None,
) -> RunView:
    """Build the view of one run from its stored records, the run record included.

    Results are in the order of the run's plan. A run that was cut off has no run record; its verdict is then open.
    Raises ValueError without records, or for an invalid one.
    """
    results = [read_result(record) for record in records]
    if not results:
        raise ValueError("no records")
    run = next((r for r in results if r.kind == RUN_KIND), None)
    checks = [r for r in results if r.kind != RUN_KIND]
    order = _order(run)
    checks.sort(key=lambda r: (order.get(r.target.name, len(order)), r.seq or 0))
    first = run or results[0]
    return RunView(
        results=checks,
        verdict=_verdict(run, checks),
        tags=first.tags,
        started_at=parse_time(first.started_at) or datetime.now(UTC),
        profile=profile,
        zone=places.zone(first.tags.tps_id),
        place=place,
        data_used_bytes=int(_number(first.data.get("data_used_bytes")) if run is not None else 0),
        interface_bytes=_interface_bytes(run),
        saved=len(results),
        automatic=automatic,
        folder=folder,
    )


def _interface_bytes(run: Result | None) -> int | None:
    told = None if run is None else run.data.get("data_interface_bytes")
    return told if isinstance(told, int) and not isinstance(told, bool) else None


def _order(run: Result | None) -> dict[str, int]:
    plan = [] if run is None else run.data.get("plan")
    names = [step.get("name") for step in plan if isinstance(step, dict)] if isinstance(plan, list) else []
    return {name: index for index, name in enumerate(names) if isinstance(name, str)}


def _verdict(run: Result | None, checks: Sequence[Result]) -> Verdict:
    told = None if run is None else run.data.get("verdict")
    if not isinstance(told, dict):
        return Verdict(UNCERTAIN, "uncertain", 0.0, ())
    evidence = tuple(str(name) for name in told.get("evidence") or ())
    concerned = tuple(r.target.name for r in checks if r.id in evidence and r.failure is not None)
    return Verdict(
        str(told.get("owner")),
        str(told.get("cause")),
        _number(told.get("confidence")),
        evidence,
        concerned,
        _candidates(told.get("candidates")),
    )


def _candidates(told: object) -> tuple[Candidate, ...]:
    rows = [row for row in told if isinstance(row, dict)] if isinstance(told, list) else []
    return tuple(Candidate(*(str(row.get(key)) for key in ("owner", "cause", "settle"))) for row in rows)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0
