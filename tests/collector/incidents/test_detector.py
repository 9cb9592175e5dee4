"""The detector on small worlds made by hand: what it finds, and above all what it does not."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import pytest

from sigprobe.collector.incidents.detector import Detector, Incident
from sigprobe.collector.incidents.votes import Vote

HOUR = 3600.0
BEGINS, ENDS = 3 * HOUR, 4 * HOUR
OPERATORS = ("51010", "51001", "51011")
REGENCIES = ("3273", "3204", "3374")

Fails = Callable[[Vote], bool]


def votes_of(
    fails: Fails,
    *,
    seed: int = 1,
    until: float = 5 * HOUR,
    per_bin: int = 6,
    regencies: Iterable[str] = REGENCIES,
    operators: Iterable[str] = OPERATORS,
    usual: float = 0.03,
) -> Iterator[Vote]:
    """Yield tests of many stations, `per_bin` a cell in five minutes; those that `fails` names are bad."""
    rng = random.Random(seed)
    for regency in regencies:
        for operator in operators:
            for _ in range(int(until / 300) * per_bin):
                at = rng.uniform(0, until)
                tps = f"{regency}{rng.randint(1, 9):02}{2000 + rng.randint(1, 9)}{rng.randint(1, 40):03}"
                probe = f"p-{operator}-{tps}"
                vote = Vote(at, at + 5, tps, probe, f"t-{probe}", operator, None, False, "none", None)
                bad = fails(vote) or rng.random() < usual
                yield replace(vote, bad=bad, owner="uncertain" if bad else "none")


def found(*votes: Iterable[Vote], until: float = 5 * HOUR, away: tuple[float, float] = (0, 0)) -> list[Incident]:
    """Return the incidents; the worker does not tick between the times of `away`."""
    detector = Detector()
    tick = 60.0
    for vote in sorted((vote for part in votes for vote in part), key=lambda vote: vote.received_at):
        while vote.received_at >= tick:
            if not away[0] <= tick < away[1]:
                detector.tick(tick)
            tick += 60
        detector.add(vote)
    while tick <= until:
        detector.tick(tick)
        tick += 60
    return detector.incidents


def of_operator(operator: str, area: str) -> Fails:
    """Nine of ten stations of an operator in an area fail from BEGINS to ENDS."""
    return lambda vote: (
        vote.plmn == operator
        and vote.tps.startswith(area)
        and BEGINS <= vote.at < ENDS
        and random.Random(vote.tps).random() < 0.9
    )


def nothing(_: Vote) -> bool:
    """No incident."""
    return False


def test_an_operator_in_a_regency_is_found_named_and_ended() -> None:
    """One operator fails in one regency, the others work there: found within 15 minutes, ended after its end."""
    (incident,) = found(votes_of(of_operator("51010", "3273")))
    assert (incident.kind, incident.plmn, incident.area) == ("operator", "51010", "3273")
    assert abs(incident.since - BEGINS) <= 300
    assert incident.found_at - BEGINS <= 900
    assert incident.ended_at is not None and abs(incident.ended_at - ENDS) <= 600
    assert incident.failing >= 3 and not incident.silent and not incident.late


def test_quiet_hours_have_no_incident() -> None:
    """The negative control of this file: the same tests without an incident."""
    assert found(votes_of(nothing)) == []


def test_all_operators_in_a_place_accuse_no_operator() -> None:
    """Power or backhaul: every operator fails in a regency."""
    place = lambda vote: any(of_operator(operator, "3273")(vote) for operator in OPERATORS)  # noqa: E731
    incidents = found(votes_of(place))
    assert [(incident.kind, incident.plmn, incident.area) for incident in incidents] == [("place", None, "3273")]


def test_without_others_to_compare_the_owner_stays_uncertain() -> None:
    """Only one operator is heard in the regency: nothing tells it from a power cut."""
    (incident,) = found(votes_of(of_operator("51010", "3273"), operators=("51010",)))
    assert (incident.kind, incident.area) == ("uncertain", "3273")


def test_a_village_without_power_is_no_regency() -> None:
    """All stations of one village fail for an hour: no incident of an operator, and none of a regency."""
    village = lambda vote: vote.tps.startswith("3273012001") and BEGINS <= vote.at < ENDS  # noqa: E731
    assert found(votes_of(village, per_bin=9)) == []


def test_one_stolen_token_paints_nothing_red() -> None:
    """One token says of 40 stations, eight times each, that the operator is down."""
    stolen = [
        Vote(
            BEGINS + 60 * again + number,
            BEGINS + 60 * again + number + 1,
            f"3273{1 + number % 9:02}20{1 + number % 7:02}{number:03}",
            f"p{number}",
            "stolen",
            "51010",
            None,
            True,
            "operator",
            None,
        )
        for again in range(8)
        for number in range(40)
    ]
    assert found(votes_of(nothing), stolen) == []


def test_a_cloned_image_is_one_witness() -> None:
    """One probe ID with many tokens at many stations is one device's word."""
    clones = [
        Vote(
            BEGINS + n * 20,
            BEGINS + n * 20 + 1,
            f"3273{1 + n % 9:02}2001{n:03}",
            "same",
            f"t{n}",
            "51010",
            None,
            True,
            "operator",
            None,
        )
        for n in range(90)
    ]
    assert found(votes_of(nothing), clones) == []


def test_a_probe_that_floods_counts_once_a_bin() -> None:
    """5,000 bad results an hour from one probe."""
    flood = [
        Vote(
            BEGINS + n * 0.72, BEGINS + n * 0.72 + 1, "3273012001001", "f", "tf", "51010", None, True, "uncertain", None
        )
        for n in range(5000)
    ]
    assert found(votes_of(nothing), flood) == []


def test_a_regency_with_one_probe_never_fires_alone() -> None:
    """One scheduled probe that fails for an hour is nobody's incident."""
    one = [
        Vote(at, at + 3, "9171012001001", "one", "t-one", "51010", None, BEGINS <= at < ENDS, "uncertain", 300.0)
        for at in range(0, int(5 * HOUR), 300)
    ]
    assert found(votes_of(nothing), one) == []


def test_local_faults_are_no_votes() -> None:
    """What a device says of itself never becomes an operator's incident."""
    fails = of_operator("51010", "3273")
    votes = [replace(vote, owner="local") if fails(vote) else vote for vote in votes_of(fails)]
    assert found(votes) == []


def test_clocks_off_by_two_hours_are_set_right() -> None:
    """Scheduled probes whose clocks are two hours behind are heard as live, after two contacts."""
    fails = of_operator("51010", "3273")
    scheduled = []
    for number in range(24):
        tps = f"3273{1 + number % 8:02}20{1 + number // 8:02}{number:03}"
        for at in range(number * 30, int(5 * HOUR), 600):
            vote = Vote(at, at + 5, tps, f"p{number}", f"t{number}", "51010", None, False, "none", None)
            bad = fails(vote)
            scheduled.append(
                Vote(at - 2 * HOUR, at + 5, tps, f"p{number}", f"t{number}", "51010", None, bad, "uncertain", 600.0)
            )
    (incident,) = found(scheduled, votes_of(nothing, operators=("51001", "51011")))
    assert (incident.kind, incident.plmn, incident.area, incident.late) == ("operator", "51010", "3273", False)
    assert abs(incident.since - BEGINS) <= 600


def test_last_weeks_results_raise_no_alarm() -> None:
    """A backlog of a week ago arrives in the middle of a quiet day."""
    week = 7 * 24 * HOUR
    old = [
        Vote(
            n,
            week + BEGINS + n / 40,
            f"3273{1 + n % 9:02}2001{n % 40:03}",
            f"o{n}",
            f"to{n}",
            "51010",
            None,
            True,
            "operator",
            None,
        )
        for n in range(4000)
    ]
    shifted = [replace(vote, at=vote.at + week, received_at=vote.received_at + week) for vote in votes_of(nothing)]
    detector = Detector()
    tick = week
    for vote in sorted([*old, *shifted], key=lambda vote: vote.received_at):
        while vote.received_at >= tick:
            detector.tick(tick)
            tick += 60
        detector.add(vote)
    assert detector.incidents == []


def test_a_backlog_tells_of_the_past_as_found_late() -> None:
    """Results of a blank hour that come two hours later make an incident of the past, never a live one."""
    fails = of_operator("51010", "3273")
    votes = [
        replace(vote, received_at=ENDS + 2 * HOUR + vote.at / 100) if fails(vote) else vote
        for vote in votes_of(fails, until=8 * HOUR)
    ]
    (incident,) = found(votes, until=8 * HOUR)
    assert incident.late and incident.ended_at is not None
    assert (incident.plmn, incident.area) == ("51010", "3273")
    assert abs(incident.since - BEGINS) <= 300 and abs(incident.ended_at - ENDS) <= 600
    assert incident.found_at >= ENDS + 2 * HOUR


def silent_ones(stops: float, count: int = 12, operator: str = "51010", regency: str = "3374") -> list[Vote]:
    """Scheduled probes that say when they come next, and stop."""
    return [
        Vote(
            at,
            at + 3,
            f"{regency}{1 + n % 6:02}20{1 + n // 6:02}{n:03}",
            f"{operator}-{regency}-{n}",
            f"t-{operator}-{regency}-{n}",
            operator,
            None,
            False,
            "none",
            900.0,
        )
        for n in range(count)
        for at in range(n * 70, int(5 * HOUR), 900)
        if at < stops or at >= ENDS
    ]


def test_total_silence_is_found_within_twenty_minutes() -> None:
    """Twelve scheduled probes of one operator stop while the others there go on."""
    (incident,) = found(
        silent_ones(BEGINS), silent_ones(9 * HOUR, operator="51001"), votes_of(nothing, regencies=("3273", "3204"))
    )
    assert incident.silent and (incident.plmn, incident.area) == ("51010", "3374")
    assert incident.kind == "operator"
    assert incident.found_at - BEGINS <= 20 * 60
    assert incident.ended_at is not None


def test_probes_that_come_as_announced_are_not_silent() -> None:
    """The control: the same probes without a stop."""
    assert found(silent_ones(9 * HOUR), votes_of(nothing, regencies=("3273",))) == []


def test_closing_time_everywhere_is_no_silence() -> None:
    """All devices of all operators stop at the same hour although they announced to come: no operator's incident."""
    stops = [
        vote
        for operator in OPERATORS
        for regency in REGENCIES
        for vote in silent_ones(BEGINS, operator=operator, regency=regency)
        if vote.at < BEGINS
    ]
    assert [incident for incident in found(stops) if incident.kind in ("operator", "place", "service")] == []


def service_votes(broken: Callable[[Vote], bool]) -> list[Vote]:
    """Each test asks a service, too."""
    votes = []
    for vote in votes_of(nothing):
        bad = broken(vote)
        votes.append(vote)
        votes.append(
            Vote(
                vote.at + 1,
                vote.received_at,
                vote.tps,
                vote.probe,
                vote.token,
                vote.plmn,
                "sirekap",
                bad,
                "uncertain",
                None,
            )
        )
    return votes


def test_a_service_over_several_operators_is_the_service() -> None:
    """One target fails everywhere while the operators work."""
    (incident,) = found(service_votes(lambda vote: BEGINS <= vote.at < ENDS))
    assert (incident.kind, incident.plmn, incident.area, incident.target) == ("service", None, "", "sirekap")


def test_a_service_over_one_operator_alone_accuses_nobody() -> None:
    """One target fails for one operator only: its way there, or the service's word to it."""
    (incident,) = found(service_votes(lambda vote: vote.plmn == "51001" and BEGINS <= vote.at < ENDS))
    assert (incident.kind, incident.plmn, incident.target) == ("uncertain", "51001", "sirekap")


def test_a_worker_that_was_away_for_an_hour_still_tells_the_time() -> None:
    """No tick for an hour: what began in it is found with its true begin."""
    (incident,) = found(votes_of(of_operator("51010", "3273")), away=(BEGINS - 60, BEGINS + 50 * 60))
    assert abs(incident.since - BEGINS) <= 300
    assert (incident.kind, incident.plmn, incident.area) == ("operator", "51010", "3273")


def test_a_renamed_operator_is_no_silence() -> None:
    """An operator's devices appear under another PLMN in the middle: they still come when they said."""
    renamed = [
        replace(vote, plmn="51028" if vote.at >= BEGINS else "51011")
        for vote in silent_ones(9 * HOUR, operator="51011", count=24)
    ]
    assert found(renamed, votes_of(nothing)) == []


@pytest.mark.parametrize("operators", [("51010",), ("51010", "51001")])
def test_a_province_is_named_as_one(operators: tuple[str, ...]) -> None:
    """An operator fails in all regencies of a province: one incident of the province, none per regency."""
    regencies = ("3201", "3202", "3203", "3204", "3205", "1101", "1102")
    operator = operators[0]
    (incident,) = found(votes_of(of_operator(operator, "32"), regencies=regencies, operators=(*operators, "51011")))
    assert (incident.kind, incident.plmn, incident.area) == ("operator", operator, "32")


def test_last_weeks_results_amid_an_incident_change_nothing_of_it() -> None:
    """A hundred thousand results of last week, all bad, arrive within a live incident: it stays as it is, alone."""
    week = 7 * 24 * HOUR
    live = [
        replace(vote, at=vote.at + week, received_at=vote.received_at + week)
        for vote in votes_of(of_operator("51010", "3273"))
    ]
    begins = week + BEGINS
    old = [
        Vote(
            n % 86400,
            begins + 1200 + n / 100,
            f"3204{1 + n % 9:02}2001{n % 40:03}",
            f"o{n % 5000}",
            f"to{n % 5000}",
            "51001",
            None,
            True,
            "operator",
            None,
        )
        for n in range(100_000)
    ]
    detector = Detector()
    tick = week
    for vote in sorted([*live, *old], key=lambda vote: vote.received_at):
        while vote.received_at >= tick:
            detector.tick(tick)
            tick += 60
        detector.add(vote)
    (incident,) = detector.incidents
    assert (incident.kind, incident.plmn, incident.area, incident.late) == ("operator", "51010", "3273", False)
    assert abs(incident.since - begins) <= 300


def test_a_service_that_flaps_is_one_incident() -> None:
    """Ten minutes away, ten minutes back, for an hour: one incident of the service, and no operator is named."""
    flaps = lambda vote: BEGINS <= vote.at < ENDS and int((vote.at - BEGINS) // 600) % 2 == 0  # noqa: E731
    incidents = found(service_votes(flaps))
    assert {(incident.kind, incident.plmn, incident.target) for incident in incidents} == {("service", None, "sirekap")}
    assert len(incidents) == 1
