"""A clock is wrong from one limit on, beyond the uncertainty of the measurement that says so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sigprobe.device.doctor import check_clock
from sigprobe.record.clock_limits import CLOCK_WRONG_S, SERVER_DATE_ERROR_S
from sigprobe.record.plausible_time import RELEASED
from sigprobe.record.result import Clock, Result
from sigprobe.verdict import decide
from tests.verdict.test_verdict import NEED, outwards, ping


def _told(offset_s: float, error_s: float) -> Result:
    """A check on a device that a receipt told how far its clock is off."""
    found = ping()
    clock = Clock(offset_est_ms=offset_s * 1000, offset_err_ms=error_s * 1000)
    return replace(found, tags=replace(found.tags, clock=clock))


@pytest.mark.parametrize(("beyond_s", "wrong"), [(-1.0, False), (1.0, True)])
@pytest.mark.parametrize("error_s", [0.0, 20.0])
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_receipt_and_the_doctor_agree(beyond_s: float, wrong: bool, error_s: float, sign: int) -> None:
    """The verdict of a run and `doctor` draw the line at the same place."""
    offset_s = sign * (CLOCK_WRONG_S + error_s + beyond_s)
    assert (decide([_told(offset_s, error_s)], NEED).cause == "clock_wrong") is wrong
    now_s = RELEASED.timestamp() + 86_400
    found = check_clock(now_s + sign * (CLOCK_WRONG_S + beyond_s), 0.0, True, now_s)
    assert (found.state == "fail") is wrong


@pytest.mark.parametrize(("beyond_s", "wrong"), [(-1.0, False), (1.0, True)])
def test_a_foreign_server_has_an_uncertainty(beyond_s: float, wrong: bool) -> None:
    """Dates of foreign servers count from their own uncertainty on; two that agree are needed."""
    offset_s = CLOCK_WRONG_S + SERVER_DATE_ERROR_S + beyond_s
    date = {"clock_offset_s": offset_s, "tls": True, "failure": None}
    rows = [{"host": f"{name}.example", "address": f"203.0.113.{n}", **date} for n, name in enumerate("ab")]
    assert (decide([ping(), outwards(web=rows)], NEED).cause == "clock_wrong") is wrong
