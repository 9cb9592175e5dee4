"""Noticing a way out: by the kernel's messages in real namespaces, and by looking where there are none."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Iterator

import pytest

from sigprobe.net.connectivity import Watch, Ways, ways
from tests.support import netns
from tests.support.netns import Namespace

HOME: Ways = frozenset({("eth0", "0.0.0.0/0", "192.0.2.1")})


@pytest.fixture
def space() -> Iterator[Namespace]:
    """A namespace with an interface that is down; its other end is up and in the same namespace."""
    with netns.namespace("w") as space:
        space.ip("link", "add", "way0", "type", "veth", "peer", "name", "far0")
        space.ip("link", "set", "far0", "up")
        yield space


def later(seconds: float, *commands: list[str]) -> None:
    """Run commands in this namespace after a while, in the background."""
    import subprocess

    def work() -> None:
        time.sleep(seconds)
        for command in commands:
            subprocess.run(command, check=True, capture_output=True)

    threading.Thread(target=work, daemon=True).start()


UP = [
    ["ip", "address", "add", "10.88.0.2/24", "dev", "way0"],
    ["ip", "link", "set", "way0", "up"],
    ["ip", "route", "add", "default", "via", "10.88.0.1"],
]


@pytest.mark.root
@pytest.mark.system("ip", "iproute2")
class TestInANamespace:
    """The kernel's own messages."""

    def test_a_link_that_comes_up_ends_the_wait(self, space: Namespace) -> None:
        """Address, link and route come within the same second: the wait of a minute ends within two, once."""

        def work() -> tuple[bool, float, bool, bool]:
            with Watch() as watch:
                later(0.3, *UP)
                begun = time.monotonic()
                came = watch.wait(20)
                took = time.monotonic() - begun
                return came, took, watch.wait(1.5), watch.told_by_kernel

        came, took, again, told = space.call(work)
        assert came
        assert took < 2.5
        assert not again, "one coming up is one event"
        assert told

    def test_going_down_is_no_way_and_coming_back_is(self, space: Namespace) -> None:
        """A route that goes ends no wait; the same one coming back does."""

        def work() -> tuple[bool, Ways, bool]:
            import subprocess

            for command in UP:
                subprocess.run(command, check=True, capture_output=True)
            with Watch() as watch:
                later(0.1, ["ip", "link", "set", "way0", "down"])
                down = watch.wait(1.5)
                none = watch.ways
                later(0.1, ["ip", "link", "set", "way0", "up"], UP[2])
                return down, none, watch.wait(10)

        down, none, back = space.call(work)
        assert not down
        assert none == frozenset()
        assert back

    def test_waiting_costs_no_time_of_the_processor(self, space: Namespace) -> None:
        """Two seconds of waiting take less than 20 ms of CPU."""

        def work() -> float:
            with Watch() as watch:
                before = resource.getrusage(resource.RUSAGE_SELF)
                watch.wait(2.0)
                after = resource.getrusage(resource.RUSAGE_SELF)
            return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

        assert space.call(work) < 0.02

    def test_loopback_is_no_way_out(self, space: Namespace) -> None:
        """A device with nothing but itself has no ways."""

        def work() -> Ways:
            return ways()

        space.ip("link", "set", "lo", "up")
        assert space.call(work) == frozenset()


def test_without_the_kernels_messages_it_looks_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere than on Linux the ways are looked at every few seconds."""
    monkeypatch.setattr("sigprobe.net.connectivity.POLL_S", 0.02)
    looks = iter([frozenset(), frozenset(), frozenset(), HOME])
    with Watch(look=lambda: next(looks), netlink=False) as watch:
        assert not watch.told_by_kernel
        assert watch.wait(10)
        assert watch.ways == HOME


def test_a_wait_ends_by_itself_and_when_woken() -> None:
    """The time is up, another thread wakes it, a byte on its descriptor wakes it: False each time."""
    with Watch(look=lambda: HOME, netlink=False) as watch:
        assert not watch.wait(0)
        begun = time.monotonic()
        assert not watch.wait(0.05)
        assert 0.04 < time.monotonic() - begun < 2
        watch.wake()
        begun = time.monotonic()
        assert not watch.wait(10)
        os.write(watch.wake_fd, b"\x0f")
        assert not watch.wait(10)
        assert time.monotonic() - begun < 2
        assert not watch.wait(0.01)


def test_an_interrupted_wait_ends_when_a_signal_wakes_it() -> None:
    """Waking a hundred times before a wait is one waking, and never blocks."""
    with Watch(look=lambda: HOME, netlink=False) as watch:
        for _ in range(100_000):
            watch.wake()
        assert not watch.wait(10)
