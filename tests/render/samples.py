"""Runs as they come out of the field, for the screens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sigprobe.record import profile
from sigprobe.record.result import (
    Failure,
    Location,
    Network,
    Operator,
    Outcome,
    Result,
    Software,
    Tags,
    Target,
)
from sigprobe.render.view import RunView, UploadLine
from sigprobe.verdict import decide

NEED = profile.load(profile.DEFAULT)
WHEN = datetime(2026, 11, 27, 7, 5, 12, tzinfo=UTC)
TAGS = Tags(
    tps_id="3273011001005",
    election_id="pemilu-2029",
    location=Location(-6.91474, 107.60981, accuracy_m=8.0, fix="3d", source="gpsd", fix_age_s=1.0),
    network=Network("wwan0", "cellular", "ipv4", "10.64.0.1", Operator("51010", "Telkomsel"), "lte", rsrp_dbm=-98.0),
)
RTTS = [55.0, 57.5, 66.0, 58.0, 90.0, 57.0, 59.0, 62.0, None, 60.0]


def result(
    kind: str,
    name: str,
    address: str | None = None,
    code: str | None = None,
    outcome: Outcome | None = None,
    tags: Tags = TAGS,
    **data: Any,
) -> Result:
    """One record with an id made of its name, so that goldens stay the same."""
    return Result(
        id=f"{kind}-{name}",
        run_id="00000000-0000-7000-8000-000000000001",
        probe_id="00000000-0000-4000-8000-000000000002",
        kind=kind,
        kind_version=1,
        target=Target(name, address),
        started_at="2026-11-27T07:05:12.000Z",
        duration_ms=1234.5,
        outcome=outcome or (Outcome.FAILED if code else Outcome.OK),
        failure=Failure(code, "a technical detail") if code else None,
        data=data,
        tags=tags,
        software=Software("sigprobe", "0.1.0"),
    )


def ping(name: str = "gateway", **data: Any) -> Result:
    values = {"rtt_median_ms": 62.4, "jitter_ms": 9.2, "loss_ratio": 0.0, "rtts_ms": RTTS[:8], **data}
    return result("ping", name, "1.1.1.1", **values)


def dns(name: str = "kpu", **data: Any) -> Result:
    return result("dns", name, "kpu.go.id", **{"query_ms": 41.2, **data})


def web(name: str = "sirekap", **data: Any) -> Result:
    return result(
        "http", name, "https://sirekap-web.kpu.go.id/", **{"total_ms": 380.0, "tls_version": "TLSv1.3", **data}
    )


def speed(name: str = "center", **data: Any) -> Result:
    values = {"download_bps": 12_400_000.0, "upload_bps": 1_100_000.0, **data}
    return result("throughput", name, "https://collector.example/", **values)


def view(results: Sequence[Result], **changes: Any) -> RunView:
    """The view of a run with its real verdict; everything was sent unless said otherwise."""
    made = RunView(
        results=results,
        verdict=decide(results, NEED),
        tags=TAGS,
        started_at=WHEN,
        profile=NEED,
        place="Kota Bandung",
        data_used_bytes=14_000_000,
        saved=len(results) + 1,
        upload=UploadLine("sent"),
    )
    return replace(made, **changes)
