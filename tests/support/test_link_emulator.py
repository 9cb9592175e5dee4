"""The emulated link does what it was set to do: everything measured over it is worth no more than this."""

from __future__ import annotations

import socket
import statistics
import threading
import time
from contextlib import suppress
from itertools import pairwise

import pytest

from tests.support.link_emulator import Link, Way, both_ways, link
from tests.support.link_relay import Steps
from tests.support.netns import MARKS

pytestmark = MARKS
PORT = 4000


def round_trips_ms(wire: Link, count: int = 30, interval_s: float = 0.02) -> list[float]:
    """UDP round trips against an echo in the far namespace."""

    def measure() -> list[float]:
        found = []
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.settimeout(2)
            for _ in range(count):
                start = time.perf_counter()
                asker.sendto(b"x", (wire.far_address, PORT))
                asker.recv(100)
                found.append((time.perf_counter() - start) * 1000)
                time.sleep(interval_s)
        return found

    def serve() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind((wire.far_address, PORT))
            server.settimeout(1)
            with suppress(TimeoutError):
                while True:
                    data, peer = server.recvfrom(2000)
                    server.sendto(data, peer)

    server = threading.Thread(target=wire.far.call, args=(serve,))
    server.start()
    time.sleep(0.3)
    try:
        return wire.near.call(measure)
    finally:
        server.join()


def flood(wire: Link, rate_bps: float, seconds: float, size: int = 1172) -> list[tuple[float, int]]:
    """Send UDP from near at a steady rate of IP bytes; when each packet arrived far, and its number."""

    def receive() -> list[tuple[float, int]]:
        found: list[tuple[float, int]] = []
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_000_000)
            server.bind((wire.far_address, PORT))
            server.settimeout(0.8)
            try:
                while True:
                    data = server.recv(2000)
                    found.append((time.perf_counter(), int.from_bytes(data[:4], "big")))
            except TimeoutError:
                return found

    def send() -> int:
        gap = (size + 28) * 8 / rate_bps
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            begin = time.perf_counter()
            for number in range(round(seconds / gap)):
                time.sleep(max(0.0, begin + number * gap - time.perf_counter()))
                sender.sendto(number.to_bytes(4, "big") + bytes(size - 4), (wire.far_address, PORT))
        return number

    arrived: list[tuple[float, int]] = []
    receiver = threading.Thread(target=lambda: arrived.extend(wire.far.call(receive)))
    receiver.start()
    time.sleep(0.3)
    wire.near.call(send)
    receiver.join()
    return arrived


def test_delay_is_as_set_in_each_direction() -> None:
    """10 ms one way and 30 ms the other make 40, never less; without delay it is near none."""
    with link(up=Way(delay_ms=10), down=Way(delay_ms=30)) as wire:
        trips = round_trips_ms(wire)
        # asker and echo are late, too, where the machine is busy: that only adds
        assert 40 <= min(trips) < 41
        assert statistics.median(trips) < 42
        wire.set(up=Way(), down=Way())
        assert statistics.median(round_trips_ms(wire)) < 1


def test_jitter_spreads_and_keeps_the_order() -> None:
    """± 5 ms of jitter moves round trips by that much, and no packet overtakes another."""
    with link(up=Way(delay_ms=10, jitter_ms=5)) as wire:
        trips = round_trips_ms(wire, count=60, interval_s=0.015)
        low, *_, high = statistics.quantiles(trips, n=10)
        assert min(trips) > 4.9 and low < 9 and 12 < high < 25  # a busy machine only adds
        numbers = [number for _, number in flood(wire, 5e6, 0.5)]
        assert numbers == sorted(numbers) and len(numbers) > 200


def test_rate_is_as_set_and_the_queue_drops_the_rest() -> None:
    """Of 8 Mbit/s sent 4 pass, within two percent; what found no room in the queue is counted, packet by packet."""
    with link(up=Way(rate_bps=4e6, queue_bytes=30_000)) as wire:
        arrived = flood(wire, 8e6, 1.5)
        span = arrived[-1][0] - arrived[0][0]
        assert (len(arrived) - 1) * 1200 * 8 / span == pytest.approx(4e6, rel=0.02)
        udp = wire.counts()["up"]["udp"]
        assert udp["passed"] == len(arrived)
        assert udp["overflow"] == udp["arrived"] - udp["passed"] > 300
        # a full queue of 30 kB at 4 Mbit/s holds a packet for 60 ms
        assert span == pytest.approx(1.56, abs=0.1)


def test_loss_is_random_and_counted_exactly() -> None:
    """5 % of 2,000 packets are lost, give or take chance, and each of them is in the counters."""
    with link(up=Way(loss=0.05), seed=7) as wire:
        arrived = flood(wire, 12e6, 1.6)
        udp = wire.counts()["up"]["udp"]
    assert udp["arrived"] == 2000
    assert udp["passed"] == len(arrived)
    assert udp["lost"] == 2000 - len(arrived)
    assert 60 < udp["lost"] < 145


def test_an_outage_swallows_its_time_and_nothing_else() -> None:
    """Between 0.3 s and 0.7 s after the setting nothing passes; before and after everything does."""
    with link() as wire:
        wire.set(up=Way(outages=((0.8, 1.2),)))
        arrived = flood(wire, 1.2e6, 2.0)
        udp = wire.counts()["up"]["udp"]
    gaps = [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(arrived)]
    longest, missing = max(gaps)
    assert longest == pytest.approx(0.4, abs=0.05)
    assert udp["outage"] == missing - 1 == 250 - len(arrived)


def test_a_trace_changes_the_rate_over_time() -> None:
    """1 Mbit/s, then 3 after one second: what passes in each time follows."""
    with link() as wire:
        wire.set(up=Way(trace=((0, 1e6), (1.5, 3e6)), queue_bytes=10_000))
        start = time.perf_counter()
        arrived = flood(wire, 5e6, 2.4)
    early = [at for at, _ in arrived if at - start < 1.4]
    late = [at for at, _ in arrived if 1.7 < at - start < 2.6]
    assert (len(early) - 1) * 9600 / (early[-1] - early[0]) == pytest.approx(1e6, rel=0.05)
    assert (len(late) - 1) * 9600 / (late[-1] - late[0]) == pytest.approx(3e6, rel=0.05)


def test_duplicates_and_reordering_are_counted() -> None:
    """Packets that come twice and packets that come late are made, and counted as made."""
    with link(up=Way(duplicate=0.1, reorder=0.1, reorder_ms=20), seed=3) as wire:
        arrived = [number for _, number in flood(wire, 4e6, 1.0)]
        udp = wire.counts()["up"]["udp"]
    assert len(arrived) - len(set(arrived)) == udp["duplicated"] > 10
    assert sorted(set(arrived)) == list(range(udp["arrived"]))
    overtaken = sum(a > b for a, b in pairwise(arrived))
    assert 10 < overtaken <= udp["held_back"] + udp["duplicated"]


def test_protocols_are_told_apart_in_both_families() -> None:
    """Echoes are counted as such in IPv4 and IPv6, both ways."""
    with link(**both_ways(4)) as wire:
        for address in (wire.far_address, wire.far_address6):
            wire.near.run("ping", "-c", "2", "-i", "0.1", address)
        counts = wire.counts()
    assert counts["up"]["echo"]["passed"] == counts["down"]["echo"]["passed"] == 4
    assert counts["up"]["tcp"]["arrived"] == 0


def test_the_rate_follows_a_trace_of_steps() -> None:
    """4, 0 and 1 Mbit/s, half a second each, carry what they add up to; what is sent at 0 waits and arrives."""
    way = Way(mbps=(4, 0, 1), step_s=0.5)
    assert way.capacity_bps(0, 1.5) == pytest.approx(5e6 / 3)
    assert way.capacity_bps(0.25, 1.75) == pytest.approx(5e6 / 3)
    with link(up=way) as wire:
        wire.set(up=way)
        arrived = flood(wire, 1.6e6, 3)
        counts = wire.counts()["up"]["udp"]
    assert (counts["outage"], counts["overflow"], counts["lost"]) == (0, 0, 0)
    assert [number for _, number in arrived] == sorted(number for _, number in arrived)
    silence_s = max(later - earlier for (earlier, _), (later, _) in pairwise(arrived))
    assert 0.3 < silence_s < 0.9
    # of 3 s at 1.6 Mbit/s all has arrived when the link has carried so much
    assert arrived[-1][0] - arrived[0][0] == pytest.approx(3, abs=0.75)


def test_a_trace_of_steps_says_when_bytes_are_through() -> None:
    """The moment of a number of bytes and the bytes at that moment agree, over steps of 0 and over rounds."""
    steps = Steps([0, 8, 0, 0.8], 0.5)
    assert steps.moment(1) == pytest.approx(0.5 + 1e-6)
    assert steps.moment(500_000) == pytest.approx(1.0)
    assert steps.moment(500_001) == pytest.approx(1.5 + 1e-5)
    assert steps.moment(550_001) == pytest.approx(2.5 + 1e-6)
    for total in (1, 1500, 499_999, 500_100, 549_999, 1_200_000):
        assert steps.carried(steps.moment(total)) == pytest.approx(total)
    with pytest.raises(ValueError, match="above 0"):
        Steps([0, 0], 1)
