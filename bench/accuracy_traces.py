"""Links that follow a trace: what sigprobe states beside what the link could carry in the same window."""

from __future__ import annotations

import math
import random
import sys
import time
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))


from bench import accuracy_tools as tools
from bench.forecast_traces import Trace, read
from sigprobe.measure.throughput import kind as throughput
from sigprobe.net.limits import Context, Deadline, Progress
from sigprobe.record.result import is_at_least
from sigprobe.record.window import percentile
from tests.support.link_emulator import Way, link

GOAL = 0.20
PAYLOAD = 1448 / 1500
"""Share of a link's bytes that is payload in full packets."""

RTTS_MS = (40, 80, 150, 250)
QUEUES = (60_000, 150_000, 400_000)
CONTROLS = ("cubic", "bbr")
HELD_OUT = 4
"""One of so many traces was looked at while the constants were chosen; `--held-out` leaves these out."""

ALIVE_BPS = 50_000.0
SHORT = 6
WAYS = ("download", "upload")


@dataclass(frozen=True, slots=True)
class Case:
    """A trace on a link: the upload follows the same trace, `shift` of its length later."""

    number: int
    trace: Trace
    rtt_ms: int
    queue_bytes: int
    control: str
    shift: float = 0.5

    def ways(self) -> dict[str, Way]:
        """Return both directions, from a place in the trace that depends on the number alone."""
        steps = [(b - a) / self.trace.step_s for a, b in zip(self.trace.totals, self.trace.totals[1:], strict=False)]
        at = random.Random(self.number).randrange(len(steps))
        found = {}
        for name, begin in (("down", at), ("up", (at + int(self.shift * len(steps))) % len(steps))):
            found[name] = Way(
                delay_ms=self.rtt_ms / 2,
                mbps=(*steps[begin:], *steps[:begin]),
                step_s=self.trace.step_s,
                queue_bytes=self.queue_bytes,
            )
        return found


@dataclass(frozen=True, slots=True)
class Outcome:
    """One direction of one case. `alive` is the share of the window's seconds with 50 kbit/s and more."""

    case: Case
    way: str
    bps: float | None
    capacity_bps: float
    seconds: float
    alive: float
    at_least: bool
    payload_bytes: int

    @property
    def error(self) -> float | None:
        """Stated rate beside the capacity of the window; None where nothing was there to be measured."""
        if self.bps is None:
            return -1.0 if self.alive >= 0.5 else None
        return self.bps / self.capacity_bps - 1 if self.capacity_bps > 0 else math.inf

    def line(self) -> str:
        """The figures in one line."""
        stated = "none" if self.bps is None else f"{'>=' if self.at_least else ''}{self.bps / 1e6:.3f}"
        error = "" if self.error is None else f"{self.error:+.1%}"
        where = f"{self.case.rtt_ms} ms, {self.case.queue_bytes // 1000} kB, {self.case.control}"
        return (
            f"{self.case.trace.name[:30]:30} {where:22} {self.way:8} {self.seconds:5.1f} s  link"
            f" {self.capacity_bps / 1e6:.3f}  stated {stated} Mbit/s  {error}"
        )


def cases(traces: Sequence[Trace], *, held_out: bool = False, count: int | None = None) -> list[Case]:
    """Every trace once, in an order that depends on the names alone; the links take turns."""
    ordered = sorted(traces, key=lambda trace: zlib.crc32(trace.name.encode()))
    made = []
    for number, trace in enumerate(ordered):
        rtt, queue = RTTS_MS[number % 4], QUEUES[number // 4 % 3]
        made.append(Case(number, trace, rtt, queue, CONTROLS[number // 2 % 2]))
    if held_out:
        made = made[math.ceil(len(made) / HELD_OUT) :]
    return made[:count]


def measure(case: Case) -> list[Outcome]:
    """Both directions of one case, with the defaults of a target."""
    ways = case.ways()
    easy = Way(delay_ms=case.rtt_ms / 2)
    with (
        link(up=easy, down=easy, congestion=case.control, seed=case.number) as wire,
        tools.running(wire, only_ours=True),
    ):
        wire.set(**ways)
        begun = time.monotonic()

        def run() -> tuple[dict[str, Any], dict[str, float]]:
            starts: dict[str, float] = {}

            def note(progress: Progress) -> None:
                starts.setdefault(progress.phase, time.monotonic())

            chosen = throughput.Options(name="x", url=f"http://{wire.far_address}:{tools.PORT}/")
            context = Context(Deadline.after(chosen.timeout_s()), progress=note)
            return throughput.measure(chosen, context).data, starts

        data, starts = wire.near.call(run, timeout=90)
    return [
        _outcome(case, way, ways["down" if way == "download" else "up"], data, starts[way] - begun)
        for way in WAYS
        if way in starts
    ]


def _outcome(case: Case, way: str, link_way: Way, data: dict[str, Any], begin_s: float) -> Outcome:
    took_s = float(data[f"{way}_s"])
    whole = range(max(1, round(took_s)))
    alive = [link_way.capacity_bps(begin_s + s, begin_s + s + 1) * PAYLOAD >= ALIVE_BPS for s in whole]
    return Outcome(
        case,
        way,
        data[f"{way}_bps"],
        link_way.capacity_bps(begin_s, begin_s + took_s) * PAYLOAD,
        took_s,
        sum(alive) / len(alive),
        is_at_least(data, f"{way}_bps"),
        data["bytes_received" if way == "download" else "bytes_sent"],
    )


def judge(found: Sequence[Outcome]) -> tuple[list[str], bool]:
    """The 90th percentile of the error in each direction beside the goal, and whether both are met."""
    lines, met = [], True
    for way in WAYS:
        mine = [one for one in found if one.way == way]
        errors = sorted(abs(one.error) for one in mine if one.error is not None and not _is_right_bound(one))
        if not errors:
            continue
        p90, silent = percentile(errors, 0.9), sum(one.bps is None and one.alive >= 0.5 for one in mine)
        good = p90 <= GOAL and not silent
        met = met and good
        lines.append(
            f"{way}: {len(errors)} tests, error median {percentile(errors, 0.5):.1%}, p90 {p90:.1%} (goal <= 20 %),"
            f" nothing stated where half of the time had 50 kbit/s: {silent} (goal 0),"
            f" {sum(one.payload_bytes for one in mine) / 1e6:.1f} MB {'ok' if good else 'MISSED'}"
        )
    return lines, met and bool(lines)


def _is_right_bound(one: Outcome) -> bool:
    return one.at_least and one.bps is not None and one.bps <= one.capacity_bps * (1 + GOAL)


def run(paths: Sequence[Path], *, held_out: bool, count: int | None, jobs: int) -> int:
    """Measure every case, print the figures; 1 when a goal is missed."""
    chosen = cases([trace for path in paths for trace in read(path)], held_out=held_out, count=count)
    found: list[Outcome] = []
    with ThreadPoolExecutor(jobs) as pool:
        for outcomes in pool.map(measure, chosen):
            found += outcomes
            print("\n".join(one.line() for one in outcomes), flush=True)
    lines, met = judge(found)
    print("\n".join(lines))
    return 0 if met else 1
