"""Read link traces, or make synthetic ones that are the same for the same seed."""

from __future__ import annotations

import gzip
import json
import math
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

SYNTHETIC: Final = "synthetic"
"""The radio of traces that no radio carried."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Capacity of a link in one direction: `totals` are the megabits carried by the end of each step."""

    name: str
    radio: str
    direction: str
    step_s: float
    totals: list[float]

    def seconds(self) -> float:
        """Length of the trace."""
        return (len(self.totals) - 1) * self.step_s

    def at(self, second: float) -> float:
        """Megabits carried by this second, between steps on the straight line."""
        step = min(max(second / self.step_s, 0.0), len(self.totals) - 1.0)
        before = min(int(step), len(self.totals) - 2)
        return self.totals[before] + (self.totals[before + 1] - self.totals[before]) * (step - before)

    def rate(self, begin_s: float, end_s: float) -> float:
        """Mean rate in Mbit/s."""
        return (self.at(end_s) - self.at(begin_s)) / (end_s - begin_s)

    def time_for(self, begin_s: float, megabits: float) -> float | None:
        """Seconds from `begin_s` until so much was carried; None if the trace ends before."""
        wanted = self.at(begin_s) + megabits
        if self.totals[-1] < wanted:
            return None
        low, high = begin_s, self.seconds()
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (low, middle) if self.at(middle) >= wanted else (middle, high)
        return high - begin_s


def trace(name: str, told: dict[str, Any]) -> Trace:
    """Build a trace from its entry in a file."""
    step_s, totals = float(told["step_s"]), [0.0]
    for mbps in told["mbps"]:
        totals.append(totals[-1] + max(0.0, float(mbps)) * step_s)
    return Trace(name, str(told.get("radio", "")), str(told.get("direction", "")), step_s, totals)


def read(path: Path) -> list[Trace]:
    """Read a JSON file of traces, packed with gzip or not."""
    raw = path.read_bytes()
    if raw[:2] == b"\x1f\x8b":
        raw = gzip.decompress(raw)
    return [trace(name, told) for name, told in json.loads(raw).items() if len(told["mbps"]) > 1]


def synthetic(seed: int, count: int = 24, seconds: int = 4200) -> list[Trace]:
    """Make traces of a link that varies quickly and slowly and is sometimes dead. They are synthetic, not measured.

    The logarithm of the rate is the sum of three parts that forget themselves after 4 s, 2 minutes and 20 minutes;
    outages begin at random and last 20 s on average.
    """
    chance = random.Random(seed)
    made = []
    for number in range(count):
        usual, restless = math.log(chance.uniform(0.5, 12.0)), chance.uniform(0.7, 1.4)
        parts = [(4.0, 0.18 * restless), (120.0, 0.4 * restless), (1200.0, 0.75 * restless)]
        states = [chance.gauss(0, size) for _, size in parts]
        totals, dead_s = [0.0], 0.0
        for _ in range(seconds):
            for index, (memory_s, size) in enumerate(parts):
                keep = math.exp(-1 / memory_s)
                states[index] = keep * states[index] + chance.gauss(0, size * math.sqrt(1 - keep * keep))
            if dead_s <= 0 and chance.random() < 1 / 1500:
                dead_s = chance.expovariate(1 / 20)
            dead_s -= 1
            totals.append(totals[-1] + (0.0 if dead_s > 0 else math.exp(usual + sum(states))))
        made.append(Trace(f"synthetic-{seed}-{number}", SYNTHETIC, "up", 1.0, totals))
    return made
