"""Read the speed and page tests of a place from the queue, as the forecast needs them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from sigprobe.buffer import Buffer
from sigprobe.record.kinds import KINDS, Way, measures_rate, way
from sigprobe.record.result import is_at_least, is_to_proxy, parse_time
from sigprobe.record.window import recorded_variation
from sigprobe.verdict.failure_codes import NOT_RUN
from sigprobe.verdict.forecast import Measurement


def past_tests(
    buffer: Buffer, tps_id: str | None, site: str | None, within_h: float
) -> tuple[list[Measurement], dict[str, tuple[float, bool]]]:
    """The uploads of a place, and per web target the age in hours of its newest test and whether it answered."""
    tests: list[Measurement] = []
    services: dict[str, tuple[float, bool]] = {}
    for age, record in _records(buffer, tps_id, site, within_h):
        if way(record["kind"]) is Way.PAGE:
            name = str(record.get("target", {}).get("name"))
            if name not in services or age <= services[name][0]:
                services[name] = (age, record.get("outcome") in ("ok", "degraded"))
        elif (test := _measurement(age, record)) is not None:
            tests.append(test)
    return tests, services


def _records(
    buffer: Buffer, tps_id: str | None, site: str | None, within: float
) -> Iterator[tuple[float, dict[str, Any]]]:
    """Speed and page tests of this place in the last hours with their age in hours, from the device's queue."""
    wanted = {kind for kind in KINDS if measures_rate(kind) or way(kind) is Way.PAGE}
    needles = [f'"{kind}"'.encode() for kind in wanted]
    for row in buffer.rows(own=True):
        # a look at the bytes is cheap, and the queue may hold a year
        if not any(needle in row.line for needle in needles):
            continue
        record = json.loads(row.line)
        tags = record.get("tags", {})
        if record.get("kind") not in wanted or record.get("outcome") == "skipped":
            continue
        began = parse_time(str(record.get("started_at")))
        if began is None or (tags.get("tps_id"), tags.get("site")) != (tps_id, site):
            continue
        age = (time.time() - began.timestamp()) / 3600
        if -1 <= age <= within:
            yield max(0.0, age), record


def _measurement(age: float, record: dict[str, Any]) -> Measurement | None:
    """Return the upload of a throughput test; None where none was tried, or the link was not the reason."""
    data = record.get("data", {})
    if data.get("upload_bps") is None and data.get("upload_failure") in (None, *NOT_RUN):
        return None
    if is_to_proxy(data, "upload_bps"):
        return None  # behind the proxy the link may be slower, so it promises nothing
    interval = data.get("upload_ci_bps")
    whole = isinstance(interval, list) and len(interval) == 2
    return Measurement(
        age,
        data.get("upload_bps"),
        (interval[0], interval[1]) if whole else None,
        data.get("loaded_rtt_ms") or data.get("idle_rtt_ms"),
        is_at_least(data, "upload_bps"),
        recorded_variation(data.get("upload_window")),
        record.get("tags", {}).get("network", {}).get("access") == "ethernet",
    )
