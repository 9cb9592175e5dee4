"""`collector check`, `erase` and `migrate`, as an administrator types them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from sigprobe.collector import store
from sigprobe.collector.ingest import queries as ingest_queries
from sigprobe.collector.ingest.records import sort_lines
from sigprobe.collector.store.migrations import HEAD
from tests.collector.store.test_released_schemas import restore
from tests.support.collector_client import PROBE_ID, make_result, settle
from tests.support.collector_process import run


def fill(database: str) -> None:
    """Store and sum up ten results."""
    engine = store.open_store(database)
    rows = sort_lines(make_result(n + 1).to_line() for n in range(10)).rows
    ingest_queries.add_results(engine, rows, carrier="laptop-1", token_id=None, now=datetime.now(UTC))
    settle(engine)
    engine.dispose()


def asked(*words: str, database: str, code: int = 0) -> dict[str, object]:
    """Run a command with `--json`."""
    done = run(*words, "--json", database=database)
    assert done.returncode == code, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_check_and_erase(database: str) -> None:
    """A whole check and a sample agree, a damaged sum is exit 1, and erasing leaves sums that agree."""
    fill(database)
    whole = asked("check", database=database)
    assert (whole["results"], whole["different"], whole["batches_waiting"]) == (10, 0, 0)
    assert asked("check", "--sample", "5", database=database)["different"] == 0
    engine = store.open_store(database)
    with engine.execution_options(write=True).begin() as connection:
        connection.execute(text("UPDATE rollup_members SET n = n + 1"))
    assert asked("check", database=database, code=1)["different"] == 2, "an hour and five minutes"
    assert asked("check", "--sample", "5", database=database, code=1)["different"] == 2
    with engine.execution_options(write=True).begin() as connection:
        connection.execute(text("UPDATE rollup_members SET n = n - 1"))
    engine.dispose()
    assert run("erase", "no-id", database=database).returncode == 2
    assert asked("erase", PROBE_ID, database=database) == {"schema": 1, "results": 10}
    left = asked("check", database=database)
    assert (left["results"], left["different"]) == (0, 0)


@pytest.mark.parametrize("version", [1, 2])
def test_migrate(database: str, version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dry run changes nothing; a real one takes all steps and goes through what is stored, then has nothing to do."""
    restore(database, version)
    said = asked("migrate", "--dry-run", database=database)
    assert [step["revision"] for step in said["steps"]] == [f"{n:04d}" for n in range(version + 1, int(HEAD) + 1)]  # type: ignore[attr-defined]
    assert said["results"] == 6
    assert asked("migrate", "--dry-run", database=database) == said
    done = asked("migrate", database=database)
    assert (done["steps"], done["results"]) == (said["steps"], 6)
    assert asked("migrate", database=database) == {"schema": 1, "steps": [], "results": 0, "dry_run": False}
    assert asked("check", database=database)["different"] == 0


def test_migrate_goes_on_where_it_was(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut short between two steps, it counts nothing twice."""
    from sigprobe.collector.worker import backfill, summing

    restore(database, 2)
    engine = store.open_store(database)
    real: Callable[..., int] = summing.add_single_rows
    calls: list[int] = []

    def cut(connection: object) -> int:
        calls.append(1)
        if len(calls) == 3:
            raise InterruptedError
        return real(connection, 2)

    with monkeypatch.context() as patch:
        patch.setattr(summing, "add_single_rows", cut)
        with pytest.raises(InterruptedError):
            backfill.run(engine)
    assert backfill.left(engine) == 2
    assert backfill.run(engine) == 2
    engine.dispose()
    assert asked("check", database=database)["results"] == 6
    assert asked("check", database=database)["different"] == 0
