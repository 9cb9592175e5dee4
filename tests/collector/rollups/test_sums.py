"""Sums are exact: any order, any cut into batches, corrections and erasures leave what a fresh count gives."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from sigprobe.collector.rollups import queries, schema
from sigprobe.collector.rollups.histogram import quantile
from sigprobe.collector.rollups.sums import FIVE_MINUTES, HOUR, Contribution, Sums

NOON = datetime(2029, 2, 14, 5, 0, tzinfo=UTC)


def draw(rng: random.Random) -> Contribution:
    """One result of some probe in one of two regencies."""
    district = rng.choice(["327301", "327302", "317101"])
    station = f"{district}1001{rng.randrange(1, 6):03d}"
    outcome = rng.choice(["ok", "ok", "degraded", "failed"])
    rate = rng.lognormvariate(16, 1)
    return Contribution(
        event_at=NOON + timedelta(seconds=rng.uniform(-4000, 4000)),
        regency=district[:4],
        district=district,
        operator=rng.choice(["51010", "51011", None]),
        kind=rng.choice(["ping", "throughput"]),
        target=rng.choice(["sirekap", "center"]),
        station=station,
        probe=f"p{rng.randrange(8)}",
        outcome=outcome,
        failure="timeout" if outcome == "failed" else None,
        metrics={} if outcome == "failed" else {"download_bps": (rate, rng.random() < 0.3), "loss_ratio": (0.0, False)},
    )


@pytest.fixture
def rollups(engine: Engine) -> Iterator[Engine]:
    """Empty rollup tables on each engine."""
    schema.metadata.drop_all(engine)
    schema.metadata.create_all(engine)
    yield engine


def store(engine: Engine, *sums: Sums) -> None:
    """Apply each sum in a transaction of its own."""
    for one in sums:
        with engine.execution_options(write=True).begin() as connection:
            queries.apply(connection, one)


def counted(contributions: list[Contribution]) -> Sums:
    """A fresh count."""
    sums = Sums()
    for one in contributions:
        sums.add(one)
    return sums


@pytest.mark.parametrize("seed", range(5))
def test_sums_equal_a_fresh_count(rollups: Engine, seed: int) -> None:
    """Batches in any cut and order, times moved later, probes erased: the tables equal a recount."""
    rng = random.Random(seed)
    kept = [draw(rng) for _ in range(300)]
    rest = list(kept)
    while rest:
        size = rng.randrange(1, 80)
        store(rollups, counted(rest[:size]))
        rest = rest[size:]
    for place in rng.sample(range(len(kept)), 60):
        moved = replace(kept[place], event_at=kept[place].event_at + timedelta(hours=rng.choice([-9, 1, 30])))
        change = Sums()
        change.add(kept[place], -1)
        change.add(moved)
        store(rollups, change)
        kept[place] = moved
    erased = Sums()
    for one in kept:
        if one.probe == "p3":
            erased.add(one, -1)
    store(rollups, erased)
    kept = [one for one in kept if one.probe != "p3"]
    with rollups.connect() as connection:
        found = queries.read_sums(connection)
        assert found == counted(kept)
        assert all(n > 0 for n in found.members.values()), "no row of zero is left behind"
        wrong = counted(kept[1:])
        assert found != wrong, "the control: one result less is seen"


def test_a_region_is_the_sum_of_its_hours(rollups: Engine) -> None:
    """The same histogram comes from five-minute and from hourly buckets."""
    rng = random.Random(7)
    store(rollups, counted([draw(rng) for _ in range(200)]))
    first, last = int(NOON.timestamp()) - 10 * HOUR, int(NOON.timestamp()) + 10 * HOUR
    with rollups.connect() as connection:
        fine = queries.histogram(connection, "download_bps", FIVE_MINUTES, first, last)
        coarse = queries.histogram(connection, "download_bps", HOUR, first, last)
        part = queries.histogram(connection, "download_bps", HOUR, first, last, regency="3273")
    assert sorted(fine, key=lambda b: b.bin) == sorted(coarse, key=lambda b: b.bin)
    assert sum(b.n for b in part) < sum(b.n for b in coarse)
    median = quantile(fine)
    assert median is not None and median.n_at_least > 0
