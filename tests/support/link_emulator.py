"""Emulate a link between two network namespaces: delay, jitter, loss, rate, queue and outages.

    with link(up=Way(delay_ms=25), down=Way(delay_ms=25, rate_bps=5e6, queue_bytes=60_000)) as wire:
        wire.near.run("ping", "-c", "3", wire.far_address)
        wire.set(down=Way(outages=((0, 3),)))
        wire.counts()["down"]["tcp"]["overflow"]

`near` sends `up` to `far`. The packets pass through a process of its own (`link_relay.py`), which counts them. Root
only: a test that uses it carries `netns.MARKS`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from tests.support.link_relay import Steps
from tests.support.netns import Namespace, namespace

RELAY = Path(__file__).with_name("link_relay.py")


@dataclass(frozen=True, slots=True)
class Way:
    """Settings of one direction. Times in outages and traces are seconds since the setting was made.

    `jitter_ms` is drawn evenly from ± that much and keeps the order of packets. `reorder` is the share of packets
    that is held back by `reorder_ms`, `duplicate` the share that is delivered twice. `trace` is the rate over time,
    [(t, bit/s), …], 0 for none at all; `rate_bps` holds before its first point. Without a `queue_bytes` nothing is
    ever dropped for lack of room. An outage swallows what is sent between its two moments.

    `mbps` is the rate in Mbit/s of each step of `step_s` seconds, over and over, in place of `rate_bps` and `trace`.
    It carries exactly what the steps add up to: at a rate of 0 packets wait for a later step.
    """

    delay_ms: float = 0
    jitter_ms: float = 0
    loss: float = 0
    rate_bps: float | None = None
    queue_bytes: int | None = None
    outages: tuple[tuple[float, float], ...] = ()
    trace: tuple[tuple[float, float], ...] = ()
    duplicate: float = 0
    reorder: float = 0
    reorder_ms: float = 0
    mbps: tuple[float, ...] = ()
    step_s: float = 1.0

    def capacity_bps(self, begin_s: float, end_s: float) -> float:
        """Return the mean rate of `mbps` between two moments after the setting was made."""
        steps = Steps(list(self.mbps), self.step_s)
        return (steps.carried(end_s) - steps.carried(begin_s)) * 8 / (end_s - begin_s)


class Counts(TypedDict):
    """Packet counters of one protocol in one direction."""

    arrived: int
    passed: int
    passed_bytes: int
    lost: int
    outage: int
    overflow: int
    duplicated: int
    held_back: int


NONE = Counts(arrived=0, passed=0, passed_bytes=0, lost=0, outage=0, overflow=0, duplicated=0, held_back=0)


@dataclass
class Link:
    """A running link. Addresses are the same in every link unless `subnet` differs; the namespaces keep them apart."""

    near: Namespace
    far: Namespace
    near_address: str
    far_address: str
    near_address6: str
    far_address6: str
    device: str
    _relay: subprocess.Popen[str] = field(repr=False)

    def set(self, *, up: Way | None = None, down: Way | None = None) -> None:
        """Change one or both directions from now on; packets under way keep the old settings."""
        ways = {name: asdict(way) for name, way in (("up", up), ("down", down)) if way is not None}
        self._ask({"set": ways})

    def counts(self) -> dict[str, dict[str, Counts]]:
        """Return counters by direction (`up`, `down`) and protocol (`echo`, `icmp`, `tcp`, `udp`, `other`)."""
        found: dict[str, dict[str, Counts]] = self._ask({})["counts"]
        names = ("echo", "icmp", "tcp", "udp", "other")
        return {way: {name: cells.get(name, NONE) for name in names} for way, cells in found.items()}

    def cpu_s(self) -> float:
        """Return the processor seconds that the relay has used: near one per second it is the bottleneck itself."""
        return float(self._ask({})["cpu_s"])

    def lateness_s(self) -> tuple[float, int]:
        """Return by how much the relay was late at worst, and how many packets were over 20 ms late.

        A relay that is late had no processor: the link was not the one that was asked for.
        """
        found = self._ask({})
        return float(found["late_s"]), int(found["late"])

    def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._relay.stdin is not None and self._relay.stdout is not None
        self._relay.stdin.write(json.dumps(order) + "\n")
        self._relay.stdin.flush()
        answer = self._relay.stdout.readline()
        if not answer:
            raise RuntimeError("the relay has ended")
        return json.loads(answer)  # type: ignore[no-any-return]


@contextmanager
def join_by_relay(
    near: Namespace,
    far: Namespace,
    *,
    up: Way | None = None,
    down: Way | None = None,
    subnet: int = 1,
    device: str = "eth0",
    mtu: int = 1500,
    seed: int = 1,
    congestion: str | None = None,
    awake: bool = True,
) -> Iterator[Link]:
    """Join two namespaces that exist already: `10.88.<subnet>.1` and `.2`, `fd88:<subnet>::1` and `::2`.

    Both ends call their device `device`. `congestion` names the TCP congestion control of everything sent over
    this link, at both ends (a metric of the route, so no program has to know). `awake` keeps the processors from
    sleeping, which delays of fractions of a millisecond need.
    """
    relay = subprocess.Popen(
        [sys.executable, "-I", "-S", str(RELAY), *(["awake"] if awake else [])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert relay.stdin is not None and relay.stdout is not None
    four, six = f"10.88.{subnet}", f"fd88:{subnet:x}:"
    ends = [
        {"namespace": space.name, "device": device, "addresses": [f"{four}.{host}/24", f"{six}:{host}/64"]}
        for host, space in enumerate((near, far), start=1)
    ]
    try:
        relay.stdin.write(json.dumps({"ends": ends, "mtu": mtu, "seed": seed}) + "\n")
        relay.stdin.flush()
        if not relay.stdout.readline():
            raise RuntimeError("the relay could not start")
        if congestion is not None:
            for space in (near, far):
                space.ip("route", "replace", f"{four}.0/24", "dev", device, "proto", "kernel", "congctl", congestion)
        addresses = (f"{four}.1", f"{four}.2", f"{six}:1", f"{six}:2")
        made = Link(near, far, *addresses, device, relay)
        made.set(up=up or Way(), down=down or Way())
        yield made
    finally:
        relay.stdin.close()
        try:
            relay.wait(5)
        except subprocess.TimeoutExpired:
            relay.kill()
            relay.wait()
        relay.stdout.close()


@contextmanager
def link(up: Way | None = None, down: Way | None = None, **options: Any) -> Iterator[Link]:
    """Provide two fresh namespaces joined by a relay; the options are those of `join_by_relay`."""
    with (
        namespace("near") as near,
        namespace("far") as far,
        join_by_relay(near, far, up=up, down=down, **options) as made,
    ):
        yield made


def both_ways(rtt_ms: float, rate_bps: float | None = None, **settings: Any) -> dict[str, Way]:
    """Return the settings of a symmetric link: half the round trip each way. `link(**both_ways(100, 5e6))`."""
    way = Way(delay_ms=rtt_ms / 2, rate_bps=rate_bps, **settings)
    return {"up": way, "down": way}
