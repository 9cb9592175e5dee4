"""Describe one record as it is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sigprobe.collector.store.schema import LOWER_BOUNDS, METRICS

RESULT_COLUMNS: Final = (
    *("id", "receive_no", "probe_id", "stream_id", "seq", "run_id", "kind", "kind_version", "schema", "tps_id"),
    *("regency", "site", "operator_plmn", "operator_name", "outcome", "failure_code", "verdict_owner"),
    *("verdict_cause", "lat", "lon", "started_at", "received_at", "corrected_at", "boot_id", "since_boot_s", "carrier"),
    *("line", "sha256", "batch_id", "place", "target", *METRICS, *LOWER_BOUNDS.values(), "next_contact_s"),
)
"""The columns of `results` in the order in which both writers give their values."""

BATCH_COLUMNS: Final = ("id", "carrier", "token_id", "received_at", "n", "ids", "anchors", "published_no", "summed")
"""The same of `batches`."""


@dataclass(frozen=True, slots=True)
class NewResult:
    """Line and the columns read from it. The bytes are authoritative; the columns are for queries."""

    id: str
    probe_id: str
    stream_id: str
    seq: int
    run_id: str
    kind: str
    kind_version: int | None
    schema: int | None
    tps_id: str | None
    regency: str | None
    site: str | None
    operator_plmn: str | None
    operator_name: str | None
    outcome: str
    failure_code: str | None
    verdict_owner: str | None
    verdict_cause: str | None
    lat: float | None
    lon: float | None
    started_at: datetime
    line: bytes
    sha256: bytes
    boot_id: str | None = None
    since_boot_s: float | None = None
    corrected_at: datetime | None = None  # by its own offset
    clock_error_s: float | None = None  # its uncertainty
    target: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)  # by names of `store.schema.METRICS`
    at_least: frozenset[str] = frozenset()  # metrics that are only lower bounds
    next_contact_s: float | None = None  # of a run record


@dataclass(frozen=True, slots=True)
class NewBatch:
    """Rows that one sender sent together, with distinct ids. `carrier` is the token's name, or that of an import."""

    rows: Sequence[NewResult]
    carrier: str
    token_id: str | None
    received_at: datetime
