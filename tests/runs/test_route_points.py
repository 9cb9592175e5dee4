"""The decisions of a drive: when a point is due, which position counts, how good a place is, which stretch is worst."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigprobe.config.model import Config
from sigprobe.record.profile import Profile, load
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
)
from sigprobe.render.route_map import Spot, svg
from sigprobe.render.route_rows import CSV_COLUMNS, csv_header, csv_row, feature, geojson, row
from sigprobe.runs.drive import Compass, Drive, Here, Pace, light_checks
from sigprobe.runs.route import Odometer, Point, grade_of, has_service, point_of, summarise
from sigprobe.tag.fix import Fix
from sigprobe.verdict import Verdict

PROFILE: Profile = load("sirekap-need")
VERDICT = Verdict("none", "healthy", 0.9)


def result(kind: str, outcome: str = "ok", address: str = "203.0.113.7", code: str = "timeout", **data: Any) -> Result:
    """A check of a target somewhere."""
    return Result(
        id=new_id(),
        run_id=new_id(),
        probe_id=new_id(),
        kind=kind,
        kind_version=1,
        target=Target(f"{kind}-{address}", address, address),
        started_at="2026-11-22T04:00:00.000Z",
        duration_ms=1.0,
        outcome=Outcome(outcome),
        failure=None if outcome == "ok" else Failure(code),
        data=data,
        tags=Tags(network=Network(operator=Operator("51010", "Telkomsel"))),
        software=Software("sigprobe", "0"),
    )


def point(number: int, grade: str, place: tuple[float, float] | None = (-6.9, 107.6), way_m: float = 0.0) -> Point:
    """A point of this grade, ten seconds after the one before."""
    checks = {
        "good": [result("ping", rtt_median_ms=20.0, sent=5, received=5, loss_ratio=0.0)],
        "poor": [result("ping", rtt_median_ms=900.0, sent=5, received=5, loss_ratio=0.0)],
        "bad": [result("ping", "failed")],
    }[grade]
    made = point_of(
        number, checks, checks[0], VERDICT, PROFILE, at_s=number * 10.0, way_m=way_m, data_used_bytes=100, saved=True
    )
    assert made.grade == grade
    return replace(made, location=None if place is None else Location(*place))


# --- when -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pace", "waited", "moved", "due"),
    [
        (Pace(), 9.9, 500.0, False),
        (Pace(), 10.0, None, True),
        (Pace(None, 100), 60.0, 99.0, False),  # a traffic light
        (Pace(None, 100), 2.0, 100.0, True),
        (Pace(None, 100), 10.0, None, True),  # a tunnel
        (Pace(None, 100), 9.0, None, False),
        (Pace(60, 100), 60.0, 0.0, True),  # whichever comes first
        (Pace(60, 100), 5.0, 100.0, True),
        (Pace(None, 10), 0.5, 50.0, False),  # never more than one a second
    ],
)
def test_when_a_point_is_due(pace: Pace, waited: float, moved: float | None, due: bool) -> None:
    """Seconds, metres, or whichever comes first; without a position seconds count."""
    assert pace.due(waited, moved) is due


def drive_of(seconds_each: float, **limits: Any) -> tuple[str, int, float]:
    """Run a drive on a clock of its own; returns why it ended, its points, and how long it took."""
    now = [0.0]

    def wait(seconds: float) -> None:
        now[0] += seconds

    made: list[int] = []

    def measure(number: int, fix: Fix | None, way_m: float) -> Point:
        now[0] += seconds_each
        made.append(number)
        return point(number, "good")

    room = limits.pop("room", lambda made: True)
    drive = Drive(
        limits.pop("pace", Pace()), lambda: None, measure, lambda p: None, lambda: room(made), threading.Event(),
        clock=lambda: now[0], wait=wait, **limits,
    )  # fmt: skip
    return drive.run(), len(made), now[0]


def test_every_budget_ends_it() -> None:
    """Time, points and data each end a drive, between two points."""
    assert drive_of(1.0, for_s=95.0) == ("time", 10, 95.0)
    assert drive_of(1.0, most_points=3)[:2] == ("points", 3)
    assert drive_of(1.0, room=lambda made: len(made) < 4)[:2] == ("data", 4)


def test_slow_points_make_no_flood() -> None:
    """Points that take longer than the pause follow each other, and none is made up for."""
    why, made, took = drive_of(25.0, for_s=100.0)
    assert (why, made) == ("time", 4) and took == pytest.approx(100.0, abs=1)


# --- where ----------------------------------------------------------------------------------------------------


class Receiver:
    """A receiver and a clock for `Compass`."""

    def __init__(self) -> None:
        self.now = 100.0
        self.fix: Fix | None = None
        self.compass = Compass(lambda: self.fix, lambda: self.now)

    def at(self, now: float, **changes: Any) -> Fix | None:
        self.now = now
        self.fix = Fix(**{"lat": -6.9, "lon": 107.6, "source": "nmea", "at_s": now, **changes})
        return self.compass.look()

    def later(self, seconds: float) -> Fix | None:
        self.now += seconds
        return self.compass.look()


def test_an_old_fix_is_no_place() -> None:
    """A receiver of one fix a second that falls silent knows its place three seconds longer."""
    receiver = Receiver()
    for second in range(5):
        assert receiver.at(100.0 + second) is not None
    assert receiver.later(2.9) is not None
    assert receiver.later(0.2) is None


def test_a_slow_receiver_and_a_fast_clock_keep_their_places() -> None:
    """One fix in four seconds is no tunnel, and neither is a clock that makes each fix look four seconds old."""
    slow = Receiver()
    for turn in range(4):
        assert slow.at(100.0 + 4 * turn) is not None
    assert slow.later(7.9) is not None and slow.later(0.2) is None
    fast = Receiver()
    for second in range(5):
        assert fast.at(100.0 + second, at_s=96.0 + second) is not None
    assert fast.later(2.9) is not None and fast.later(0.2) is None


@pytest.mark.parametrize("lie", [{"lat": 0.0, "lon": 0.0}, {"lat": -4.0, "oddity": "jump"}, {"oddity": "time_back"}])
def test_a_lie_is_no_place(lie: dict[str, Any]) -> None:
    """0/0 and what a straying receiver tells are no place; the last sound fix stands in for its three seconds."""
    receiver = Receiver()
    assert receiver.at(99.0, **lie) is None
    receiver.at(100.0)
    receiver.at(101.0)
    found = receiver.at(103.0, **lie)
    assert found is not None and (found.lat, found.at_s) == (-6.9, 101.0)
    assert receiver.at(105.0, **lie) is None


def test_a_typed_position_does_not_move() -> None:
    """A position without a moment, as from the settings, is none on the road."""
    receiver = Receiver()
    assert receiver.at(100.0, at_s=None) is None


def test_a_point_keeps_the_place_where_it_began() -> None:
    """However long its checks take, all of a point is where it began."""
    here = Here(Fix(-6.9, 107.6, "nmea", at_s=100.0))
    first, last = here.location(100.5), here.location(107.0)
    assert first is not None and last is not None and (first.lat, first.lon) == (last.lat, last.lon)
    assert (first.fix_age_s, last.fix_age_s) == (0.5, 7.0)
    assert Here(None).location(100.0) is None and not Here(None).may_come()


@given(st.lists(st.floats(-8, 8), min_size=1, max_size=200))
def test_a_car_that_stands_makes_no_kilometres(noise: Sequence[float]) -> None:
    """The wandering of a position by some metres adds nothing."""
    meter = Odometer()
    for metres in noise:
        meter.take((-6.9 + metres / 2 / 111_195, 107.6 + metres / 2 / 111_195), 5.0)
    assert meter.way_m == 0.0


def test_the_way_of_a_tunnel_is_not_made_up() -> None:
    """What lies between two positions with none between them does not count."""
    meter = Odometer()
    for lon in (107.6, 107.601, None, 107.7, 107.701):
        meter.take(None if lon is None else (-6.9, lon))
    assert meter.way_m == pytest.approx(2 * 110.4, abs=1)


# --- how good -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("results", "service", "grade"),
    [
        ([result("ping", rtt_median_ms=20.0)], True, "good"),
        ([result("ping", "failed")], False, "bad"),
        ([result("ping", "failed", "default-gateway"), result("ping", rtt_median_ms=20.0)], True, "good"),
        ([result("ping", address="default-gateway"), result("http", "failed")], False, "bad"),
        ([result("ping", "failed"), result("dns", query_ms=2.0)], False, "bad"),  # a phone that remembers
        ([result("dns", query_ms=2.0)], True, "good"),
        ([result("ping", rtt_median_ms=20.0), result("http", "failed")], True, "poor"),
        ([result("ping", rtt_median_ms=5000.0)], True, "poor"),
        ([result("ping", rtt_median_ms=20.0, sent=5, received=4, loss_ratio=0.2)], True, "good"),  # chance
        ([result("ping", rtt_median_ms=20.0, sent=5, received=2, loss_ratio=0.6)], True, "poor"),
        ([result("ping", "skipped", code="time_up")], None, ""),
        ([result("ping", address="default-gateway", rtt_median_ms=1.0)], None, ""),
        ([], None, ""),
    ],
)
def test_how_good_a_place_is(results: list[Result], service: bool | None, grade: str) -> None:
    """Service is an answer from beyond the gateway; the word is that of the worst number."""
    assert (has_service(results), grade_of(results, PROFILE)) == (service, grade)


def test_the_worst_stretch() -> None:
    """No service goes before poor, the longest in time first; a tunnel in it leaves its length open."""
    grades = ["good", "bad", "poor", "poor", "poor", "bad", "bad", "good"]
    points = [point(n, g, way_m=n * 100.0) for n, g in enumerate(grades, 1)]
    worst = summarise(points, 80.0).worst
    assert worst is not None
    assert (worst.grade, worst.first.number, worst.last.number, worst.seconds, worst.length_m) == ("bad", 6, 7, 20, 100)
    points[5] = replace(points[5], location=None)
    worst = summarise(points, 80.0).worst
    assert worst is not None and worst.length_m is None
    calm = [p for p in points if p.grade != "bad"]
    worst = summarise(calm, 80.0).worst
    assert worst is not None and (worst.grade, worst.count) == ("poor", 3)
    assert summarise([points[0]], 10.0).worst is None and summarise([], 0.0).service_share is None


def test_light_checks() -> None:
    """The checks of a drive are few pings, a short deadline, the head of a page; a text that is looked for is read."""
    targets = [
        {"kind": "ping", "name": "a", "address": "203.0.113.7", "count": 100, "find_mtu": True},
        {"kind": "http", "name": "b", "url": "http://127.0.0.1/"},
        {"kind": "http", "name": "c", "url": "http://127.0.0.1/", "expect_text": "ok", "timeout_ms": 2000},
        {"kind": "throughput", "name": "d", "engine": "http", "url": "http://127.0.0.1/"},
    ]
    config = Config.model_validate_json(json.dumps({"probe": {"site": "x"}, "targets": targets}))
    ping, page, text = (options.model_dump() for options in light_checks(config.checks()))
    assert (ping["count"], ping["find_mtu"], ping["timeout_ms"]) == (5, False, 4000)
    assert (page["max_kb"], page["timeout_ms"]) == (16, 8000)
    assert (text["max_kb"], text["timeout_ms"]) == (2048, 2000)


# --- files ----------------------------------------------------------------------------------------------------


def test_rows_have_every_column() -> None:
    """CSV and JSON hold the same columns; missing is null, never 0."""
    made = point(1, "bad", None)
    values = row("d", made)
    assert set(values) == set(CSV_COLUMNS)
    assert values["lat"] is None and values["latency_ms"] is None and values["rsrp_dbm"] is None
    assert len(csv_header().split(",")) == len(CSV_COLUMNS) and csv_row("d", made).count(",") == len(CSV_COLUMNS) - 1
    assert csv_header("excel-id").startswith("\ufeff") and ";" in csv_row("d", made, "excel-id")


def test_a_lower_bound_is_marked_in_every_row() -> None:
    """The first check gives the rate and says whether it is only a lower bound; without a rate nothing is said."""
    capped = {"engine": "http", "ended_download": "data_cap", "download_ci_bps": None, "download_bps": 9e6}
    whole = {"engine": "http", "ended_download": "converged", "download_bps": 5e6}
    for data, said in ((capped, True), (whole, False)):
        checks = [result("throughput", **data), result("throughput", **capped)]
        made = point_of(1, checks, checks[0], VERDICT, PROFILE, at_s=0.0, way_m=0.0, data_used_bytes=1, saved=True)
        values = row("d", made)
        assert values["download_bps"] == data["download_bps"]
        assert (values["download_at_least"], values["upload_at_least"]) == (said, None)


def test_geojson_of_any_drive() -> None:
    """Longitude comes first, pieces of one point make no line, and a point without a place has no geometry."""
    places = [(-6.9, 107.6), (-6.9, 107.61), None, (-6.9, 107.7), None]
    points = [point(n, "good", place) for n, place in enumerate(places, 1)]
    document = json.loads(geojson("d", points, [feature("d", p) for p in points], {}))
    kinds = [(f["geometry"] or {}).get("type") for f in document["features"]]
    assert kinds == ["LineString", "Point", "Point", None, "Point", None]
    assert document["features"][0]["geometry"]["coordinates"] == [[107.6, -6.9], [107.61, -6.9]]
    assert json.loads(geojson("d", [], [], {}))["features"] == []


@given(st.lists(st.tuples(st.floats(-11, 6), st.floats(95, 141)), min_size=1, max_size=20))
def test_the_whole_way_is_on_the_map(places: list[tuple[float, float]]) -> None:
    """Wherever a drive leads, each of its points lies within the drawing."""
    drawing = svg([Spot(lat, lon, "good") for lat, lon in places], line=True)
    box = re.search(r'viewBox="0 0 (\d+) (\d+)"', drawing)
    assert box is not None and 200 <= int(box[2]) <= 1000
    for x, y in re.findall(r'<circle cx="([-\d.]+)" cy="([-\d.]+)"', drawing):
        assert 0 <= float(x) <= int(box[1]) and 0 <= float(y) <= int(box[2]) + 1
