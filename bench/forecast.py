"""Score the forecast of `sigprobe ready` on link traces, or fit its constants.

    python bench/forecast.py [--quick]                        # on synthetic traces; --quick: on a quarter of them
    python bench/forecast.py --traces FILE [--held-out]       # on traces; --held-out: on those the fit leaves out
    python bench/forecast.py --fit FILE                       # fit the constants on half of the traces, by name

FILE is JSON, packed with gzip or not: name → {"step_s", "direction", "radio", "mbps": [capacity per step]}.
Where traces of a file are of one route (names that differ only in their number), a test on one is followed by a task on
another, too: scored like a task half an hour later, since such drives lie hours or days apart.

Each case is a test of a few seconds, a wait, and a task. The task needs the trace's own usual rate times a factor, so
that some tasks are easy and some impossible. Prints every goal beside its figure. Exits 1 when one is missed.
"""

from __future__ import annotations

import argparse
import math
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.forecast_traces import SYNTHETIC, Trace, read, synthetic
from sigprobe.record.window import variation
from sigprobe.verdict.forecast import OVERHEAD, SPREAD, Forecast, Measurement, Spread, Task, forecast, predict

AGES_S = (0, 300, 1800)
MINUTES = (1, 5, 15)
TEST_S = (8, 4)
FACTORS = (0.15, 0.25, 0.4, 0.6, 0.8, 1.0, 1.25, 1.6, 2.5, 4.0)
"""Rate a task needs, as a share of the trace's usual one."""
ALL, QUICK = 500, 120
"""Synthetic traces. Tests half an hour before a task depend on each other within a trace: many traces, few tests of
each, give a figure that another seed repeats."""
TESTS, TESTS_SYNTHETIC = 30, 4
"""About so many tests of a trace at most."""
LEAST_CASES = 100
LEAST_TRACES = 10
"""With fewer cases, or from fewer traces, a figure is printed and not judged."""
GOAL_INTERVAL = (0.75, 0.88)
GOAL_YES, GOAL_NO = 0.90, 0.12
GOAL_SKILL = {0: 0.4, 300: 0.1, 1800: 0.0}
Row = tuple[Measurement, float, float, float]
"""A test, the length of the task in seconds, the mean rate of the time after it, and how much the row counts."""
Predictor = Callable[[Task, Sequence[Measurement]], Forecast]


@dataclass(frozen=True, slots=True)
class Case:
    """One task: the probability, whether it was done in time, and where the time lay beside the interval."""

    trace: str
    age_s: int
    minutes: int
    probability: float
    done: bool
    inside: bool | None
    other: bool = False
    """The task was on another trace of the same route."""


def main() -> int:
    """Fit, or score and judge."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--traces", type=Path)
    options.add_argument("--held-out", action="store_true", help="score only the traces that --fit leaves out")
    options.add_argument("--fit", type=Path, metavar="FILE")
    options.add_argument("--seed", type=int, default=1, help="seed of the synthetic traces")
    options.add_argument("--quick", action="store_true", help="a quarter of the synthetic traces")
    wanted = options.parse_args()
    if wanted.fit is not None:
        print(fit(split(read(wanted.fit))[0]))
        return 0
    traces = read(wanted.traces) if wanted.traces else synthetic(wanted.seed, QUICK if wanted.quick else ALL)
    if wanted.held_out:
        traces = split(traces)[1]
    print(f"{len(traces)} traces, {sum(t.seconds() for t in traces) / 3600:.1f} h")
    lines, met = judge([*cases(traces), *other_drives(traces)])
    print("\n".join(lines))
    return 0 if met else 1


def split(traces: Iterable[Trace]) -> tuple[list[Trace], list[Trace]]:
    """Half of the traces to fit on, half to report on; each half has every radio, direction and length."""
    ordered = sorted(traces, key=lambda t: (t.radio, t.direction, round(t.seconds(), -2), zlib.crc32(t.name.encode())))
    return ordered[::2], ordered[1::2]


def measured(trace: Trace, begin_s: float, test_s: float, age_s: float) -> Measurement:
    """A test on the trace, as the probe would record it."""
    mbps = trace.rate(begin_s, begin_s + test_s)
    rates = [trace.rate(begin_s + k, begin_s + k + 1) for k in range(int(test_s))]
    return Measurement(age_s / 3600, mbps * 1e6 or None, variation=variation(rates))


def starts(trace: Trace, test_s: float) -> Iterator[float]:
    """Begin a test every ten seconds, or less often on a long trace."""
    step_s = max(10.0, trace.seconds() / (TESTS_SYNTHETIC if trace.radio == SYNTHETIC else TESTS))
    begin_s = 0.0
    while begin_s + test_s < trace.seconds():
        yield begin_s
        begin_s += step_s


def cases(traces: Iterable[Trace], predictor: Predictor = forecast) -> Iterator[Case]:
    """Every test, wait and task that fits into a trace."""
    for trace in traces:
        usual = trace.rate(0, trace.seconds())
        for number, begin_s in enumerate(starts(trace, max(TEST_S))):
            test_s = TEST_S[number % len(TEST_S)]
            for age_s in AGES_S:
                told = [measured(trace, begin_s, test_s, age_s)]
                task_s = begin_s + test_s + age_s
                for minutes in MINUTES:
                    if task_s + minutes * 60 > trace.seconds() + 1e-6:
                        continue
                    for factor in FACTORS:
                        yield _case(trace, told, task_s, (age_s, minutes, usual * factor), predictor)


def other_drives(traces: Iterable[Trace], predictor: Predictor = forecast) -> Iterator[Case]:
    """A test on one trace and tasks on the next two of the same route, as if half an hour had passed."""
    routes: dict[tuple[str, str], list[Trace]] = {}
    for trace in (trace for trace in traces if trace.radio != SYNTHETIC):
        routes.setdefault((trace.name.rstrip("0123456789"), trace.direction), []).append(trace)
    for drives in routes.values():
        usual = sum(drive.rate(0, drive.seconds()) for drive in drives) / len(drives)
        for number, drive in enumerate(drives):
            later = [drives[(number + ahead) % len(drives)] for ahead in range(1, min(3, len(drives)))]
            for share, test_s in ((0.2, TEST_S[0]), (0.7, TEST_S[1])):
                told = [measured(drive, share * (drive.seconds() - test_s), test_s, AGES_S[-1])]
                for other in later:
                    for minutes in (minutes for minutes in MINUTES if minutes * 60 <= other.seconds()):
                        for factor in FACTORS:
                            case = _case(other, told, 0.0, (AGES_S[-1], minutes, usual * factor), predictor)
                            yield replace(case, other=True)


def _case(
    trace: Trace, told: list[Measurement], begin_s: float, asked: tuple[int, int, float], predictor: Predictor
) -> Case:
    age_s, minutes, mbps = asked
    megabits = mbps * minutes * 60
    found = predictor(Task(1, megabits / 8 / OVERHEAD, minutes), told)
    took_s = trace.time_for(begin_s, megabits)
    inside = None
    left_s = trace.seconds() - begin_s
    if found.interval_minutes is not None and found.interval_minutes[0] is not None:
        low_s = found.interval_minutes[0] * 60
        high_s = math.inf if found.interval_minutes[1] is None else found.interval_minutes[1] * 60
        # beyond the end of the trace nothing is known: judge only intervals that begin within it
        if low_s < left_s:
            inside = high_s >= left_s if took_s is None else low_s <= took_s <= high_s
    assert found.probability is not None
    return Case(trace.name, age_s, minutes, found.probability, took_s is not None and took_s <= minutes * 60, inside)


def judge(done: Sequence[Case]) -> tuple[list[str], bool]:
    """Print a line for each age, with the goals; and whether all were met."""
    lines = [
        "age     cases  base  Brier   skill (goal)    80 % interval  said ≥ 90 %: came true  said ≤ 10 %: came true"
    ]
    met = True
    for age_s in AGES_S:
        mine = [case for case in done if case.age_s == age_s and not case.other]
        if not mine:
            lines.append(f"{age_s // 60:>3} min      0  no trace is long enough")
            continue
        line, good = _line(age_s, mine)
        lines.append(line)
        met = met and good
        for minutes in MINUTES:
            part = [case for case in mine if case.minutes == minutes]
            if part:
                lines.append(f"   {minutes:>2} min task: {_line(age_s, part)[0]}")
    other = [case for case in done if case.other]
    if other:
        # told, not judged: the mean of a whole route changes less than the rate of one place
        lines.append(f"another drive, as {_line(AGES_S[-1], other)[0]}")
    return lines, met


def _line(age_s: int, mine: Sequence[Case]) -> tuple[str, bool]:
    base = sum(case.done for case in mine) / len(mine)
    brier = sum((case.probability - case.done) ** 2 for case in mine) / len(mine)
    skill = 1 - brier / (base * (1 - base)) if 0 < base < 1 else math.nan
    inside = [case for case in mine if case.inside is not None]
    yes = [case for case in mine if case.probability >= 0.9]
    no = [case for case in mine if case.probability <= 0.1]
    held = _share([case.inside is True for case in inside])
    came, came_no = _share([case.done for case in yes]), _share([case.done for case in no])
    checks = [
        (mine, skill > GOAL_SKILL[age_s] or (age_s == max(AGES_S) and skill >= 0)),
        (inside, GOAL_INTERVAL[0] <= held <= GOAL_INTERVAL[1]),
        (yes, came >= GOAL_YES),
        (no, came_no <= GOAL_NO),
    ]
    marks = ["few" if _few(part) else "ok" if good else "MISSED" for part, good in checks]
    text = (
        f"{age_s // 60:>3} min {len(mine):>6} {base:>5.2f} {brier:>6.3f}"
        f" {skill:>6.2f} (> {GOAL_SKILL[age_s]}) {marks[0]}"
        f" | {held:.0%} of {len(inside)} (75–88 %) {marks[1]}"
        f" | {came:.0%} of {len(yes)} (≥ 90 %) {marks[2]} | {came_no:.0%} of {len(no)} (≤ 12 %) {marks[3]}"
    )
    return text, "MISSED" not in marks


def _share(found: Sequence[bool]) -> float:
    return sum(found) / len(found) if found else math.nan


def _few(part: Sequence[Case]) -> bool:
    return len(part) < LEAST_CASES or len({case.trace for case in part}) < LEAST_TRACES


# --- the fit

FIT_AGES_S = (0, 60, 120, 240)
FIT_TASK_S = (20, 60, 180)
FIT_RATIOS = (0.3, 0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 3.0)
FIT_STEPS = (0.02, 0.05, 0.0, 0.0, 0.05)
"""First steps for each constant; those of 0 are held: traces of minutes do not show what changes in half an hour."""

FIT_BOUNDS = ((0.1, 0.3, 0.0, 0.0, 0.0), (0.4, 1.0, math.inf, math.inf, 1.0))
"""Bounds of each constant, so that a few restless traces do not decide."""


def fit(traces: Sequence[Trace]) -> str:
    """Lower the logarithmic loss over many needed rates, one constant at a time.

    A trace counts by the root of its cases.
    """
    rows = [row for trace in traces for row in _rows(trace)]
    best = list(astuple(SPREAD))
    low, high = FIT_BOUNDS
    loss = _loss(rows, best)
    steps = list(FIT_STEPS)
    for _ in range(4):
        for index in range(len(best)):
            for sign in (1, -1):
                while steps[index] > 0:
                    tried = list(best)
                    tried[index] = tried[index] + sign * steps[index]
                    if not (low[index] <= tried[index] <= high[index]) or (new := _loss(rows, tried)) >= loss - 1e-6:
                        break
                    best, loss = tried, new
        steps = [step / 1.5 for step in steps]
    found = Spread(*best)
    return f"{len(traces)} traces, {len(rows)} cases, loss {loss:.4f}\n{found}"


def _rows(trace: Trace) -> list[Row]:
    found: list[tuple[Measurement, float, float]] = []
    for begin_s in starts(trace, 8):
        for age_s in FIT_AGES_S:
            for task_s in FIT_TASK_S:
                from_s = begin_s + 8 + age_s
                if from_s + task_s <= trace.seconds():
                    told = measured(trace, begin_s, 8, age_s)
                    if told.upload_bps is not None and told.upload_bps >= 20_000:
                        found.append((told, task_s, trace.rate(from_s, from_s + task_s) * 1e6))
    return [(told, task_s, bps, 1 / math.sqrt(len(found))) for told, task_s, bps in found]


def _loss(rows: Sequence[Row], constants: Sequence[float]) -> float:
    spread = Spread(*constants)
    total = weights = 0.0
    for told, task_s, bps, weight in rows:
        rates = predict([told], spread, task_s)
        assert rates is not None and told.upload_bps is not None
        for ratio in FIT_RATIOS:
            needed = told.upload_bps * ratio
            chance = min(0.99, max(0.01, rates.above(needed)))
            total -= weight * math.log(chance if bps >= needed else 1 - chance)
        weights += weight * len(FIT_RATIOS)
    return total / weights


if __name__ == "__main__":
    raise SystemExit(main())
