"""Tell what a stored row contributes to the rollups."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Row

from sigprobe.collector.rollups.sums import Contribution
from sigprobe.collector.store.schema import LOWER_BOUNDS, MAX_WORD, METRICS, results

COLUMNS: Final = tuple(
    results.c[name]
    for name in (
        *("id", "batch_id", "probe_id", "boot_id", "since_boot_s", "corrected_at", "started_at", "received_at"),
        *("tps_id", "regency", "site", "operator_plmn", "operator_name", "kind", "target", "outcome", "failure_code"),
        *("verdict_owner", "verdict_cause", "carrier", "stream_id", "seq", *METRICS, *LOWER_BOUNDS.values()),
    )
)
"""What `contribution` reads, and what else the worker needs of a row."""

_AHEAD: Final = timedelta(minutes=10)
_FIRST_RELEASE: Final = datetime(2026, 1, 1, tzinfo=UTC)
_KEPT: Final[Any] = object()


def contribution(row: Row[Any] | Any, corrected_at: datetime | Any | None = _KEPT) -> Contribution:
    """Return what a row adds to its buckets; `corrected_at` replaces the row's own."""
    corrected = row.corrected_at if corrected_at is _KEPT else corrected_at
    metrics = {
        name: (value, bool(getattr(row, LOWER_BOUNDS[name])) if name in LOWER_BOUNDS else False)
        for name in METRICS
        if (value := getattr(row, name)) is not None
    }
    return Contribution(
        event_at=event_time(corrected, row.started_at, row.received_at),
        regency=row.regency,
        district=row.tps_id[:6] if row.regency else None,
        operator=_word(row.operator_plmn or row.operator_name),
        kind=_word(row.kind) or "",
        target=row.target or "",
        station=_word(row.tps_id or row.site) or "",
        probe=row.probe_id,
        outcome=_word(row.outcome) or "",
        failure=_word(row.failure_code),
        owner=_word(row.verdict_owner),
        cause=_word(row.verdict_cause),
        metrics=metrics,
    )


def event_time(corrected_at: datetime | None, started_at: datetime, received_at: datetime) -> datetime:
    """Return when a check took place: corrected, else by its device's clock if that can be, else when it came."""
    if corrected_at is not None:
        return corrected_at
    return started_at if _FIRST_RELEASE <= started_at <= received_at + _AHEAD else received_at


def _word(text: str | None) -> str | None:
    return None if text is None else text[:MAX_WORD]
