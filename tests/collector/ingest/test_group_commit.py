"""Batches share a transaction, each is answered after it, and one that cannot be stored falls out alone."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from sigprobe.collector.ingest.group_commit import ClosedError, GroupCommit


class Store:
    """Keeps groups; the first call waits until `go`, so that others gather behind it."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.committed: list[int] = []
        self.go = threading.Event()
        self.entered = threading.Event()

    def __call__(self, group: Sequence[int]) -> list[str]:
        self.entered.set()
        assert self.go.wait(10)
        self.groups.append(list(group))
        if 13 in group:
            raise ValueError("poison")
        self.committed += group
        return [f"stored {number}" for number in group]


def test_batches_that_wait_share_one_commit() -> None:
    """While one group commits the next gathers, up to the bound; each gets its own answer."""
    store = Store()
    group = GroupCommit(store, writers=1, most_records=10)
    first = group.submit(1, 4)
    assert store.entered.wait(10)
    rest = [group.submit(number, 4) for number in (2, 3, 4)]
    assert group.depth() == 3
    assert not first.done(), "nothing is answered before its commit"
    store.go.set()
    assert [future.result(10) for future in (first, *rest)] == ["stored 1", "stored 2", "stored 3", "stored 4"]
    assert store.groups == [[1], [2, 3], [4]], "10 records at most"
    group.close()


def test_a_poisonous_batch_falls_out_alone() -> None:
    """The others of its group are stored all the same, and only its own sender gets the error."""
    store = Store()
    group = GroupCommit(store, writers=1)
    futures = [group.submit(1, 1)]
    assert store.entered.wait(10)
    futures += [group.submit(number, 1) for number in (2, 13, 4)]
    store.go.set()
    assert [futures[place].result(10) for place in (0, 1, 3)] == ["stored 1", "stored 2", "stored 4"]
    with pytest.raises(ValueError, match="poison"):
        futures[2].result(10)
    assert store.committed == [1, 2, 4]
    group.close()


def test_a_database_that_is_away_is_asked_once() -> None:
    """What is wrong with the database is told to all of a group without one more try each."""
    calls: list[int] = []
    hold = threading.Event()

    def away(group: Sequence[int]) -> list[str]:
        calls.append(len(group))
        hold.wait(10)
        raise ConnectionError("gone")

    group = GroupCommit(away, writers=1, alone=(ConnectionError,))
    futures = [group.submit(number, 1) for number in range(5)]
    hold.set()
    for future in futures:
        with pytest.raises(ConnectionError):
            future.result(10)
    assert sum(calls) == 5, "each batch was in one try"
    group.close()


def test_stopping_stores_what_waits() -> None:
    """A process that stops stores what it took, and takes nothing more."""
    store = Store()
    group = GroupCommit(store, writers=2)
    futures = [group.submit(number, 1) for number in range(100, 120)]
    store.go.set()
    group.close()
    assert sorted(store.committed) == list(range(100, 120))
    assert all(future.done() for future in futures)
    with pytest.raises(ClosedError):
        group.submit(1, 1)
