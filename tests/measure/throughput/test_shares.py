"""Who may ask for how much of a download, where what is under way is a large part of the whole."""

from __future__ import annotations

import socket

import pytest

from sigprobe.measure.throughput.connection import Connection
from sigprobe.measure.throughput.stream import MIB, MOST_MIB, Stream, share_mib
from sigprobe.net.sockets import Address


def streams(count: int) -> list[Stream]:
    address = Address(socket.AF_INET, ("127.0.0.1", 9))
    return [Stream(Connection(address, "x")) for _ in range(count)]


@pytest.mark.parametrize(("room_mib", "count"), [(14, 8), (6, 8), (20, 3), (1, 8), (250, 1)])
def test_together_they_ask_for_all_there_is_and_no_more(room_mib: int, count: int) -> None:
    """One after the other, each a like share; what is left below one MiB is asked for by nobody."""
    asking = streams(count)
    asked = []
    for stream in asking:
        share = share_mib(room_mib * MIB + 1000, asking, done=False)
        stream.owed = share * MIB
        asked.append(share)
    assert sum(asked) == min(room_mib, MOST_MIB * count)
    assert max(asked) - min(asked) <= 1
    assert share_mib(room_mib * MIB + 1000, asking, done=False) == max(0, min(MOST_MIB, room_mib - sum(asked)))


def test_less_than_one_is_asked_for_once_and_cut_off() -> None:
    """A cap below one MiB still gives a transfer; none is begun for the rest of a larger one, or without room."""
    assert share_mib(300_000, streams(2), done=False) == 1
    assert share_mib(300_000, streams(2), done=True) == 0
    assert share_mib(0, streams(2), done=False) == 0
    asking = streams(2)
    asking[0].owed = MIB
    assert share_mib(300_000, asking, done=False) == 0
