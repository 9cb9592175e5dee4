"""Who may ask for how much of a download, where what is under way is a large part of the whole."""

from __future__ import annotations

import socket

import pytest

from sigprobe.measure.throughput.connection import Connection
from sigprobe.measure.throughput.stream import MIB, MOST_MIB, Stream, share_bytes
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
        stream.owed = share_bytes(room_mib * MIB + 1000, asking, count, exact=False, done=False)
        asked.append(stream.owed // MIB)
    assert sum(asked) == min(room_mib, MOST_MIB * count)
    assert max(asked) - min(asked) <= 1
    left = share_bytes(room_mib * MIB + 1000, asking, count + 1, exact=False, done=True)
    assert left == max(0, min(MOST_MIB, room_mib - sum(asked))) * MIB


def test_less_than_one_is_asked_for_once_and_cut_off() -> None:
    """A cap below one MiB still gives a transfer; none is begun for the rest of a larger one, or without room."""
    assert share_bytes(300_000, streams(2), 2, exact=False, done=False) == 300_000
    assert share_bytes(300_000, streams(2), 2, exact=False, done=True) == 0
    assert share_bytes(0, streams(2), 2, exact=False, done=False) == 0
    asking = streams(2)
    asking[0].owed = MIB
    assert share_bytes(300_000, asking, 2, exact=False, done=False) == 0


def test_a_server_that_takes_exact_numbers_is_asked_for_the_room() -> None:
    """All of it, in like shares of at least 64 KiB, and never more; the last of it in one piece."""
    room, asking = 1_000_000, streams(8)
    for stream in asking:
        stream.owed = share_bytes(room, asking, 8, exact=True, done=False)
        assert 120_000 < stream.owed < 130_000
    assert sum(stream.owed for stream in asking) <= room
    few = streams(8)
    few[0].owed = share_bytes(100_000, few, 8, exact=True, done=False)
    assert few[0].owed == 65_536
    assert share_bytes(100_000, few, 8, exact=True, done=False) == 0
    few[0].owed = 0
    assert share_bytes(34_464, few, 8, exact=True, done=False) == 34_464
