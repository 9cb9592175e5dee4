"""Define the record that all parts share, and the codes for its failures.

A `Result` is shared by checks, runs, queue, protocol and collector. Its bytes are fixed once, when it is put into the
queue: UTF-8, compact, one line. Missing values are `None`, never 0. Names carry units.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from operator import attrgetter
from typing import Any, Final

SCHEMA: Final = 1
"""Version of the envelope. Additive changes never raise it."""

RUN_KIND: Final = "run"
"""The kind of the record that ends each run."""

MAX_LINE_BYTES: Final = 64 * 1024
"""The longest line the collector takes; `to_line` refuses to make a longer one."""

MAX_WHOLE_NUMBER: Final = 2**63 - 1


class Outcome(StrEnum):
    """Observation of a check. Set by the kind alone; thresholds never change it."""

    OK = "ok"
    DEGRADED = "degraded"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Failure:
    """Reason why an outcome is not `ok`: a code of `CODES` and a technical detail that is never translated."""

    code: str
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """Target of a check: name and address as configured, and the address really used (null without one)."""

    name: str
    address: str | None = None
    address_used: str | None = None


@dataclass(frozen=True, slots=True)
class Location:
    """Position of the device. Degrees WGS 84, metres, seconds; a negative `fix_age_s` is a fix after the start."""

    lat: float
    lon: float
    alt_m: float | None = None
    accuracy_m: float | None = None
    fix: str | None = None  # "2d", "3d", or null if the source reports none
    satellites: int | None = None
    hdop: float | None = None
    source: str | None = None  # gpsd, nmea, modem, fixed, manual
    fix_age_s: float | None = None
    quality: str | None = None
    quality_reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Operator:
    """Mobile operator: the raw PLMN (MCC + MNC) and a name. Either may be unknown."""

    plmn: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Network:
    """Link in use when the check started. Unknown values are null."""

    interface: str | None = None
    access: str | None = None  # wifi, cellular, ethernet
    family: str | None = None  # ipv4, ipv6, both
    gateway: str | None = None
    operator: Operator = field(default_factory=Operator)
    rat: str | None = None
    registration: str | None = None
    roaming: bool | None = None
    rssi_dbm: float | None = None
    rsrp_dbm: float | None = None
    rsrq_db: float | None = None
    sinr_db: float | None = None
    cell_id: str | None = None
    area_code: str | None = None
    wifi_ssid_hash: str | None = None


@dataclass(frozen=True, slots=True)
class Clock:
    """Accuracy of the device's clock. `boottime_ns` is CLOCK_BOOTTIME: it counts suspend."""

    boottime_ns: int | None = None
    synced: bool | None = None
    last_sync_age_s: float | None = None
    offset_est_ms: float | None = None
    offset_err_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Processor:
    """Processor time that the device had for a check. If `busy`, its rates are too low and its delays too long.

    `wait_ratio`: share of the time in which a ready thread waited for a processor, null where the system does not count
    it. `used_ratio`: processor seconds of this process per second. `wake_late_ms`: mean delay of a sleeping thread.
    """

    busy: bool
    wait_ratio: float | None = None
    used_ratio: float | None = None
    wake_late_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Tags:
    """Identity, place and link of a record: the same for every kind."""

    tps_id: str | None = None
    election_id: str | None = None
    site: str | None = None
    location: Location | None = None
    network: Network = field(default_factory=Network)
    clock: Clock = field(default_factory=Clock)
    processor: Processor | None = None


@dataclass(frozen=True, slots=True)
class Software:
    """Program that made the record."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Result:
    """Result of one check, or of one run. `stream_id` and `seq` are null until the queue has assigned them.

    `id` gives identity and idempotency, never order; order is (`probe_id`, `stream_id`, `seq`). `started_at` is RFC
    3339 UTC from the wall clock, `duration_ms` is from the monotonic clock.
    """

    id: str
    run_id: str
    probe_id: str | None
    kind: str
    kind_version: int
    target: Target
    started_at: str
    duration_ms: float | None
    outcome: Outcome
    failure: Failure | None
    data: Mapping[str, Any]
    tags: Tags
    software: Software
    stream_id: str | None = None
    seq: int | None = None
    boot_id: str | None = None
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        """Check the record's invariant: `failed` and `skipped` always have a failure, `ok` never does."""
        if self.outcome in (Outcome.FAILED, Outcome.SKIPPED) and self.failure is None:
            raise ValueError(f"outcome {self.outcome} needs a failure")
        if self.outcome is Outcome.OK and self.failure is not None:
            raise ValueError("outcome ok carries no failure")

    def placed(self, *, probe_id: str, stream_id: str, seq: int, boot_id: str | None) -> Result:
        """Set the record's place in the queue's order; called inside the put transaction."""
        placed = object.__new__(Result)  # dataclasses.replace takes ten times as long
        for store, value in zip(_STORES, _READ(self), strict=True):
            store(placed, value)
        for name, given in (("probe_id", probe_id), ("stream_id", stream_id), ("seq", seq), ("boot_id", boot_id)):
            object.__setattr__(placed, name, given)
        return placed

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain JSON values, in the order of the published schema."""
        tags = self.tags
        place = tags.location
        network = tags.network
        record = self._outline()
        record.update(
            target=_plain(self.target),
            outcome=str(self.outcome),
            failure=None if self.failure is None else _plain(self.failure),
            tags={
                **_plain(tags),
                "location": None
                if place is None
                else {**_plain(place), "quality_reasons": list(place.quality_reasons)},
                "network": {**_plain(network), "operator": _plain(network.operator)},
                "clock": _plain(tags.clock),
                "processor": None if tags.processor is None else _plain(tags.processor),
            },
            software=_plain(self.software),
        )
        return record

    def to_line(self) -> bytes:
        """Return the record's bytes: UTF-8, compact, one line, no line end.

        Raises ValueError when a number is not finite or the line is longer than `MAX_LINE_BYTES`.
        """
        return _line(self._outline())

    def line_around_seq(self, *, probe_id: str, stream_id: str, boot_id: str | None) -> tuple[bytes, bytes]:
        """Return the parts of the placed record's line before and after the value of `seq`.

        The queue assigns `seq` inside its transaction, so all slow work on the line is done before it. Raises
        ValueError as `to_line` does.
        """
        place = {"probe_id": probe_id, "stream_id": stream_id, "seq": None, "boot_id": boot_id}
        # a quote inside a string is escaped, so the first match is the field itself
        head, _, tail = _line({**self._outline(), **place}, room=_LONGEST_SEQ).partition(b'"seq":null')
        return head + b'"seq":', tail

    def _outline(self) -> dict[str, Any]:
        """Return the record in the order of the published schema, its parts unconverted."""
        outline = dict(zip(_ORDER, _IN_ORDER(self), strict=True))
        outline["data"] = dict(self.data)  # the encoder accepts no other mapping
        return outline


def _line(outline: dict[str, Any], room: int = 0) -> bytes:
    try:
        # four times as fast as json's own; loading the settings loads it anyway; it encodes dataclasses
        from pydantic_core import to_json

        line = to_json(outline, inf_nan_mode="constants")
    except (ValueError, ImportError, OSError):  # a disk that cannot load a module may still store the record
        line = b"NaN"
    if b"NaN" in line or b"Infinity" in line:
        # NaN must raise, half a surrogate must not: json's own encoder distinguishes them
        line = _ENCODER.encode(outline).encode("utf-8", errors="replace")
    if len(line) + room > MAX_LINE_BYTES:
        raise ValueError(f"a record of {len(line)} bytes is over the limit of {MAX_LINE_BYTES}")
    return line


_LONGEST_SEQ: Final = len(str(MAX_WHOLE_NUMBER)) - len("null")
_ORDER: Final = (
    *("schema", "id", "run_id", "probe_id", "stream_id", "seq", "boot_id", "kind", "kind_version", "target"),
    *("started_at", "duration_ms", "outcome", "failure", "data", "tags", "software"),
)
_IN_ORDER: Final = attrgetter(*_ORDER)
_READ: Final = attrgetter(*(f.name for f in fields(Result)))
_STORES: Final = tuple(getattr(Result, f.name).__set__ for f in fields(Result))
_GETTERS: Final = {
    kind: (tuple(f.name for f in fields(kind)), attrgetter(*(f.name for f in fields(kind))))
    for kind in (Target, Failure, Location, Network, Operator, Clock, Processor, Tags, Software)
}


def _plain(value: Any) -> dict[str, Any]:
    """Return a slotted dataclass as a dict, its parts unconverted; `dataclasses.asdict` takes ten times as long.

    Raises TypeError for anything else.
    """
    if type(value) not in _GETTERS:
        raise TypeError(f"{type(value).__name__} has no place in a record")
    names, get = _GETTERS[type(value)]
    return dict(zip(names, get(value), strict=True))


_ENCODER: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), check_circular=False, default=_plain
)


def new_id(now_s: float | None = None) -> str:
    """Generate a UUIDv7 (RFC 9562). A clock before 1970 counts as 1970: the id is identity, never order."""
    millis = max(0, int((time.time() if now_s is None else now_s) * 1000)) & (2**48 - 1)
    value = millis << 80 | 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62 | secrets.randbits(62)
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def is_at_least(data: Mapping[str, Any], name: str) -> bool:
    """Return whether a rate of a `throughput` record is only a lower bound.

    `…_at_least` then has the reason, or the device was short of processor time. Records of earlier versions have no
    reason. `name` is `download_bps` or `upload_bps`.
    """
    if data.get("device_busy") is True:
        return True
    way = name.removesuffix("_bps")
    if isinstance(data.get(f"{way}_at_least"), str):
        return True
    # the other engines report no interval, whatever ended them
    return data.get("engine") == "http" and data.get(f"ended_{way}") == "data_cap" and data.get(f"{way}_ci_bps") is None


def is_to_proxy(data: Mapping[str, Any], name: str) -> bool:
    """Return whether a rate of a `throughput` record holds only as far as a proxy, which keeps each upload until it
    is whole. Behind the proxy the rate may be lower."""
    return name == "upload_bps" and data.get("upload_counted_by") == "proxy"


def format_time(when: datetime) -> str:
    """Format a time as RFC 3339 UTC with milliseconds: `2029-02-14T07:05:01.123Z`."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(text: str) -> datetime | None:
    """Parse an RFC 3339 time as an aware datetime; None for an invalid one, or one outside the calendar's range."""
    try:
        when = datetime.fromisoformat(text.upper().replace("Z", "+00:00"))
        return when.astimezone(UTC) if when.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def utc_now() -> str:
    """Return the wall clock as text. For `started_at` and the like; spans use the monotonic clock."""
    return format_time(datetime.now(UTC))
