"""Make records of any size for tests of the queue."""

from __future__ import annotations

import random

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
    new_id,
    utc_now,
)


def record(
    *,
    kind: str = "ping",
    outcome: Outcome = Outcome.OK,
    rtts: int = 10,
    rng: random.Random | None = None,
    name: str | None = None,
) -> Result:
    """Return a record as a session makes it: about 1.4 kB with ten round trips, 8 bytes more for each further one."""
    rng = rng or random.Random()
    times = [round(rng.uniform(20, 80), 3) for _ in range(rtts)]
    return Result(
        id=name or new_id(),
        run_id=new_id(),
        probe_id=None,
        kind=kind,
        kind_version=1,
        target=Target("gateway", "192.0.2.1", "192.0.2.1"),
        started_at=utc_now(),
        duration_ms=2012.345,
        outcome=outcome,
        failure=None if outcome is Outcome.OK else Failure("timeout", "no reply within 2000 ms"),
        data={
            "sent": rtts,
            "received": rtts,
            "loss_ratio": 0.0,
            "rtt_min_ms": min(times, default=None),
            "rtt_avg_ms": round(sum(times) / rtts, 3) if rtts else None,
            "rtt_max_ms": max(times, default=None),
            "jitter_method": "rfc3550",
            "method": "icmp",
            "rtts_ms": times,
        },
        tags=Tags(
            tps_id="3273011001005",
            election_id="pemilu-2029",
            location=Location(-6.91474, 107.60981, alt_m=702.5, fix="3d", satellites=9, hdop=0.9, source="gpsd"),
            network=Network("wwan0", "cellular", "ipv4", "192.0.2.1", Operator("51010", "Telkomsel"), "lte"),
        ),
        software=Software("sigprobe", "0.1.0"),
    )
