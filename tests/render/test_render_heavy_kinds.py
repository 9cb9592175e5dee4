"""The rows of whole pages and videos: number, word, threshold; nothing made up for what did not finish."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sigprobe.record import profile
from sigprobe.record.result import Outcome
from sigprobe.render.run_table import TableRow, result_rows
from sigprobe.verdict.readings import shortfalls
from tests.render.samples import result

NEED = profile.load(profile.DEFAULT)


def rows(kind: str, outcome: Outcome = Outcome.OK, code: str | None = None, **data: Any) -> list[TableRow]:
    return list(result_rows(result(kind, "front", None, code, outcome, **data), NEED, alone=True))


@pytest.mark.usefixtures("english")
def test_a_whole_page_has_its_time_and_its_parts() -> None:
    """The total is graded by the profile; beyond what is enough the limit stands beside it."""
    good, slow = (rows("web", total_ms=ms, resources_fetched=7, resources_found=7)[0] for ms in (1500.0, 5000.0))
    assert (good.label, good.value, good.word, good.notes) == ("Whole page", "1,500 ms", "good", ("7 of 7 parts",))
    assert (slow.word, slow.notes) == ("poor", ("(limit 4,000 ms)", "7 of 7 parts"))


@pytest.mark.usefixtures("english")
def test_an_incomplete_page_has_no_time() -> None:
    """Without a total the row says that it is incomplete, how much came, and why; a choice of fewer parts is fine."""
    data = {"total_ms": None, "first_byte_ms": 40.0, "resources_fetched": 3, "resources_found": 9}
    cut = rows("web", Outcome.DEGRADED, "page_incomplete", **data)[0]
    assert (cut.value, cut.word, cut.notes) == ("–", "incomplete", ("3 of 9 parts", "[SP-WEB-06]"))
    refused = rows("web", Outcome.DEGRADED, "page_incomplete", **(data | {"total_ms": 16.0}))[0]
    assert (refused.value, refused.word) == ("16 ms", "incomplete"), "parts that answered 404 all came, and fast"
    chosen = rows("web", **data)[0]
    assert (chosen.value, chosen.word) == ("40 ms", "answered")


@pytest.mark.usefixtures("english")
def test_a_speed_that_is_only_a_lower_bound_says_so() -> None:
    """It is never called too slow; where even the bound is enough, it has its word."""
    capped = {"engine": "http", "ended_download": "data_cap", "download_ci_bps": None}
    (bound,) = rows("throughput", download_bps=300_000, **capped)
    assert (bound.value, bound.word, bound.notes) == ("≥ 300 kbps", "", ())
    (enough,) = rows("throughput", download_bps=90e6, **capped)
    assert (enough.value, enough.word) == ("≥ 90.0 Mbps", "good")
    (known,) = rows("throughput", download_bps=300_000, **capped | {"download_ci_bps": [290_000, 310_000]})
    assert (known.value, known.word) == ("300 kbps", "poor")
    (theirs,) = rows("throughput", download_bps=300_000, **capped | {"engine": "speedtest"})
    assert theirs.word == "poor", "an engine without intervals states none, whatever ended it"


@pytest.mark.usefixtures("english")
def test_a_lower_bound_may_have_a_reason() -> None:
    """Any reason in the record marks the rate, whatever ended the test and whichever engine made it."""
    (bound,) = rows("throughput", upload_bps=300_000, engine="iperf3", upload_at_least="loss")
    assert (bound.value, bound.word) == ("≥ 300 kbps", "")


@pytest.mark.parametrize(("language", "note"), [("en", "(counted at a proxy)"), ("id", "(dihitung di proxy)")])
def test_a_speed_that_holds_only_to_a_proxy_says_so(language: str, note: str, speak: Callable[[str], None]) -> None:
    """It may be lower behind the proxy: it is never enough, and too little where it already is."""
    speak(language)
    (fast,) = rows("throughput", upload_bps=90e6, upload_counted_by="proxy")
    assert (fast.value[:2], fast.word, fast.notes) == ("≤ ", "", (note,))
    (slow,) = rows("throughput", upload_bps=100_000, upload_counted_by="proxy")
    assert slow.value.startswith("≤ ") and slow.mark in ("poor", "bad") and note in slow.notes
    (neither,) = rows("throughput", upload_bps=90e6, upload_counted_by="proxy", upload_at_least="loss")
    assert neither.value[0] not in "≤≥" and (neither.word, neither.notes) == ("", (note,))
    (counted,) = rows("throughput", upload_bps=90e6, upload_counted_by="server")
    assert (counted.value[0] not in "≤≥", counted.mark, counted.notes) == (True, "good", ())
    (other_way,) = rows("throughput", download_bps=90e6, upload_counted_by="proxy")
    assert (other_way.mark, other_way.notes) == ("good", ())


@pytest.mark.usefixtures("english")
def test_a_speed_that_varies_says_so() -> None:
    """The percentiles of its seconds stand beside it; a steady speed has no such note."""
    window = {"mean_bps": 9e6, "p10_bps": 2_000_000, "p90_bps": 16_000_000, "seconds": 8, "stalls": 0}
    (restless,) = rows("throughput", download_bps=9e6, download_window=window)
    assert restless.notes == ("varies, 2.0 Mbps to 16.0 Mbps",)
    (steady,) = rows("throughput", download_bps=9e6, download_window={**window, "p10_bps": 8e6, "p90_bps": 10e6})
    assert steady.notes == ()


@pytest.mark.usefixtures("english")
def test_a_speed_that_losses_limit_says_how_far() -> None:
    """A wide interval stands beside it; a narrow one, or one of another kind, does not."""
    lossy = {"download_bps": 90e6, "download_ci_bps": [40e6, 100e6], "download_interval_kind": "mean_under_loss"}
    assert rows("throughput", **lossy)[0].notes == ("limited by lost packets, 40.0 Mbps to 100 Mbps",)
    assert rows("throughput", **lossy | {"download_ci_bps": [80e6, 100e6]})[0].notes == ()
    assert rows("throughput", **lossy | {"download_interval_kind": "link"})[0].notes == ()
    assert rows("throughput", **lossy | {"download_ci_bps": ["x", None]})[0].notes == ()


@pytest.mark.usefixtures("english")
def test_a_speed_whose_interval_reaches_the_limit_is_not_called_too_slow() -> None:
    """Below the limit by less than the test can tell: the limit is named, no word is given, and nothing falls short."""
    limit = NEED.metrics["upload_bps"].fair
    near = {"upload_bps": limit * 0.95, "upload_ci_bps": [limit * 0.85, limit * 1.05]}
    (row,) = rows("throughput", **near)
    assert row.word == "" and row.notes[0].startswith("(close to the limit")
    found = result("throughput", "front", None, None, Outcome.OK, **near)
    assert shortfalls([found], NEED) == ()
    (clear,) = rows("throughput", **{**near, "upload_ci_bps": [limit * 0.9, limit * 0.99]})
    assert clear.word == "poor"
    (enough,) = rows("throughput", upload_bps=limit * 1.02, upload_ci_bps=[limit * 0.9, limit * 1.1])
    assert enough.word in ("fair", "good")


@pytest.mark.usefixtures("english")
def test_a_video_has_its_start_and_its_stalls() -> None:
    """Start and stalls are graded apart; the mean rate stands beside the start."""
    start, stalls = rows("video", start_delay_ms=2500.0, stall_ratio=0.08, mean_bitrate_bps=1_400_000)
    assert (start.label, start.value, start.word) == ("Video start", "2,500 ms", "fair")
    assert start.notes == ("1.4 Mbps",)
    assert (stalls.label, stalls.value, stalls.word) == ("Video stalls", "8 %", "bad")


@pytest.mark.usefixtures("english")
def test_a_video_that_never_played_has_no_numbers() -> None:
    """No zero for what did not finish: a dash and the code."""
    (row,) = rows("video", Outcome.DEGRADED, "redirect_elsewhere", start_delay_ms=None, stall_ratio=None)
    assert (row.value, row.word, row.notes) == ("–", "not played", ("[SP-WEB-05]",))
    (row,) = rows("video", Outcome.FAILED, "too_slow", start_delay_ms=None)
    assert (row.value, row.word) == ("", "failed")
