"""The worker finds incidents in stored results, once, whoever leads and however often it is restarted."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, select

from sigprobe.collector import store
from sigprobe.collector.incidents import records, schema
from sigprobe.collector.ingest import queries as ingest_queries
from sigprobe.collector.ingest.records import sort_lines
from sigprobe.collector.store import epochs
from sigprobe.collector.store.schema import batches, results
from sigprobe.collector.worker import detecting, publishing
from sigprobe.collector.worker.loop import Worker
from sigprobe.collector.worker.schema import jobs
from tests.support.collector_client import make_result
from tests.support.outage import BEGAN, Sent, devices, fails_in, never, sent_by, store_sent

HOUR = 3600.0
BEGINS, ENDS = BEGAN + HOUR, BEGAN + 2 * HOUR


class Time:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = BEGAN

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def lite(tmp_path: Path) -> Iterator[Engine]:
    """Provide an open store where one engine is enough."""
    opened = store.open_store(f"sqlite:///{tmp_path}/lite.db")
    yield opened
    opened.dispose()


def detect(engine: Engine, clock: Time, now: float) -> None:
    """Let a fresh worker look for incidents at a time."""
    clock.now = now
    publish(engine)
    job = detecting.Detecting(engine, clock)
    with engine.connect().execution_options(write=True) as connection:
        while job.step(connection):
            pass


def publish(engine: Engine) -> None:
    """Number what waits."""
    with engine.connect() as connection:
        publishing.publish(connection)


def work(engine: Engine, clock: Time, now: float) -> None:
    """Let a fresh worker do everything that is due at a time, and end."""
    clock.now = now
    worker = Worker(engine, wall=clock)
    try:
        assert worker.settle()
    finally:
        worker.stop()


def found(engine: Engine) -> list[Any]:
    """Return the stored incidents."""
    with engine.connect() as connection:
        return list(connection.execute(select(schema.incidents).order_by(schema.incidents.c.found_at)))


def changes(engine: Engine) -> list[tuple[str, int, str]]:
    """Return the stored changes."""
    with engine.connect() as connection:
        table = schema.changes
        query = select(table.c.incident_id, table.c.number, table.c.what).order_by(table.c.incident_id, table.c.number)
        return [tuple(row) for row in connection.execute(query)]


def before(sent: Iterable[Sent], when: float) -> list[Sent]:
    """Return what was received before a time."""
    return [one for one in sent if one.received < when]


def after(sent: Iterable[Sent], when: float) -> list[Sent]:
    """Return the rest."""
    return [one for one in sent if one.received >= when]


REGENCIES = ("3273", "3204")
OUTAGE = fails_in("51010", "3273", BEGINS, ENDS)


@pytest.fixture(scope="module")
def hours() -> list[Sent]:
    """Provide three hours of 36 devices with an outage of one operator in one regency in the second."""
    return list(sent_by(devices(36, REGENCIES), 3, OUTAGE))


def test_an_outage_is_found_followed_and_ended(engine: Engine, hours: list[Sent]) -> None:
    """One incident, with its owner, place and times, its evidence, and each change kept; ids lead to its results."""
    clock = Time()
    store_sent(engine, before(hours, BEGINS + 1500))
    work(engine, clock, BEGINS + 1500)
    (open_one,) = found(engine)
    assert (open_one.kind, open_one.plmn, open_one.area, open_one.ended_at) == ("operator", "51010", "3273", None)
    assert abs(open_one.since.timestamp() - BEGINS) <= 300
    assert (open_one.aspect, open_one.silent, open_one.late) == ("works", False, False)
    assert open_one.found_at.timestamp() - BEGINS <= 1500
    store_sent(engine, after(hours, BEGINS + 1500))
    work(engine, clock, ENDS + HOUR)
    (ended,) = found(engine)
    assert ended.id == open_one.id
    assert abs(ended.ended_at.timestamp() - ENDS) <= 600
    told = changes(engine)
    assert (told[0][2], told[-1][2]) == ("found", "ended")
    assert [number for _, number, _ in told] == list(range(1, len(told) + 1))
    evidence = json.loads(ended.evidence)
    assert len(evidence["results"]) >= 5
    with engine.connect() as connection:
        rows = connection.execute(
            select(results.c.regency, results.c.operator_plmn, results.c.verdict_owner).where(
                results.c.id.in_(evidence["results"])
            )
        ).all()
    assert len(rows) == len(evidence["results"])
    assert {tuple(row) for row in rows} == {("3273", "51010", "operator")}
    heard = {at: (stations, failing) for at, stations, failing, *_ in evidence["timeline"]}
    middle = BEGINS + 1800
    assert heard[int(middle)][1] >= 0.9 * heard[int(middle)][0] >= 5
    assert set(evidence["others"]) == {"51001", "51011"} and sum(evidence["others"].values()) < -3


def test_quiet_hours_store_no_incident(engine: Engine) -> None:
    """The control."""
    store_sent(engine, list(sent_by(devices(36, REGENCIES), 1.5, never)))
    work(engine, Time(), BEGAN + 1.5 * HOUR)
    assert found(engine) == []
    with engine.connect() as connection:
        row = connection.execute(select(jobs).where(jobs.c.name == detecting.JOB)).one()
        assert (row.epoch, row.failed_at) == (epochs.current(connection), None)
        assert row.position == 36 * 18 * 2


def test_a_run_says_when_its_device_comes_next(engine: Engine) -> None:
    """A run's announcement is stored; nonsense is none, and no other kind makes one."""
    told = (900, 0, -5, 1e9, "900", True)
    lines = [
        make_result(n * 2 + k + 1, kind=kind, data={"next_contact_s": value}).to_line()
        for n, value in enumerate(told)
        for k, kind in enumerate(("run", "ping"))
    ]
    rows = sort_lines(lines).rows
    ingest_queries.add_results(engine, rows, carrier="laptop-1", token_id=None, now=datetime.now(UTC))
    with engine.connect() as connection:
        stored = connection.execute(select(results.c.next_contact_s).order_by(results.c.seq)).scalars().all()
    assert stored == [900.0, *[None] * 11]


def test_every_restart_and_takeover_gives_the_same_incident(lite: Engine, hours: list[Sent]) -> None:
    """A worker that is restarted every twenty minutes stores the same incident as one that never is, once."""
    clock = Time()
    done = BEGAN
    for now in (BEGINS + 600, BEGINS + 1500, BEGINS + 3000, ENDS + 600, ENDS + HOUR):
        store_sent(lite, [one for one in hours if done <= one.received < now])
        done = now
        detect(lite, clock, now)
    (incident,) = found(lite)
    assert (incident.kind, incident.plmn, incident.area) == ("operator", "51010", "3273")
    assert abs(incident.since.timestamp() - BEGINS) <= 300 and abs(incident.ended_at.timestamp() - ENDS) <= 600
    kinds = [what for _, _, what in changes(lite)]
    assert (kinds.count("found"), kinds.count("ended"), kinds.count("reopened")) == (1, 1, 0)
    told = changes(lite)
    detect(lite, clock, clock.now + 1)
    assert changes(lite) == told, "a worker that finds nothing new writes no change"


def test_two_collectors_give_one_incident_the_same_id(lite: Engine, tmp_path: Any, hours: list[Sent]) -> None:
    """The id follows from the unit and its begin alone."""
    other = store.open_store(f"sqlite:///{tmp_path}/other.db")
    try:
        for one in (lite, other):
            store_sent(one, hours)
            detect(one, Time(), ENDS + HOUR)
        assert [row.id for row in found(lite)] == [row.id for row in found(other)] != []
    finally:
        other.dispose()


def test_a_worker_that_was_away_tells_the_true_times(lite: Engine, hours: list[Sent]) -> None:
    """Nobody works for the whole outage and longer: it is found with its begin and end, and never as open."""
    detect(lite, Time(), BEGAN)
    store_sent(lite, hours)
    detect(lite, Time(), ENDS + HOUR)
    (incident,) = found(lite)
    assert abs(incident.since.timestamp() - BEGINS) <= 300 and abs(incident.ended_at.timestamp() - ENDS) <= 600
    assert [what for _, _, what in changes(lite)] == ["found"]


def test_a_long_past_is_read_in_steps(lite: Engine, hours: list[Sent], monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that begins reads group by group, tells that more is left, and ends with the same incident."""
    monkeypatch.setattr(detecting, "_STEP_S", 0.0)
    monkeypatch.setattr(detecting, "_GROUP_BATCHES", 50)
    store_sent(lite, hours)
    clock = Time()
    clock.now = ENDS + HOUR
    publish(lite)
    job = detecting.Detecting(lite, clock)
    with lite.connect().execution_options(write=True) as connection:
        steps = 1
        while job.step(connection):
            steps += 1
    assert steps > 10
    assert [row.plmn for row in found(lite)] == ["51010"]


def test_a_failed_step_is_done_again(lite: Engine, hours: list[Sent], monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault while storing leaves nothing; the next step of the same worker stores it whole."""
    store_sent(lite, hours)
    publish(lite)
    clock = Time()
    clock.now = ENDS + HOUR
    job = detecting.Detecting(lite, clock)

    def fail(*_: object) -> None:
        raise LookupError

    with lite.connect().execution_options(write=True) as connection:
        with monkeypatch.context() as patch:
            patch.setattr(records, "save", fail)
            with pytest.raises(LookupError):
                while job.step(connection):
                    pass
        assert found(lite) == []
        while job.step(connection):
            pass
    assert [row.plmn for row in found(lite)] == ["51010"]


def test_a_fault_of_the_detector_keeps_nothing_from_being_published(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job's fault is noted in the database; sums go on."""

    def fail(*_: object) -> None:
        raise ValueError

    monkeypatch.setattr(detecting.Detecting, "step", fail)
    store_sent(engine, list(sent_by(devices(6, REGENCIES), 0.2)))
    work(engine, Time(), BEGAN + HOUR)
    with engine.connect() as connection:
        row = connection.execute(select(jobs).where(jobs.c.name == detecting.JOB)).one()
        assert row.error == "ValueError"
        assert connection.execute(select(func.count()).where(~batches.c.summed)).scalar_one() == 0


def test_a_fault_of_any_job_keeps_the_others_running(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault that is none of the database's, in a job of every second: it is noted, and incidents are found."""

    def fail(*_: object) -> None:
        raise ValueError

    monkeypatch.setattr("sigprobe.collector.worker.summing.walk", fail)
    store_sent(engine, list(sent_by(devices(6, REGENCIES), 0.2)))
    work(engine, Time(), BEGAN + HOUR)
    with engine.connect() as connection:
        noted = {row.name: row.error for row in connection.execute(select(jobs))}
        assert noted["correct"] == "ValueError" and noted[detecting.JOB] is None
        assert connection.execute(select(func.count()).where(~batches.c.summed)).scalar_one() == 0


def test_a_new_epoch_begins_the_reading_anew(lite: Engine, hours: list[Sent]) -> None:
    """After a restore numbers are given out again: the position of another history does not hold."""
    clock = Time()
    store_sent(lite, before(hours, BEGINS))
    detect(lite, clock, BEGINS)
    with lite.execution_options(write=True).begin() as connection:
        epochs._begin(connection, epochs.fingerprint(connection))
    store_sent(lite, after(hours, BEGINS))
    detect(lite, clock, ENDS + HOUR)
    assert [(row.plmn, row.area) for row in found(lite)] == [("51010", "3273")]
    with lite.connect() as connection:
        told = connection.execute(select(jobs.c.epoch).where(jobs.c.name == detecting.JOB)).scalar_one()
        assert told == epochs.current(connection)
