"""The collector's corrected time stands beside the probe's, never over it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from sigprobe.collector.store.clocks import ClockReading, read_clock
from sigprobe.collector.store.schema import boot_clocks, results
from sigprobe.record.result import Clock, Result
from tests.support.collector_client import Collector, make_result

HOUR_MS = 3_600_000.0
BEGAN = datetime(2029, 2, 14, 7, 5, 1, 123000, tzinfo=UTC)


def timed(seq: int, *, boottime_s: float | None = None, offset_ms: float | None = None, **changes: Any) -> Result:
    made = make_result(seq, boot_id=changes.pop("boot_id", "boot-1"), **changes)
    clock = Clock(None if boottime_s is None else round(boottime_s * 1e9), None, None, offset_ms, 50.0)
    return replace(made, tags=replace(made.tags, clock=clock))


def stored_times(collector: Collector, name: str) -> tuple[datetime, datetime | None]:
    with collector.engine.connect() as connection:
        row = connection.execute(select(results.c.started_at, results.c.corrected_at).where(results.c.id == name)).one()
    return row[0], row[1]


def test_a_known_offset_corrects_the_time_beside_the_original(collector: Collector) -> None:
    """A laptop an hour slow: the record keeps its own time, and the corrected one is an hour later."""
    one = timed(1, offset_ms=HOUR_MS)
    collector.send(one)
    started, corrected = stored_times(collector, one.id)
    assert started == BEGAN
    assert corrected == BEGAN + timedelta(hours=1)
    held = collector.get("/v1/results").json()["results"][0]
    assert held == json.loads(one.to_line())


def test_records_made_before_the_offset_was_known_are_corrected_by_their_boot(collector: Collector) -> None:
    """A dead CMOS clock in a blank spot: records of 1970 get their true time from one later record of the same boot."""
    early = timed(1, boottime_s=100, started_at="1970-01-01T00:01:40.000Z")
    late = timed(2, boottime_s=700, offset_ms=0.0)
    other = timed(3, boottime_s=100, started_at="1970-01-01T00:01:40.000Z", boot_id="boot-2")
    collector.send(early, late, other)
    assert stored_times(collector, early.id)[1] == BEGAN - timedelta(seconds=600)
    assert stored_times(collector, other.id)[1] is None


def test_nothing_known_is_nothing_corrected(collector: Collector) -> None:
    """Without an offset there is no corrected time, rather than a guess."""
    one = timed(1, boottime_s=5)
    collector.send(one)
    assert stored_times(collector, one.id)[1] is None


@pytest.mark.parametrize("year", [2087, 1999])
def test_an_implausible_time_with_offset_0_moves_no_other_record(collector: Collector, year: int) -> None:
    """A clock of 2087 without an offset tells no time; a true record of that boot keeps its own, in either order."""
    before = timed(1, boottime_s=100, started_at="2026-11-28T07:00:00.000Z")
    wrong = timed(2, boottime_s=700, offset_ms=0.0, started_at=f"{year}-07-04T07:10:00.000Z")
    late = timed(3, boottime_s=800, started_at="2026-11-28T07:11:40.000Z")
    for one in (before, wrong, late):
        collector.send(one)
    assert [stored_times(collector, one.id)[1] for one in (before, wrong, late)] == [None] * 3
    assert stored_times(collector, wrong.id)[0].year == year
    with collector.engine.connect() as connection:
        assert connection.execute(select(boot_clocks)).all() == []
    collector.send(timed(4, boottime_s=900, offset_ms=0.0, started_at="2026-11-28T07:13:20.000Z"))
    began = datetime(2026, 11, 28, 7, tzinfo=UTC)
    wanted = [began, began + timedelta(seconds=600), began + timedelta(seconds=700)]
    assert [stored_times(collector, one.id)[1] for one in (before, wrong, late)] == wanted


@pytest.mark.parametrize(
    ("weeks", "kept"),
    [(1024, False), (-1024, False), (60, True), (-60, True)],
    ids=["ahead", "behind", "year", "-year"],
)
def test_a_correction_beyond_the_bound_is_refused(collector: Collector, weeks: int, kept: bool) -> None:
    """A week-number rollover corrects nothing, neither its own record nor its boot; a year either way does."""
    began = datetime(2027, 3, 1, 7, tzinfo=UTC)
    first = timed(1, boottime_s=100, started_at="2027-03-01T07:00:00.000Z")
    own = timed(2, boottime_s=700, offset_ms=weeks * 168 * HOUR_MS, started_at="2027-03-01T07:10:00.000Z")
    collector.send(first)
    collector.send(own)
    moved = timedelta(weeks=weeks)
    wanted = [began + moved, began + timedelta(seconds=600) + moved] if kept else [None, None]
    assert [stored_times(collector, one.id)[1] for one in (first, own)] == wanted


def test_a_time_since_boot_beyond_the_bound_gives_no_time(collector: Collector) -> None:
    """A good anchor and sixty years since that boot: unknown, whichever comes first."""
    far = 60 * 366 * 86_400.0
    before, after = timed(1, boottime_s=far), timed(3, boottime_s=far + 1)
    for one in (before, timed(2, boottime_s=700, offset_ms=0.0), after):
        collector.send(one)
    assert [stored_times(collector, one.id)[1] for one in (before, after)] == [None, None]


@pytest.mark.parametrize("offset", [True, "3", float("1e300"), -1e300, [], {}])
def test_absurd_offsets_are_not_known(offset: Any) -> None:
    """Hostile numbers correct nothing and raise nothing."""
    record = {"tags": {"clock": {"offset_est_ms": offset, "boottime_ns": offset}}, "boot_id": "b", "probe_id": "p"}
    assert read_clock(record, BEGAN) == ClockReading("b", None, None, None)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_any_clock_can_be_read(value: Any) -> None:
    """Whatever a record says of its clock, reading it never fails."""
    for tags in (
        value,
        {"clock": value},
        {"clock": {"offset_est_ms": value, "offset_err_ms": value, "boottime_ns": value}},
    ):
        read_clock({"tags": tags, "boot_id": value}, BEGAN)
