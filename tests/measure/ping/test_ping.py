"""ping against loopback, with the real sockets of whoever runs the tests."""

from __future__ import annotations

import math
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sigprobe.measure.ping.kind import KIND, Options, PingData, measure, resolve
from sigprobe.net.limits import Context, DataBudget, Deadline, Progress
from sigprobe.net.rtt_stats import jitter_ms, summarise
from sigprobe.record.result import Outcome
from sigprobe.words.codes import CODES


def options(**changes: Any) -> Options:
    return Options(**{"kind": "ping", "name": "t", "address": "127.0.0.1", "count": 4, "interval_ms": 10} | changes)


def context(seconds: float = 5.0, **changes: Any) -> Context:
    return Context(deadline=Deadline.after(seconds), **changes)


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def check_shape(data: Any) -> None:
    assert set(data) == set(PingData.__annotations__)
    assert len(data["rtts_ms"]) == data["sent"]


def test_loopback_answers_every_packet() -> None:
    """A host that answers is `ok`, with no loss and one plausible time per packet, whatever method is permitted."""
    seen: list[Progress] = []
    budget = DataBudget()
    got = measure(options(), context(progress=seen.append, budget=budget))
    check_shape(got.data)
    assert got.outcome is Outcome.OK and got.failure is None
    assert got.address_used == "127.0.0.1"
    assert (got.data["sent"], got.data["received"], got.data["loss_ratio"]) == (4, 4, 0.0)
    assert all(0 < rtt < 1000 for rtt in got.data["rtts_ms"])
    assert [p.unit for p in seen] == ["ms"] * 4 and seen[-1].fraction == 1.0
    assert budget.used_bytes == got.data["bytes_sent"] + got.data["bytes_received"] > 0 or got.data["method"] == "tcp"


@pytest.mark.root
def test_raw_icmp_counts_the_bytes_on_the_wire() -> None:
    """Bytes are counted from the IP header on: 20 + 8 + payload, each way."""
    got = measure(options(size=100), context(), methods=["icmp-raw"])
    assert got.data["method"] == "icmp-raw"
    assert got.data["bytes_sent"] == got.data["bytes_received"] == 4 * 128
    assert got.data["ttl"] == 64


@pytest.mark.root
def test_ipv6_loopback() -> None:
    """IPv6 is measured like IPv4, and `family` says which it was."""
    got = measure(options(address="::1"), context())
    assert got.outcome is Outcome.OK
    assert got.data["family"] == "ipv6"
    assert got.data["received"] == 4


def test_tcp_counts_an_open_port_as_an_answer(listener: int) -> None:
    """Where only TCP is left, a handshake is an answer, and the record names the method and the port."""
    got = measure(options(), context(), methods=["tcp"], tcp_ports=[listener])
    assert got.outcome is Outcome.OK
    assert (got.data["method"], got.data["tcp_port"], got.data["received"]) == ("tcp", listener, 4)


def test_tcp_counts_a_refusal_as_an_answer(free_port: Callable[[], int]) -> None:
    """A RST proves that the host is there: a refused port is an answer, not a loss."""
    got = measure(options(), context(), methods=["tcp"], tcp_ports=[free_port()])
    assert got.outcome is Outcome.OK
    assert got.data["loss_ratio"] == 0.0


def test_an_address_without_a_way_is_all_lost() -> None:
    """A packet that cannot leave is lost with its cause; it is never a loss of 0."""
    got = measure(options(address="far.invalid"), context(), methods=["tcp"], tcp_ports=[443], lookup=_no_way)
    assert got.outcome is Outcome.FAILED
    assert got.failure is not None and got.failure.code == "network_unreachable"
    assert (got.data["sent"], got.data["received"], got.data["loss_ratio"]) == (4, 0, 1.0)
    assert got.data["loss_cause"] == "network_unreachable"
    assert got.data["rtts_ms"] == [None] * 4
    assert got.data["rtt_avg_ms"] is None and got.data["jitter_ms"] is None


def _no_way(*_: object, **__: object) -> list[Any]:
    # an interface number that does not exist: the kernel refuses before anything is sent
    return [(socket.AF_INET6, socket.SOCK_DGRAM, 0, "", ("fe80::1", 0, 0, 2**31 - 2))]


def test_no_gateway_is_a_failed_result() -> None:
    """`default-gateway` on a device without one is a result with its own cause, and claims no loss."""
    got = measure(options(address="default-gateway"), context(), gateway=lambda _: None)
    check_shape(got.data)
    assert got.failure is not None and got.failure.code == "no_gateway"
    assert (got.data["sent"], got.data["loss_ratio"]) == (0, None)


def test_the_gateway_is_pinged_by_its_address() -> None:
    """`default-gateway` is looked up when the check runs, and the address found is recorded."""
    got = measure(options(address="default-gateway"), context(), gateway=lambda _: "127.0.0.1")
    assert got.outcome is Outcome.OK
    assert got.address_used == "127.0.0.1"


def test_an_unknown_name_is_a_failed_result() -> None:
    """A name that cannot be found is a result of its own."""

    def unknown(*_: object, **__: object) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    got = measure(options(address="no.such.name.invalid"), context(), lookup=unknown)
    assert got.outcome is Outcome.FAILED
    assert got.failure is not None and got.failure.code == "name_not_found"
    assert got.data["loss_ratio"] is None


def test_a_hanging_resolver_cannot_outlast_the_deadline() -> None:
    """The system's resolver has no deadline, so the check leaves it behind."""
    release = threading.Event()

    def hang(*_: object, **__: object) -> list[Any]:
        release.wait(30)
        return []

    started = time.monotonic()
    got = measure(options(address="slow.invalid"), context(0.2), lookup=hang)
    took = time.monotonic() - started
    release.set()
    assert got.failure is not None and got.failure.code == "name_not_found"
    assert took < 2


def test_stop_is_heard_while_a_name_is_looked_up() -> None:
    """Ctrl-C does not wait for the resolver."""
    release, stop = threading.Event(), threading.Event()

    def hang(*_: object, **__: object) -> list[Any]:
        stop.set()
        release.wait(30)
        return []

    started = time.monotonic()
    got = measure(options(address="slow.invalid"), context(20, stop=stop), lookup=hang)
    release.set()
    assert got.failure is not None and got.failure.code == "interrupted"
    assert time.monotonic() - started < 5


def test_stop_keeps_what_was_measured() -> None:
    """Ctrl-C in the middle: packets never sent are not lost, what was answered is kept."""
    stop = threading.Event()
    seen: list[Progress] = []

    def progress(value: Progress) -> None:
        seen.append(value)
        if len(seen) == 3:
            stop.set()

    got = measure(options(count=500), context(stop=stop, progress=progress))
    assert got.outcome is Outcome.DEGRADED
    assert got.failure is not None and got.failure.code == "interrupted"
    # an answer to the packet that was on its way may still count
    assert 3 <= got.data["received"] <= got.data["sent"] < 500
    assert got.data["loss_ratio"] == 0.0


def test_the_deadline_ends_the_check_in_time() -> None:
    """Short of time, the check sends less, gives each packet its wait, and counts nothing unsent as lost."""
    started = time.monotonic()
    got = measure(options(count=1000, interval_ms=50), context(0.6))
    assert time.monotonic() - started < 1.5
    assert got.outcome is Outcome.DEGRADED
    assert got.failure is not None and got.failure.code == "interrupted"
    assert 1 <= got.data["sent"] < 20
    assert got.data["loss_ratio"] == 0.0


def test_the_data_budget_ends_the_check() -> None:
    """Once the budget is used up nothing more is sent; a check that could not begin is skipped."""
    got = measure(options(count=100), context(budget=DataBudget(500)))
    assert 1 <= got.data["sent"] <= 5
    assert got.failure is not None and got.failure.code == "data_budget"
    got = measure(options(), context(budget=DataBudget(0)))
    assert got.outcome is Outcome.SKIPPED
    assert got.data["sent"] == 0


@pytest.mark.parametrize("step_s", [-5.0, 5.0, -0.02, 3600.0])
def test_setting_the_wall_clock_changes_nothing(step_s: float) -> None:
    """A clock set in the middle of a check, by NTP or by hand, moves no round-trip time."""
    calls = 0

    def wall() -> float:
        nonlocal calls
        calls += 1
        return time.time() + (step_s if calls > 3 else 0.0) + (step_s if calls > 6 else 0.0)

    got = measure(options(count=6), context(), wall=wall)
    assert got.outcome is Outcome.OK
    assert all(0 < rtt < 500 for rtt in got.data["rtts_ms"])
    if abs(step_s) < 1:
        # a step shorter than the wait must not slip in as a plausible time either
        assert all(rtt < 15 for rtt in got.data["rtts_ms"])


def test_two_pings_at_once_do_not_take_each_others_answers() -> None:
    """Checks run side by side on one host: each counts its own answers only."""
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(measure(options(count=20), context()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [r.data["received"] for r in results] == [20] * 4
    assert [r.data["duplicates"] for r in results] == [0] * 4


def test_jitter_by_hand() -> None:
    """RFC 3550: J += (|D| - J)/16, worked out by hand for four neighbours."""
    # 4/16 = 0.25; 0.25 + (2 - 0.25)/16 = 0.359375; 0.359375 + (8 - 0.359375)/16 = 0.8369140625
    assert jitter_ms([10, 14, 12, 20]) == 0.8369140625


def test_a_lost_packet_breaks_the_chain_of_jitter() -> None:
    """The times before and after a lost packet are no neighbours."""
    assert jitter_ms([10, None, 50]) is None
    assert jitter_ms([10, 10, None, 50, 50]) == 0.0
    assert jitter_ms([10]) is None and jitter_ms([]) is None


@given(st.lists(st.none() | st.floats(0.001, 2000), max_size=50))
def test_statistics_hold_together(rtts: list[float | None]) -> None:
    """Whatever comes in: min ≤ median, mean ≤ max; nothing answered means nothing stated."""
    got = summarise(rtts)
    seen = [r for r in rtts if r is not None]
    if not seen:
        assert set(got.values()) == {None}
        return
    low, high = got["rtt_min_ms"], got["rtt_max_ms"]
    assert low is not None and high is not None
    for name in ("rtt_avg_ms", "rtt_median_ms"):
        value = got[name]
        assert value is not None and low <= value <= high
    assert got["rtt_avg_ms"] == pytest.approx(statistics.fmean(seen), abs=0.001)
    assert (got["rtt_stddev_ms"] is None) == (len(seen) < 2)
    jitter = got["jitter_ms"]
    assert jitter is None or (0 <= jitter <= high - low + 0.002 and math.isfinite(jitter))


@pytest.mark.parametrize(
    "changes",
    [
        {"count": 0},
        {"count": 1001},
        {"interval_ms": 9},
        {"interval_ms": 10_001},
        {"size": 7},
        {"family": "v4"},
        {"address": ""},
        {"address": "https://example/"},
        {"address": "a b"},
        {"count": "10"},
        {"colour": "red"},
    ],
)
def test_options_out_of_bounds_are_refused(changes: dict[str, Any]) -> None:
    """The settings are checked before anything is sent."""
    with pytest.raises(ValidationError):
        options(**changes)


def test_the_default_timeout_leaves_time_for_the_last_reply() -> None:
    """count × interval + 3 s, unless timeout_ms says otherwise."""
    assert options(count=10, interval_ms=200).timeout_s() == 5.0
    assert options(timeout_ms=1500).timeout_s() == 1.5
    assert options(count=10, size=56).estimate().bytes >= 10 * 2 * (20 + 8 + 56)


def test_resolve_takes_the_family_asked_for() -> None:
    """`family` decides which address of a name is used; a literal of the other family is an error."""
    assert [a.sockaddr[0] for a in resolve("localhost", "ipv4", context())] == ["127.0.0.1"]
    with pytest.raises(OSError):
        resolve("127.0.0.1", "ipv6", context())


def test_every_cause_has_a_sentence() -> None:
    """Whatever ping can report as a cause stands in the table of codes."""
    from sigprobe.net import icmp

    causes = set(icmp._ERRNO_CAUSES.values())
    causes |= {
        cause
        for family in (socket.AF_INET, socket.AF_INET6)
        for kind in range(256)
        for code in range(16)
        if (cause := icmp._icmp_cause(family, kind, code)) is not None
    }
    assert causes <= set(CODES)
    assert {"ttl_exceeded", "filtered", "host_unreachable", "network_unreachable"} <= causes
    assert KIND.name == "ping"
