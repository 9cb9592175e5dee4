"""Measure how often the verdict is right: every scenario, many seeds, goals beside figures.

    python bench/verdict.py --seeds 20 [--first 1] [--only NAME ...] [--group PART] [--jobs 24] [--json FILE]
    python bench/verdict.py --read FILE ... [--write docs/verdict.md]

Root only: each scenario is built in network namespaces. Exits 1 when a goal is missed. `--read` reports verdicts that
`--json` has written, without running any. `--write` puts the tables between the marks of a page.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.trials.scenarios.catalogue import SCENARIOS
from tests.trials.scenarios.judging import Judged, judge_all
from tests.trials.scenarios.scenario import FIRST_CANDIDATES

OWNERS = ("none", "local", "operator", "service", "collector", "uncertain")
CONFIDENCE_BOUNDS = (0.0, 0.5, 0.7, 0.8, 0.9)
SCENARIOS_WANTED = 80
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


@dataclass(frozen=True)
class Goal:
    """One goal: its figure as a share or a count, None where there was nothing to count, and whether it is met."""

    name: str
    wanted: str
    figure: str
    met: bool


def main() -> int:
    """Run, print, and compare with the goals."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seeds", type=int, default=20)
    options.add_argument("--first", type=int, default=1, help="the first seed")
    options.add_argument("--only", nargs="*", default=[], help="names of scenarios")
    options.add_argument("--group", help="part of a group's name, such as 'mobile' or '5 whose'")
    options.add_argument("--jobs", type=int, default=24, help="scenarios at once; each mostly waits")
    options.add_argument("--json", type=Path, help="write each verdict with its results to this file, one per line")
    options.add_argument("--read", type=Path, nargs="+", help="report these files of --json instead of running")
    options.add_argument("--write", type=Path, help="put the tables between the marks of this page")
    wanted = options.parse_args()
    if wanted.read:
        done = [judged for path in wanted.read for judged in read(path)]
        print(report(done))
        if wanted.write is not None:
            write(wanted.write, done)
        return 0 if all(goal.met for goal in goals(done)) else 1
    unknown = set(wanted.only) - {s.name for s in SCENARIOS}
    if unknown:
        options.error(f"no scenario is called {', '.join(sorted(unknown))}")
    chosen = [s for s in SCENARIOS if not wanted.only or s.name in wanted.only]
    chosen = [s for s in chosen if not wanted.group or wanted.group in s.kind]
    seeds = range(wanted.first, wanted.first + wanted.seeds)
    began = time.monotonic()
    done = []
    for judged in judge_all([(s, seed) for seed in seeds for s in chosen], wanted.jobs):
        done.append(judged)
        if judged.fault is not None:
            print(_line(judged), file=sys.stderr, flush=True)
        if wanted.json is not None:
            with wanted.json.open("a") as file:
                file.write(json.dumps(_row(judged)) + "\n")
    if not done:
        options.error("nothing was chosen")
    print(report(done))
    print(f"\n{len(done)} runs of {len(chosen)} scenarios, seeds {seeds[0]} to {seeds[-1]}, ", end="")
    print(f"{time.monotonic() - began:.0f} s.")
    if wanted.write is not None:
        write(wanted.write, done)
    return 0 if all(goal.met for goal in goals(done)) else 1


def read(path: Path) -> list[Judged]:
    """Return the verdicts of a file of `--json`. Raises ValueError for a scenario that does not exist."""
    known = {scenario.name: scenario for scenario in SCENARIOS}
    found = []
    for row in map(json.loads, path.read_text().splitlines()):
        if row["scenario"] not in known:
            raise ValueError(f"{path}: no scenario is called {row['scenario']}")
        found.append(
            Judged(
                known[row["scenario"]],
                row["seed"],
                row["owner"],
                row["cause"],
                row["confidence"],
                row["candidates"],
                trouble=row["trouble"],
                late=tuple(row.get("late") or ()),
            )
        )
    return found


def write(page: Path, done: Sequence[Judged]) -> None:
    """Put the figures between the marks of a page. Raises ValueError without them."""
    text = page.read_text()
    before, begin, rest = text.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has no {BEGIN} and {END}")
    page.write_text(before + BEGIN + "\n" + figures(done) + "\n" + END + after)


def figures(done: Sequence[Judged]) -> str:
    """Return the tables of the page: owners, calibration, goals, and the scenarios that were not right each time."""
    ran = [j for j in done if j.trouble is None]
    seeds, names = sorted({j.seed for j in done}), {j.scenario.name for j in done}
    late = sum(bool(j.late) for j in done)
    head = (
        f"State of {datetime.now(UTC):%d %B %Y}: {len(done)} runs of {len(names)} scenarios, seeds {seeds[0]} to "
        f"{seeds[-1]}. In {late} of them this machine was late itself (by the clocks of the link and of the servers); "
        "they count all the same."
    )
    missed = [line for line in _scenarios(done)[2:] if not _always_right(line)]
    parts = [textwrap.fill(head, 120), *("\n".join(part) for part in (_owners(ran), _calibration(ran), _goals(done)))]
    parts.append(textwrap.fill(_by_name(ran), 120))
    if missed:
        parts.append("Not right each time:\n\n" + "\n".join([*_scenarios(done)[:2], *missed]))
    return "\n\n".join(parts)


def _always_right(line: str) -> bool:
    right, runs = line.split("|")[5].split("/")
    return int(right) == int(runs)


def _line(judged: Judged) -> str:
    truth = judged.scenario
    if judged.trouble is not None:
        return f"{truth.name} seed {judged.seed}: {judged.fault}: {judged.trouble}"
    named = ", ".join(f"{c.get('owner')}/{c.get('cause')}" for c in judged.candidates)
    kind = "" if truth.tellable else " (cannot be told)"
    late = f" (late: {'; '.join(judged.late)})" if judged.late else ""
    return (
        f"{truth.name} seed {judged.seed}: {judged.fault}: {truth.owner}/{truth.cause}{kind}"
        f" was called {judged.said} {judged.confidence:.2f} [{named}]{late}"
    )


def _row(judged: Judged) -> dict[str, object]:
    return {
        "scenario": judged.scenario.name,
        "seed": judged.seed,
        "fault": judged.fault,
        "owner": judged.owner,
        "cause": judged.cause,
        "confidence": judged.confidence,
        "candidates": judged.candidates,
        "results": judged.results,
        "trouble": judged.trouble,
        "late": judged.late,
    }


def report(done: Sequence[Judged]) -> str:
    """The owners, each scenario, the calibration, and the goals, as Markdown."""
    ran = [j for j in done if j.trouble is None]
    parts = [_owners(ran), _scenarios(done), _calibration(ran), _goals(done)]
    return "\n\n".join("\n".join(part) for part in parts)


def _owners(ran: Sequence[Judged]) -> list[str]:
    lines = ["| true \\ said | " + " | ".join(OWNERS) + " |", "|---" * (len(OWNERS) + 1) + "|"]
    for tellable, label in ((True, ""), (False, " (cannot be told)")):
        mine = [j for j in ran if j.scenario.tellable is tellable]
        owners = Counter((j.scenario.owner, j.owner) for j in mine)
        for truth in OWNERS:
            if any(owners[truth, said] for said in OWNERS):
                cells = " | ".join(str(owners[truth, said] or "·") for said in OWNERS)
                lines.append(f"| {truth}{label} | {cells} |")
    return lines


def _scenarios(done: Sequence[Judged]) -> list[str]:
    lines = ["| group | scenario | true | can be told | right | said otherwise |", "|---|---|---|---|---|---|"]
    for scenario in dict.fromkeys(j.scenario for j in done):
        mine = [j for j in done if j.scenario is scenario]
        others = Counter(j.said if j.trouble is None else "not run" for j in mine if j.fault is not None)
        said = ", ".join(f"{name} {count}" for name, count in others.most_common())
        right = sum(j.fault is None for j in mine)
        told = "yes" if scenario.tellable else "no"
        row = (scenario.kind, scenario.name, f"{scenario.owner}/{scenario.cause}", told, f"{right}/{len(mine)}", said)
        lines.append("| " + " | ".join(row) + " |")
    return lines


def _calibration(ran: Sequence[Judged]) -> list[str]:
    lines = ["| confidence | verdicts | mean confidence | right |", "|---|---|---|---|"]
    for low, high in zip(CONFIDENCE_BOUNDS, (*CONFIDENCE_BOUNDS[1:], 1.01), strict=True):
        mine = [j for j in ran if low <= j.confidence < high]
        if mine:
            mean = sum(j.confidence for j in mine) / len(mine)
            right = sum(j.right for j in mine)
            shown = f"{low:.1f} to {min(high, 1.0):.1f}"
            lines.append(f"| {shown} | {len(mine)} | {mean:.2f} | {right / len(mine):.0%} ({right}) |")
    return lines


def _goals(done: Sequence[Judged]) -> list[str]:
    lines = ["| goal | wanted | measured | met |", "|---|---|---|---|"]
    lines += [f"| {g.name} | {g.wanted} | {g.figure} | {'yes' if g.met else 'NO'} |" for g in goals(done)]
    return lines


def goals(done: Sequence[Judged]) -> list[Goal]:
    """Every goal with its figure. A scenario that could not be run counts against the bench, not the verdict."""
    ran = [j for j in done if j.trouble is None]
    told = [j for j in ran if j.scenario.tellable]
    open_ = [j for j in ran if not j.scenario.tellable]
    sure = [j for j in ran if j.confidence >= 0.9]
    broken = [j for j in ran if j.scenario.owner != "none"]
    accused = sum(j.falsely_accused for j in ran)
    return [
        Goal(
            "false accusations, local ones included",
            "0",
            f"{accused} of {len(ran)}; {_between(accused, len(ran))}",
            accused == 0,
        ),
        _share("false all-clears", sum(j.falsely_cleared for j in broken), len(broken), at_most=0.01),
        _share("can be told: right owner", sum(j.right_owner for j in told), len(told), at_least=0.97),
        _share("can be told: right cause", sum(j.right for j in told), len(told), at_least=0.92),
        _share(
            "cannot be told: `uncertain`, the truth among the first three",
            sum(j.rightly_open for j in open_),
            len(open_),
            at_least=0.95,
        ),
        _share("said with 0.9 or more and right", sum(j.right for j in sure), len(sure), at_least=0.90),
        Goal("could be run", "all", f"{len(ran)} of {len(done)}", len(ran) == len(done)),
        Goal("scenarios there are", f"≥ {SCENARIOS_WANTED}", str(len(SCENARIOS)), len(SCENARIOS) >= SCENARIOS_WANTED),
    ]


def _share(name: str, count: int, total: int, *, at_least: float = 0.0, at_most: float = 1.0) -> Goal:
    wanted = f"≥ {at_least:.0%}" if at_least else f"≤ {at_most:.0%}"
    if not total:
        return Goal(name, wanted, "no such run", True)
    figure = f"{count / total:.1%} ({count} of {total}; {_between(count, total)})"
    return Goal(name, wanted, figure, at_least <= count / total <= at_most)


def _between(count: int, total: int) -> str:
    """Return the 95 % interval of a share (Wilson), for as many independent runs."""
    if not total:
        return "no run"
    share, z = count / total, 1.96
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return f"{max(0.0, middle - half):.1%} to {min(1.0, middle + half):.1%}"


def _by_name(ran: Sequence[Judged]) -> str:
    """Return how often the true cause itself was among the first candidates, where an owner alone may be accepted."""
    left = [j for j in ran if not j.scenario.tellable and j.owner == "uncertain"]
    named = 0
    for judged in left:
        said = [f"{c.get('owner')}/{c.get('cause')}" for c in judged.candidates[:FIRST_CANDIDATES]]
        named += f"{judged.scenario.owner}/{judged.scenario.cause}" in said
    share = f"{named / len(left):.1%}" if left else "no run"
    return (
        f"Of {len(left)} verdicts that were left open where one place cannot tell, {named} ({share}) have the very "
        "cause among the first three; the others have its owner, with a cause that looks the same."
    )


if __name__ == "__main__":
    sys.exit(main())
