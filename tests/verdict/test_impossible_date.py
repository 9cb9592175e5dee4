"""A date before the program's own release is wrong without any network."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from sigprobe.device.doctor import check_clock
from sigprobe.record.plausible_time import LATEST, RELEASED
from sigprobe.record.result import format_time
from sigprobe.verdict import decide
from tests.verdict.test_verdict import NEED, ping

WRONG = [RELEASED - timedelta(days=1), LATEST + timedelta(days=1), RELEASED.replace(year=1970)]


@pytest.mark.parametrize("when", WRONG, ids=str)
def test_the_verdict_says_so(when: object) -> None:
    failed = replace(ping(code="no_reply"), started_at=format_time(when))  # type: ignore[arg-type]
    verdict = decide([failed], NEED)
    assert (verdict.owner, verdict.cause, verdict.evidence) == ("local", "clock_wrong", (failed.id,))
    right = replace(failed, started_at=format_time(RELEASED + timedelta(days=30)))
    assert decide([right], NEED).cause != "clock_wrong"


@pytest.mark.parametrize("when", WRONG, ids=str)
def test_the_doctor_says_so_whatever_else_it_knows(when: object) -> None:
    now_s = when.timestamp()  # type: ignore[attr-defined]
    for server, synced in ((None, None), (None, True), (now_s, True)):
        assert check_clock(server, 0.0, synced, now_s).state == "fail"
    right = (RELEASED + timedelta(days=30)).timestamp()
    assert check_clock(None, 0.0, True, right).state == "ok"
