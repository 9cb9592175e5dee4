"""`collector maintenance`: who announces what, from when to when, and why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sigprobe.collector import store
from tests.support.collector_process import run

ADD = ("maintenance", "add", "--from", "2029-02-14T22:00:00+07:00", "--to", "2999-02-15T02:00:00+07:00")


@pytest.fixture
def database(tmp_path: Path) -> str:
    """Return the URL of an empty database."""
    url = f"sqlite:///{tmp_path}/c.db"
    store.open_store(url).dispose()
    return url


def test_it_is_announced_listed_and_ended(database: str) -> None:
    """The ID is the last line; codes of merged networks become one; what has ended is told as such."""
    made = run(*ADD, "--plmn", "51021", "--area", "3273", "--reason", "antena", "--person", "Budi", database=database)
    assert made.returncode == 0, made.stderr
    name = made.stdout.splitlines()[-1]
    (listed,) = json.loads(run("maintenance", "list", "--json", database=database).stdout)
    assert (listed["id"], listed["plmn"], listed["area"], listed["person"]) == (name, "51001", "3273", "Budi")
    assert (listed["begins_at"], listed["reason"], listed["ended_at"]) == ("2029-02-14T15:00:00.000Z", "antena", None)
    assert run("maintenance", "end", name, database=database).returncode == 0
    again = run("maintenance", "end", name, database=database)
    assert again.returncode == 1 and name in again.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--from", "kemarin", "--to", "2029-02-15T02:00:00+07:00", "--reason", "x"), "--from"),
        (("--from", "2029-02-14T22:00:00", "--to", "2029-02-15T02:00:00+07:00", "--reason", "x"), "--from"),
        (("--from", "2029-02-14T22:00:00Z", "--to", "2029-02-14T02:00:00Z", "--reason", "x"), "--to"),
        (("--from", "2029-02-14T22:00:00Z", "--to", "2029-02-15T02:00:00Z", "--reason", " "), "--reason"),
        (
            ("--from", "2029-02-14T22:00:00Z", "--to", "2029-02-15T02:00:00Z", "--reason", "x", "--area", "327"),
            "--area",
        ),
    ],
)
def test_mistakes_are_named(database: str, words: tuple[str, ...], said: str) -> None:
    """Each refusal names the option, and nothing is announced."""
    done = run("maintenance", "add", *words, database=database)
    assert done.returncode == 2 and said in done.stderr
    assert json.loads(run("maintenance", "list", "--json", database=database).stdout) == []
