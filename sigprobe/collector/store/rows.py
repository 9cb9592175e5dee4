"""Row types of stored results, as they go in and as they come out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sigprobe.collector.store.schema import MAX_TEXT


@dataclass(frozen=True, slots=True)
class NewResult:
    """A line and the columns read from it. The line's bytes are what counts; the columns are for finding it."""

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
    clock_error_s: float | None = None  # how far that may be off


@dataclass(frozen=True, slots=True)
class StoredResult:
    """What the pages show of a stored record, and its line."""

    id: str
    receive_no: int
    probe_id: str
    kind: str
    tps_id: str | None
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
    received_at: datetime
    carrier: str
    line: bytes


@dataclass(frozen=True, slots=True)
class Tally:
    """Checks of one TPS or one operator, run records left out: counts by outcome, and the last time."""

    subject: str
    counts: Mapping[str, int]
    last_received_at: datetime


@dataclass(frozen=True, slots=True)
class Filters:
    """What a reader wants to see; None means all. `operator` is a PLMN or a name."""

    tps_id: str | None = None
    operator: str | None = None
    outcome: str | None = None


def sound_text(text: str) -> str:
    """Text as a column can hold it: no NUL (PostgreSQL), no lone surrogate, at most `MAX_TEXT` characters."""
    return text[:MAX_TEXT].replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
