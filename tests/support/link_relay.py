"""Relay packets between two tun devices: delayed, slowed down or dropped. The process behind `link_emulator`.

Started as a script. It talks JSON lines: settings and questions come on stdin, answers go to stdout. Standard library
alone, so that it starts at once.
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import heapq
import json
import os
import random
import select
import signal
import struct
import subprocess
import sys
import time
from bisect import bisect_left, bisect_right
from contextlib import suppress
from itertools import accumulate

TUNSETIFF = 0x400454CA
IFF_TUN = 1
IFF_NO_PI = 0x1000
PR_SET_PDEATHSIG = 1
PR_SET_TIMERSLACK = 29
BURST = 64
LATE_S = 0.02
EARLY_S = 40e-6
"""What is due so soon goes out with what is due now: at high rates that spares most of the waking up."""

NAMES = {1: "icmp", 58: "icmp", 6: "tcp", 17: "udp"}
ECHO = {(1, 8), (1, 0), (58, 128), (58, 129)}
COUNTED = ("arrived", "passed", "passed_bytes", "lost", "outage", "overflow", "duplicated", "held_back")


Waiting = tuple[float, int, int, dict[str, int], bytes]
"""When it is due, a number for equal moments, where it goes, its counters, the packet."""


def protocol(packet: bytes) -> str:
    """`echo`, `icmp` (all other ICMP), `tcp`, `udp` or `other`."""
    six = packet[0] >> 4 == 6
    number = packet[6] if six else packet[9]
    start = 40 if six else (packet[0] & 15) * 4
    if number in (1, 58) and len(packet) > start and (number, packet[start]) in ECHO:
        return "echo"
    return NAMES.get(number, "other")


class Steps:
    """A rate that repeats a trace of equal steps. At a rate of 0 packets wait; none is lost."""

    def __init__(self, mbps: list[float], step_s: float) -> None:
        if not any(rate > 0 for rate in mbps) or step_s <= 0:
            raise ValueError("a trace of rates needs one above 0 and a step above 0")
        self.step_s = step_s
        self.bytes_per_s = [rate * 125_000 for rate in mbps]
        self.sums = [0.0, *accumulate(rate * step_s for rate in self.bytes_per_s)]
        self.round_s = step_s * len(mbps)

    def carried(self, at_s: float) -> float:
        """Return the bytes that the link can carry from the beginning of the trace to this moment."""
        rounds, rest_s = divmod(max(0.0, at_s), self.round_s)
        step = min(int(rest_s / self.step_s), len(self.bytes_per_s) - 1)
        return rounds * self.sums[-1] + self.sums[step] + (rest_s - step * self.step_s) * self.bytes_per_s[step]

    def moment(self, total: float) -> float:
        """Return the first moment at which so many bytes can have been carried."""
        rounds, rest = divmod(total, self.sums[-1])
        step = max(0, bisect_left(self.sums, rest) - 1)
        rate = self.bytes_per_s[step]
        return rounds * self.round_s + step * self.step_s + ((rest - self.sums[step]) / rate if rate else 0.0)


class Way:
    """One direction: its settings, the time its bottleneck is free again, and its counters."""

    def __init__(self, out: int, seed: int) -> None:
        self.out = out
        self.random = random.Random(seed)
        self.counts: dict[str, dict[str, int]] = {}
        self.free_s = 0.0
        self.last_s = 0.0
        self.set({}, 0.0)

    def set(self, settings: dict, now: float) -> None:
        """Take new settings; their outages and traces count from now."""
        get = settings.get
        self.begin_s = now
        self.delay_s = get("delay_ms", 0) / 1e3
        self.jitter_s = get("jitter_ms", 0) / 1e3
        self.loss = get("loss", 0)
        self.duplicate = get("duplicate", 0)
        self.reorder = get("reorder", 0)
        self.reorder_s = get("reorder_ms", 0) / 1e3
        self.queue_bytes = get("queue_bytes") or 1 << 40
        self.outages = [(a, b) for a, b in get("outages", ())]
        rate = get("rate_bps")
        trace = sorted((t, bps) for t, bps in get("trace", ()))
        self.trace = trace if not rate or (trace and trace[0][0] <= 0) else [(0.0, rate), *trace]
        self.times = [t for t, _ in self.trace]
        self.steps = Steps(get("mbps"), get("step_s", 1)) if get("mbps") else None
        self.done = 0.0

    def cell(self, packet: bytes) -> dict[str, int]:
        """Return the counters of the packet's protocol."""
        name = protocol(packet)
        cell = self.counts.get(name)
        if cell is None:
            cell = self.counts[name] = dict.fromkeys(COUNTED, 0)
        return cell

    def due(self, size: int, cell: dict[str, int], now: float) -> float | None:
        """Return when a packet leaves; None when it never does."""
        cell["arrived"] += 1
        since = now - self.begin_s
        for start, end in self.outages:
            if start <= since < end:
                cell["outage"] += 1
                return None
        if self.loss and self.random.random() < self.loss:
            cell["lost"] += 1
            return None
        due = now
        if self.steps is not None:
            done = max(self.done, self.steps.carried(since))
            if done - self.steps.carried(since) > self.queue_bytes:
                cell["overflow"] += 1
                return None
            self.done = done + size
            due = self.begin_s + self.steps.moment(self.done)
        elif self.trace:
            bytes_per_s = self.rate(since) / 8
            if bytes_per_s <= 0:
                cell["outage"] += 1
                return None
            start = max(self.free_s, now)
            if (start - now) * bytes_per_s > self.queue_bytes:
                cell["overflow"] += 1
                return None
            due = self.free_s = start + size / bytes_per_s
        due += self.delay_s
        if self.jitter_s:
            # a late packet holds back those behind it, as a queue does; reordering is asked for by its own name
            due = self.last_s = max(self.last_s, due + self.random.uniform(-self.jitter_s, self.jitter_s))
        if self.reorder and self.random.random() < self.reorder:
            cell["held_back"] += 1
            due += self.reorder_s
        return due

    def rate(self, since: float) -> float:
        """Bit/s at this moment of the trace."""
        if len(self.trace) == 1:
            return self.trace[0][1]
        return self.trace[max(0, bisect_right(self.times, since) - 1)][1]


class Lateness:
    """Count packets that left long after they were due because this process got no processor."""

    def __init__(self) -> None:
        self.worst_s = 0.0
        self.packets = 0

    def add(self, seconds: list[float]) -> None:
        """Count packets that are so late."""
        self.worst_s = max(self.worst_s, *seconds)
        self.packets += len(seconds)


def tun(name: str, namespace: str, addresses: list[str], mtu: int) -> int:
    """Return a tun device inside a namespace; its file descriptor stays here."""
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    # made under a name of its own: until it has moved it lies among everybody's
    made = f"spt{os.getpid()}{name[-1]}"
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", made.encode(), IFF_TUN | IFF_NO_PI))
    subprocess.check_call(["ip", "link", "set", made, "netns", namespace, "name", name])
    for address in addresses:
        extra = ["nodad"] if ":" in address else []
        subprocess.check_call(["ip", "-n", namespace, "address", "add", address, "dev", name, *extra])
    subprocess.check_call(["ip", "-n", namespace, "link", "set", name, "mtu", str(mtu), "txqueuelen", "5000", "up"])
    return fd


def keep_awake() -> list[int]:
    """Keep every processor awake while the link exists; returns the processes that do so.

    One that sleeps wakes late, by a millisecond and more where the machine is a virtual one with nothing else to do,
    and then the link, its ends and whoever measures it are all late. These take only time that nobody else wants.
    """
    children, parent = [], os.getpid()
    for processor in sorted(os.sched_getaffinity(0)):
        child = os.fork()
        if child:
            children.append(child)
            continue
        os.closerange(0, 3)
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(0)
        with suppress(OSError):
            os.sched_setaffinity(0, {processor})
        # the scheduler shares time among sessions first: one of their own, that counts for little
        with suppress(OSError):
            os.setsid()
            with open("/proc/self/autogroup", "w") as group:
                group.write("19")
        try:
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        except OSError:
            os.nice(19)
        while True:
            pass
    return children


def be_prompt() -> None:
    """Raise the priority where allowed: a relay that waits for a processor changes the link."""
    gc.disable()
    with suppress(OSError):
        ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10))
    except OSError:
        with suppress(OSError):
            os.nice(-20)


def relay(left: int, right: int, seed: int) -> None:
    """Carry packets until stdin closes."""
    ways = {left: Way(right, seed), right: Way(left, seed + 1)}
    names = {"up": ways[left], "down": ways[right]}
    heap: list[Waiting] = []
    number = 0
    clock, read, write, push, pop = time.perf_counter, os.read, os.write, heapq.heappush, heapq.heappop
    watched = (left, right, 0)
    late = Lateness()
    while True:
        until = clock() + EARLY_S
        if heap and until - heap[0][0] > LATE_S:
            late.add([until - due for due, *_ in heap if until - due > LATE_S])
        while heap and heap[0][0] <= until:
            _, _, out, cell, packet = pop(heap)
            try:
                write(out, packet)
            except BlockingIOError:
                cell["overflow"] += 1
                continue
            cell["passed"] += 1
            cell["passed_bytes"] += len(packet)
        ready, _, _ = select.select(watched, (), (), max(0.0, heap[0][0] - clock()) if heap else None)
        for fd in ready:
            if fd == 0:
                if not answer(names, heap, late):
                    return
                continue
            way = ways[fd]
            for _ in range(BURST):
                try:
                    packet = read(fd, 65536)
                except BlockingIOError:
                    break
                cell = way.cell(packet)
                due = way.due(len(packet), cell, clock())
                if due is None:
                    continue
                number += 1
                push(heap, (due, number, way.out, cell, packet))
                if way.duplicate and way.random.random() < way.duplicate:
                    cell["duplicated"] += 1
                    number += 1
                    push(heap, (due, number, way.out, cell, packet))


def answer(names: dict[str, Way], heap: list[Waiting], late: Lateness) -> bool:
    """Execute one line from stdin; False when it is closed."""
    line = sys.stdin.readline()
    if not line:
        return False
    order = json.loads(line)
    now = time.perf_counter()
    for name, settings in order.get("set", {}).items():
        names[name].set(settings, now)
    report = {name: way.counts for name, way in names.items()}
    told = {"counts": report, "in_flight": len(heap), "cpu_s": time.process_time()}
    print(json.dumps({**told, "late_s": late.worst_s, "late": late.packets}), flush=True)
    return True


def main() -> None:
    """Read the first line, make the devices, report that, and relay."""
    children = keep_awake() if "awake" in sys.argv else []
    try:
        serve()
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def serve() -> None:
    """Run the relay."""
    start = json.loads(sys.stdin.readline())
    devices = [tun(end["device"], end["namespace"], end["addresses"], start["mtu"]) for end in start["ends"]]
    be_prompt()
    print(json.dumps({"ready": True}), flush=True)
    relay(devices[0], devices[1], start["seed"])


if __name__ == "__main__":
    main()
