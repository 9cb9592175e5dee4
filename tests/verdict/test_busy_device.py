"""A busy device looks like a slow link; the operator is not accused for it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from sigprobe.record import profile
from sigprobe.record.read_record import read_result
from sigprobe.record.result import Network, Processor, Result, Tags, is_at_least
from sigprobe.verdict import decide, readings, shortfalls
from tests.support.collector_client import make_result
from tests.verdict.test_verdict import GATEWAY, check, looked_again, lossy, ping, plain, web

NEED = profile.load(profile.DEFAULT)
BUSY = Processor(True, 0.7, 0.1, 30.0)
IDLE = Processor(False, 0.0, 0.1, 0.2)


def rate(busy: bool | None, **data: Any) -> Result:
    """Return a speed below the need, measured to its end."""
    told = {"engine": "http", "download_bps": 100_000, "download_ci_bps": [90_000, 110_000], "device_busy": busy}
    return check("throughput", "speed", "http://s.example/", **{**told, **data})


def on(result: Result, processor: Processor, **network: Any) -> Result:
    """Return the result of a device in this state."""
    return replace(result, tags=replace(result.tags, processor=processor, network=Network(**network)))


@pytest.mark.parametrize(
    ("busy", "first"), [(True, "device_busy"), (False, "operator_congestion"), (None, "operator_congestion")]
)
def test_a_rate_of_a_busy_device(busy: bool | None, first: str) -> None:
    """It is a lower bound: it falls short of nothing, and is no sign of health either."""
    verdict = decide([ping(), rate(busy)], NEED)
    assert plain(verdict) == ("uncertain", "below_need")
    assert verdict.candidates[0].cause == first
    assert is_at_least(rate(busy).data, "download_bps") is bool(busy)
    assert bool(shortfalls([rate(busy)], NEED)) is not bool(busy)


@pytest.mark.parametrize(("bps", "falls_short"), [(90e6, False), (1000, True)])
def test_a_rate_as_far_as_a_proxy_is_no_sign_of_health(bps: float, falls_short: bool) -> None:
    """Behind the proxy it may be lower, so a high one says nothing; a low one falls short already."""
    found = check("throughput", "speed", "http://s.example/", upload_bps=bps, upload_counted_by="proxy")
    assert bool(shortfalls([found], NEED)) is falls_short
    (reading,) = readings(found, NEED)
    assert reading.to_proxy and (reading.grade is not None) is falls_short


def test_a_good_rate_of_a_busy_device_is_good() -> None:
    """More than the need is enough, however busy the device was."""
    fast = {"download_bps": 50_000_000, "download_ci_bps": [49_000_000, 51_000_000]}
    assert plain(decide([ping(), rate(True, **fast)], NEED)) == ("none", "healthy")


@pytest.mark.parametrize(("processor", "first"), [(BUSY, "device_busy"), (IDLE, "operator_congestion")])
def test_a_page_of_a_busy_device(processor: Processor, first: str) -> None:
    """A slow page has the device among its causes only where it was busy."""
    slow = on(web(total_ms=9_000.0), processor, gateway="192.168.8.1")
    verdict = decide([ping(), slow], NEED)
    assert plain(verdict) == ("uncertain", "below_need")
    assert verdict.candidates[0].cause == first


@pytest.mark.parametrize(("processor", "owner"), [(BUSY, "uncertain"), (IDLE, "operator")])
def test_a_weak_signal_is_not_blamed_for_a_busy_device(processor: Processor, owner: str) -> None:
    """The operator is named for a weak signal only where the device itself was quick."""
    slow = on(ping(rtt_median_ms=900.0), processor, access="cellular", rsrp_dbm=-120.0)
    assert decide([slow], NEED).owner == owner


def test_the_record_keeps_it() -> None:
    """It is in the line, comes back from it, and older records have none."""
    result = make_result(tags=Tags(processor=BUSY))
    line = json.loads(result.to_line())
    assert line["tags"]["processor"] == {"busy": True, "wait_ratio": 0.7, "used_ratio": 0.1, "wake_late_ms": 30.0}
    assert read_result(line).tags.processor == BUSY
    assert result.to_dict()["tags"]["processor"]["busy"] is True
    for broken in (None, "x", {}, {"busy": 1}):
        assert read_result({**line, "tags": {**line["tags"], "processor": broken}}).tags.processor is None
    del line["tags"]["processor"]
    assert read_result(line).tags.processor is None


@pytest.mark.parametrize(("late_ms", "owner", "first"), [(400.0, "uncertain", "device_busy"), (3.0, "operator", None)])
def test_a_device_that_freezes_loses_echoes_itself(late_ms: float, owner: str, first: str | None) -> None:
    """Loss on the device's own modem is the operator's only where the device did not stand still."""
    lost = lossy(40.0)
    walk = replace(lost, data={**lost.data, "second": looked_again(questions={"sent": 30, "answered": 24})})
    state = Processor(late_ms > 20, 0.0, 0.0, late_ms)
    verdict = decide([on(r, state, gateway=GATEWAY, access="cellular") for r in (web(), walk)], NEED)
    assert verdict.owner == owner
    assert (verdict.candidates[0].cause if verdict.candidates else None) == first
