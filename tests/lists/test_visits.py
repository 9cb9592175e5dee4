"""What kept records say about places and TPS, and which TPS want a test."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sigprobe.lists import Station, visits
from sigprobe.lists.coverage import coverage

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
TPS = "3273011001005"


def line(run: str, kind: str = "ping", outcome: str = "ok", **more: Any) -> bytes:
    tags = {
        "tps_id": more.get("tps", TPS),
        "location": more.get("location"),
        "network": {"operator": {"name": more.get("operator"), "plmn": None}, "rat": None},
    }
    record: dict[str, Any] = {"run_id": run, "kind": kind, "outcome": outcome, "tags": tags, "data": {}}
    record["started_at"] = more.get("at", "2026-11-22T07:00:00.000Z")
    if "cause" in more:
        record["data"]["verdict"] = {"owner": more["owner"], "cause": more["cause"]}
    return json.dumps(record).encode()


def run(name: str, owner: str, cause: str, outcome: str = "ok", **more: Any) -> list[tuple[bytes, bool]]:
    own = more.pop("own", True)
    return [
        (line(name, outcome=outcome, **more), own),
        (line(name, "run", owner=owner, cause=cause, **more), own),
    ]


def test_a_verdict_tells_health_and_internet() -> None:
    """Well is well; a service down still had internet; a blank spot had none; a slow link had it, but poorly."""
    rows = [
        *run("a", "none", "healthy"),
        *run("b", "service", "targets_failed"),
        *run("c", "local", "no_network", "failed"),
        *run("d", "uncertain", "below_need"),
        *run("e", "none", "icmp_filtered"),
        *run("f", "uncertain", "nothing_measured", "skipped"),
    ]
    seen = [(v.run_id, v.healthy, v.connected) for v in visits.visits(rows)]
    assert seen == [
        ("a", True, True),
        ("b", False, True),
        ("c", False, False),
        ("d", False, True),
        ("e", True, True),
        ("f", False, False),
    ]


def test_the_path_check_tells_whether_there_was_internet() -> None:
    """Where the way out was checked, that decides about the internet, and the verdict about health alone."""
    for outcome, connected in (("ok", True), ("failed", False), ("degraded", True)):
        rows = [(line("a", "path", outcome), True), *run("a", "service", "targets_failed")]
        (visit,) = visits.visits(rows)
        assert (visit.healthy, visit.connected) == (False, connected)


def test_a_run_cut_short_counts_by_its_checks() -> None:
    """Without a run record the checks alone decide."""
    found = visits.visits([(line("a"), True), (line("b"), True), (line("b", outcome="failed"), True)])
    assert [v.healthy for v in found] == [True, False]


def test_positions_that_cannot_be_trusted_are_none() -> None:
    """0/0, a useless accuracy, absurd numbers and foreign types are no position."""
    good = {"lat": -6.9, "lon": 107.6, "quality_reasons": ["manual"]}
    assert visits.position(good) == (-6.9, 107.6)
    for bad in (
        None,
        "x",
        {"lat": -6.9},
        {"lat": True, "lon": 1.0},
        {"lat": 10**400, "lon": 1.0},
        {"lat": 91, "lon": 0},
        {**good, "quality_reasons": ["zero"]},
        {**good, "quality_reasons": ["useless_accuracy"]},
    ):
        assert visits.position(bad) is None
    rows = [(line("a", location=good), True), (line("b", location={"lat": 1.0, "lon": 99.0}), False)]
    assert visits.newest_position(rows) == ((-6.9, 107.6), NOW - timedelta(hours=1))


def test_the_order_of_keeping_decides_not_the_clock() -> None:
    """A clock set back does not make an older test the newest; a foreign record needs a later time."""
    rows = [
        *run("a", "none", "healthy", at="2031-01-01T00:00:00.000Z"),
        *run("b", "local", "no_network", "failed", at="2026-11-22T07:00:00.000Z"),
    ]
    assert visits.newest_by_tps(visits.visits(rows))[TPS].run_id == "b"
    older = run("c", "none", "healthy", at="2026-11-20T07:00:00.000Z", own=False)
    newer = run("d", "none", "healthy", at="2026-11-22T07:30:00.000Z", own=False)
    assert visits.newest_by_tps(visits.visits([*rows, *older]))[TPS].run_id == "b"
    assert visits.newest_by_tps(visits.visits([*rows, *newer]))[TPS].run_id == "d"


def test_coverage_has_four_states() -> None:
    """No test, failed (however old), old, good; what wants doing first comes first, a future clock is not old."""
    names = [f"327301100100{n}" for n in range(1, 7)]
    rows = [
        *run("2", "local", "no_network", "failed", tps=names[1], at="2026-11-01T00:00:00.000Z"),
        *run("3", "none", "healthy", tps=names[2], at="2026-11-21T07:59:59.000Z"),
        *run("4", "none", "healthy", tps=names[3], at="2026-11-21T08:00:01.000Z"),
        *run("5", "none", "healthy", tps=names[4], at="2036-01-01T00:00:00.000Z"),
        *run("6", "none", "healthy", tps=names[5], at="no time"),
        *run("x", "none", "healthy", tps="3273011001999"),
        *run("y", "none", "healthy", tps=None),
    ]
    newest = visits.newest_by_tps(visits.visits(rows))
    found = coverage([Station(name) for name in reversed(names)], newest, NOW, timedelta(hours=24))
    assert [(c.station.tps_id, c.state, c.old) for c in found] == [
        (names[0], "none", False),
        (names[1], "failed", True),
        (names[2], "old", True),
        (names[3], "good", False),
        (names[4], "good", False),
        (names[5], "good", False),
    ]
    assert found[1].cause == "no_network" and found[3].age_s == 24 * 3600 - 1
    assert found[0].age_s is None and found[4].age_s is None and found[5].age_s is None


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.just("run"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["run_id", "tags", "data", "verdict", "location", "network", "operator", "kind", "tps_id"]),
            inner,
        )
    ),
    max_leaves=25,
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(JUNK.map(lambda v: json.dumps(v).encode()), st.binary(max_size=30)), max_size=5))
def test_no_record_raises(lines: list[bytes]) -> None:
    """Whatever stands in a record of another version or device, reading it never fails."""
    rows = [(text, True) for text in lines]
    visits.newest_by_tps(visits.visits(rows))
    visits.newest_position(rows)
