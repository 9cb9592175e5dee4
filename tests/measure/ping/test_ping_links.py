"""ping over emulated links whose packets are counted: delay, loss, jitter, order, size, and a clock that jumps."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sigprobe.measure.kind import Measured
from sigprobe.measure.ping.kind import Options, measure
from sigprobe.net.limits import Context, Deadline
from sigprobe.net.rtt_stats import jitter_ms
from sigprobe.record.result import Outcome
from tests.support.clock_shift import shifted_clock
from tests.support.link_emulator import Link, Way, both_ways, join_by_relay, link
from tests.support.netns import MARKS, Namespace, namespace

pytestmark = MARKS


def ping(space: Namespace, address: str, **options: object) -> Measured:
    """One check inside a namespace, as fast as the settings allow unless told otherwise."""
    chosen = Options.model_validate({"kind": "ping", "name": "x", "address": address, "interval_ms": 10, **options})
    return space.call(lambda: measure(chosen, Context(Deadline.after(chosen.timeout_s()))))


def lines(wire: Link, command: str, address: str, count: int) -> list[float]:
    """The round trips that iputils-ping prints."""
    done = wire.near.run(command, "-n", "-c", str(count), "-i", "0.02", address)
    return [float(line.split("time=")[1].split(" ")[0]) for line in done.stdout.splitlines() if "time=" in line]


@pytest.mark.system("ping", "iputils-ping")
@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_round_trips_agree_with_ping_at_fifty_milliseconds(family: str) -> None:
    """Median within two milliseconds of iputils-ping's, in both families, and never below truth.

    How close it comes is bench/accuracy.py's to judge: this one holds on a busy machine, too.
    """
    with link(**both_ways(50)) as wire:
        address = wire.far_address if family == "ipv4" else wire.far_address6
        theirs = statistics.median(lines(wire, "ping", address, 40))
        data = ping(wire.near, address, count=40, interval_ms=20, family=family).data
    assert data["rtt_median_ms"] == pytest.approx(theirs, abs=2.0)
    assert data["rtt_min_ms"] > 50
    assert data["family"] == family


def test_loss_is_exactly_what_the_link_lost() -> None:
    """Of 300 echoes the ones counted as lost are those that the link swallowed, on the way out and on the way back."""
    with link(up=Way(delay_ms=3, loss=0.06), down=Way(delay_ms=3, loss=0.06), seed=5) as wire:
        data = ping(wire.near, wire.far_address, count=300).data
        up, down = (wire.counts()[way]["echo"] for way in ("up", "down"))
    assert up["arrived"] == data["sent"] == 300
    assert data["received"] == down["passed"]
    assert data["loss_ratio"] == pytest.approx((up["lost"] + down["lost"]) / 300, abs=1e-6)
    assert up["lost"] > 3 and down["lost"] > 3


def test_an_outage_is_lost_packet_by_packet() -> None:
    """What the link swallowed in a cut of half a second is lost, and nothing else."""
    with link(**both_ways(10)) as wire:
        wire.set(up=Way(delay_ms=5, outages=((0.6, 1.1),)))
        data = ping(wire.near, wire.far_address, count=150).data
        cut = wire.counts()["up"]["echo"]["outage"]
    assert 20 < cut == data["sent"] - data["received"] == data["rtts_ms"].count(None)


def test_jitter_follows_rfc_3550() -> None:
    """The jitter reported is the formula over the round trips reported; on a link with ± 8 ms it is in their size."""
    with link(up=Way(delay_ms=20, jitter_ms=8)) as wire:
        data = ping(wire.near, wire.far_address, count=150, interval_ms=30).data
    assert data["jitter_ms"] == pytest.approx(jitter_ms(data["rtts_ms"]), abs=0.01)
    # neighbours drawn evenly from ± 8 differ by a third of 16 on average
    assert 3 < data["jitter_ms"] < 8
    assert data["jitter_method"] == "rfc3550"


def test_duplicates_and_reordering_are_counted_as_they_happened() -> None:
    """Each answer that came twice is a duplicate, each that was overtaken is reordered, and none is a loss."""
    way = Way(delay_ms=5, duplicate=0.1, reorder=0.1, reorder_ms=30)
    with link(down=way, seed=11) as wire:
        data = ping(wire.near, wire.far_address, count=200).data
        counts = wire.counts()["down"]["echo"]
    assert (data["received"], data["loss_ratio"]) == (200, 0)
    assert data["duplicates"] == counts["duplicated"] > 5
    # held back by 30 ms at 10 ms apart: overtaken, unless those behind it were held back too or it came last
    assert 0.7 * counts["held_back"] <= data["reordered"] <= counts["held_back"]
    assert counts["held_back"] > 8


@contextmanager
def behind_a_router() -> Iterator[tuple[Namespace, Namespace]]:
    """A near end and the router after which packets may have 1,320 bytes; `10.88.2.2` and `fd88:2::2` lie behind."""
    with (
        namespace("near") as near,
        namespace("mid") as mid,
        namespace("far") as far,
        join_by_relay(near, mid, subnet=1),
        join_by_relay(mid, far, subnet=2, device="eth1", mtu=1320),
    ):
        near.ip("route", "add", "10.88.2.0/24", "via", "10.88.1.2")
        near.ip("-6", "route", "add", "fd88:2::/64", "via", "fd88:1::2")
        far.ip("route", "add", "10.88.1.0/24", "via", "10.88.2.1")
        far.ip("-6", "route", "add", "fd88:1::/64", "via", "fd88:2::1")
        mid.sysctl("net.ipv4.ip_forward", "1")
        mid.sysctl("net.ipv6.conf.all.forwarding", "1")
        yield near, mid


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
@pytest.mark.parametrize("method", ["icmp-raw", "icmp-dgram"])
def test_the_largest_packet_of_the_way_is_found(family: str, method: str) -> None:
    """Behind a router with a link of 1,320 bytes: 1,320, whether the router says so or stays silent."""
    with behind_a_router() as (near, router):
        if method == "icmp-dgram":
            near.sysctl("net.ipv4.ping_group_range", "0 2147483647")
        else:
            kinds = {"ipv4": "icmp type destination-unreachable", "ipv6": "icmpv6 type packet-too-big"}
            router.drop(kinds[family], hook="output")
        address = {"ipv4": "10.88.2.2", "ipv6": "fd88:2::2"}[family]
        wanted = {"kind": "ping", "name": "x", "address": address, "interval_ms": 10, "count": 3, "find_mtu": True}
        chosen = Options.model_validate(wanted)
        got = near.call(lambda: measure(chosen, Context(Deadline.after(chosen.timeout_s())), methods=[method]))
    assert got.outcome is Outcome.OK, got.failure
    assert got.data["path_mtu"] == 1320
    assert got.data["method"] == method


def test_packets_that_may_not_be_cut_are_not() -> None:
    """1,472 bytes of payload pass in pieces over a way of 1,320; with `df` they fail, and the reason is their size."""
    with behind_a_router() as (near, _):
        near.sysctl("net.ipv4.ip_no_pmtu_disc", "1")
        whole = ping(near, "10.88.2.2", count=3, size=1472, df=True)
        cut = ping(near, "10.88.2.2", count=3, size=1472)
    assert (whole.outcome, whole.failure and whole.failure.code) == (Outcome.FAILED, "packet_too_big")
    assert whole.data["df"] is True and whole.data["path_mtu"] is None
    assert cut.outcome is Outcome.OK, cut.failure


SCRIPT = """
import json
from sigprobe.measure.ping.kind import measure
from sigprobe.measure.ping.options import Options
from sigprobe.net.limits import Context, Deadline
options = Options(kind="ping", name="x", address="127.0.0.1", count=60, interval_ms=30)
print("begun", flush=True)
print(json.dumps(dict(measure(options, Context(Deadline.after(20))).data)))
"""


@pytest.mark.system("faketime", "faketime")
@pytest.mark.parametrize("step", ["-2h", "+400d"])
def test_a_clock_step_in_the_middle_changes_nothing(
    step: str, tmp_path: Path, spawn: Callable[..., subprocess.Popen[str]]
) -> None:
    """While the packets fly the wall clock is set back, or far ahead: no negative, no absurd time, nothing lost."""
    file = tmp_path / "offset"
    file.write_text("+0\n")
    environment = {
        **os.environ,
        **{name: value for name, value in shifted_clock("+0").items() if name != "FAKETIME"},
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
    }
    process = spawn([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    time.sleep(0.7)
    file.write_text(f"{step}\n")
    data = json.loads(process.stdout.readline())
    assert (data["sent"], data["received"], data["late"]) == (60, 60, 0)
    assert all(0 < rtt < 200 for rtt in data["rtts_ms"])
    assert data["rtt_median_ms"] < 20
