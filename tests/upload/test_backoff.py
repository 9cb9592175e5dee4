"""How long a failed collector is left alone, and what an untrustworthy clock or file does to that."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from sigprobe.upload.backoff import BASE_S, CAP_S, Backoff

URL, OTHER = "https://one.example/", "https://two.example/"


class Wall:
    """A wall clock that goes where it is put."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def wall() -> Wall:
    return Wall()


def test_spans_double_from_five_seconds_to_fifteen_minutes(tmp_path: Path, wall: Wall) -> None:
    """The span doubles from 5 s up to the cap, and the wait is a random share of all of it (full jitter)."""
    spans: list[tuple[float, float]] = []
    backoff = Backoff(tmp_path / "b", now=wall, uniform=lambda low, high: spans.append((low, high)) or high)
    for _ in range(12):
        backoff.failed(URL)
    assert [low for low, _ in spans] == [0.0] * 12
    assert [high for _, high in spans[:8]] == [5, 10, 20, 40, 80, 160, 320, 640]
    assert {high for _, high in spans[8:]} == {CAP_S}


def test_jitter_covers_the_whole_span(tmp_path: Path, wall: Wall) -> None:
    """Probes that failed together do not come back together: the waits of many lie all over the span."""
    rng = random.Random(1)
    waits = []
    for number in range(400):
        backoff = Backoff(tmp_path / str(number), now=wall, uniform=rng.uniform)
        backoff.failed(URL)
        waits.append(backoff.wait_s(URL))
    assert max(waits) <= BASE_S
    quarters = [sum(q <= wait * 4 / BASE_S < q + 1 for wait in waits) for q in range(4)]
    assert min(quarters) > 60


def test_it_is_per_collector_and_survives_the_process(tmp_path: Path, wall: Wall) -> None:
    """One collector's failures say nothing of another's, and a new process still knows them."""
    path = tmp_path / "b"
    backoff = Backoff(path, now=wall, uniform=lambda _low, high: high)
    for _ in range(4):
        backoff.failed(URL, 7)
    again = Backoff(path, now=wall)
    assert again.wait_s(URL) == 40
    assert again.of(URL).batch == 7
    assert again.wait_s(OTHER) == 0
    assert again.next_at([URL, OTHER]) is None
    assert again.next_at([URL]) == wall.now + 40
    again.succeeded(URL)
    assert Backoff(path, now=wall).wait_s(URL) == 0


@pytest.mark.parametrize("jump_s", [-20 * 365 * 86400.0, -CAP_S, 20 * 365 * 86400.0])
def test_a_clock_that_jumps_never_locks_a_collector_out(tmp_path: Path, wall: Wall, jump_s: float) -> None:
    """A stored time further off than its cap is a clock that moved, not a reason to wait."""
    path = tmp_path / "b"
    backoff = Backoff(path, now=wall, uniform=lambda _low, high: high)
    for _ in range(9):
        backoff.failed(URL)
    backoff.asked_to_wait(OTHER, 3600)
    assert backoff.wait_s(URL) == CAP_S
    wall.now += jump_s
    again = Backoff(path, now=wall)
    assert again.wait_s(URL) == 0
    assert again.wait_s(OTHER) == 0


def test_retry_after_is_obeyed_for_an_hour_at_most(tmp_path: Path, wall: Wall) -> None:
    """A collector that asks for a year gets an hour."""
    backoff = Backoff(tmp_path / "b", now=wall)
    backoff.asked_to_wait(URL, 31_536_000)
    assert backoff.asked_wait_s(URL) == 3600
    wall.now += 3599
    assert backoff.asked_wait_s(URL) == 1
    wall.now += 1
    assert backoff.wait_s(URL) == 0


def test_a_refused_token_is_remembered_until_it_changes_or_an_hour_has_passed(tmp_path: Path, wall: Wall) -> None:
    """A new token is tried at once, the old one again after an hour; the token itself is never on disk."""
    path = tmp_path / "b"
    Backoff(path, now=wall).refused(URL, "sp-canary-token")
    backoff = Backoff(path, now=wall)
    assert backoff.is_refused(URL, "sp-canary-token")
    assert not backoff.is_refused(URL, "another")
    assert "canary" not in path.read_text()
    wall.now += 3600
    assert not backoff.is_refused(URL, "sp-canary-token")
    wall.now -= 7200
    assert not backoff.is_refused(URL, "sp-canary-token")


def test_a_link_that_comes_up_forgives_failures_but_not_wishes(tmp_path: Path, wall: Wall) -> None:
    """What failed is tried at once over a new link; what the collector asked for still holds."""
    backoff = Backoff(tmp_path / "b", now=wall, uniform=lambda _low, high: high)
    backoff.failed(URL)
    backoff.asked_to_wait(OTHER, 60)
    backoff.link_came_up([URL, OTHER])
    assert backoff.wait_s(URL) == 0
    assert backoff.of(URL).failures == 1
    assert backoff.wait_s(OTHER) == 60


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"URL": 3}',
        '{"URL": {"failures": "many", "next_at": "soon", "batch": -1}}',
        '{"URL": {"failures": -5, "next_at": 1e400, "asked_until": NaN}}',
        '{"URL": {"next_at": ' + "9" * 400 + "}}",
        '{"URL": {"unknown": 1, "refused_token": 5}}',
        "[" * 100_000,
    ],
)
def test_a_damaged_file_only_means_an_earlier_try(tmp_path: Path, text: str) -> None:
    """Whatever the file holds, the collector may be tried, and the next failure is remembered."""
    path = tmp_path / "b"
    path.write_text(text.replace("URL", URL))
    backoff = Backoff(path)
    assert backoff.wait_s(URL) == 0
    backoff.failed(URL)
    assert json.loads(path.read_text())[URL]["failures"] == 1


def test_a_full_disk_stops_no_upload(tmp_path: Path) -> None:
    """A file that cannot be written is only advice lost."""
    backoff = Backoff(tmp_path / "no" / "such" / "folder" / "b")
    backoff.failed(URL)
    assert backoff.of(URL).failures == 1
