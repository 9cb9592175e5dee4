"""Our clock is judged by the database's and by what was received before."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from sigprobe.collector import store
from sigprobe.collector.ingest import queries as ingest_queries
from sigprobe.collector.ingest.records import sort_lines
from sigprobe.collector.store.reference_clock import ReferenceClock
from tests.support.collector_client import make_result


class Clocks:
    """A wall and a monotonic clock that a test sets."""

    def __init__(self) -> None:
        self.wall = datetime.now(UTC).timestamp()
        self.monotonic = 1000.0

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.wall += seconds
        self.monotonic += seconds

    def of(self, engine: Engine, *, trust_own: bool = False) -> ReferenceClock:
        """Return a judged clock."""
        return ReferenceClock(engine, trust_own=trust_own, wall=lambda: self.wall, monotonic=lambda: self.monotonic)


def receive(engine: Engine, when: datetime, seq: int = 1) -> None:
    rows = sort_lines([make_result(seq).to_line()]).rows
    ingest_queries.add_results(engine, rows, carrier="laptop-1", token_id=None, now=when)


@pytest.fixture
def sqlite_engine(tmp_path: Path) -> Iterator[Engine]:
    opened = store.open_store(f"sqlite:///{tmp_path}/c.db")
    yield opened
    opened.dispose()


def test_a_right_clock(engine: Engine) -> None:
    """On both engines, with and without results; before the first comparison nothing is promised."""
    clock = ReferenceClock(engine)
    assert clock.fault() is not None
    clock.measure()
    assert clock.fault() is None
    receive(engine, datetime.now(UTC))
    clock = ReferenceClock(engine)
    clock.measure()
    assert clock.fault() is None
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=2)


@pytest.mark.parametrize(("off_s", "told"), [(600, "10 minutes ahead of"), (-600, "10 minutes behind"), (-9, "9.0")])
def test_the_database_s_clock_decides(postgres: object, off_s: float, told: str) -> None:
    """Two collectors whose clocks are apart: the one that is off is not trusted, and stores the database's time."""
    engine = store.open_store(postgres.new_database())  # type: ignore[attr-defined]
    clocks = Clocks()
    clocks.wall += off_s
    clock = clocks.of(engine)
    clock.measure()
    fault = clock.fault()
    assert fault is not None and told in fault.replace("8.9", "9.0").replace("9.1", "9.0")
    # the test's own clock stands still meanwhile
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=60)
    offset = clock.offset_s()
    assert offset is not None and offset == pytest.approx(-off_s, abs=30)
    engine.dispose()


def test_ten_years_back(engine: Engine) -> None:
    """The newest receipt shows it, also where the database's clock is our own; times of receipt never go back."""
    receive(engine, datetime.now(UTC))
    clocks = Clocks()
    clocks.wall -= 10 * 365.25 * 86_400
    clock = clocks.of(engine)
    clock.measure()
    assert "behind" in (clock.fault() or "")
    assert clock.now() >= datetime.now(UTC) - timedelta(seconds=60)
    clocks.wait(100)
    assert clock.now() >= datetime.now(UTC) + timedelta(seconds=30)


def test_a_clock_that_is_set_meanwhile(sqlite_engine: Engine) -> None:
    """Until the next comparison it is not trusted; a step forwards is then believed, one behind a receipt is not."""
    receive(sqlite_engine, datetime.now(UTC))
    clocks = Clocks()
    clocks.wait(60)
    clock = clocks.of(sqlite_engine)
    clock.measure()
    assert clock.fault() is None
    clocks.wall += 3600
    assert "set" in (clock.fault() or "")
    clock.refresh()
    assert clock.fault() is None
    clocks.wall -= 7200
    clock.refresh()
    assert "behind the newest receipt" in (clock.fault() or "")


def test_a_wrong_newest_receipt(sqlite_engine: Engine) -> None:
    """A clock of 2087 was put right: `trust_own` goes on without it, and the next start needs no help."""
    receive(sqlite_engine, datetime(2087, 1, 1, tzinfo=UTC))
    clock = ReferenceClock(sqlite_engine)
    clock.measure()
    assert "behind the newest receipt" in (clock.fault() or "")
    trusted = ReferenceClock(sqlite_engine, trust_own=True)
    trusted.measure()
    assert trusted.fault() is None and trusted.now().year < 2087
    receive(sqlite_engine, trusted.now(), seq=2)
    again = ReferenceClock(sqlite_engine)
    again.measure()
    assert again.fault() is None
