"""Kind `throughput`: how fast data goes down and up, within a number of bytes and seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from sigprobe.measure.kind import Kind, Measured
from sigprobe.measure.throughput.data import ThroughputData, empty_data
from sigprobe.measure.throughput.options import MB, Options
from sigprobe.net.limits import OVERHEAD, Context
from sigprobe.record.result import Failure, Outcome

LEAST_WIRE_BYTES: Final = 40_000
"""With less left for the run no rate could be stated."""


def measure(options: Options, context: Context) -> Measured:
    """Measure with the configured engine, and record whether the device had processor time for it.

    Raises nothing for a target that fails.
    """
    watch = context.processor
    mark = None if watch is None else watch.mark()
    used = context.budget.used_bytes
    measured = _measure(options, context)
    wire = round((context.budget.used_bytes - used) * OVERHEAD)
    seen = None if watch is None or mark is None else watch.since(mark)
    data = {
        **measured.data,
        **({"wire_bytes": wire} if wire else {}),
        "device_busy": None if seen is None else seen.busy,
    }
    return replace(measured, data={**data, **(_whole_means(data) if data["device_busy"] else {})})


def _whole_means(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return rates that a busy device cannot exceed by chance: what it read late came in bursts of any rate."""
    found: dict[str, Any] = {}
    for way, count in (("download", "bytes_received"), ("upload", "bytes_sent")):
        rate, seconds = data.get(f"{way}_bps"), data.get(f"{way}_s")
        if rate is not None and seconds:
            found |= {f"{way}_bps": min(rate, round(data[count] * 8 / seconds)), f"{way}_ci_bps": None}
    return found


def _measure(options: Options, context: Context) -> Measured:
    data = empty_data(options.engine)
    if context.stop.is_set():
        return Measured(Outcome.SKIPPED, data, Failure("interrupted"))
    left = context.budget.left_wire_bytes()
    if left is not None and left < LEAST_WIRE_BYTES:
        return Measured(Outcome.SKIPPED, data, Failure("data_budget"))
    # the other engines know payload only
    wire_bytes = options.max_mb * MB
    limits: dict[str, Any] = {
        "direction": options.direction,
        "streams": options.streams,
        "max_bytes": wire_bytes if options.engine == "http" else int(wire_bytes / OVERHEAD),
        "max_s": options.max_s,
    }
    if options.engine == "speedtest":
        from sigprobe.measure.throughput import speedtest

        return speedtest.measure(data, context, **limits)
    if options.engine == "iperf3":
        from sigprobe.measure.throughput import iperf3

        return iperf3.measure(data, context, url=options.url or "", **limits)
    from sigprobe.measure.throughput import http_engine

    return http_engine.measure(data, context, url=options.url or "", **limits)


KIND: Final = Kind(
    "throughput",
    1,
    Options,
    ThroughputData,
    measure,
    exclusive=True,
)
