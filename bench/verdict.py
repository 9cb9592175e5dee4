"""How often the verdict is right: every scenario, many seeds, and the confusion matrix for docs/verdict.md.

    python bench/verdict.py --seeds 20 [--only NAME ...] [--jobs 5]

Root only: each scenario is made for real in network namespaces. Exits 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.trials.scenarios.catalogue import SCENARIOS
from tests.trials.scenarios.judging import Judged, judge_all

OWNERS = ("none", "local", "operator", "service", "collector", "uncertain")


def main() -> int:
    """Run, print, judge."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seeds", type=int, default=20)
    options.add_argument("--first", type=int, default=1, help="the first seed")
    options.add_argument("--only", nargs="*", default=[])
    options.add_argument("--jobs", type=int, default=5)
    wanted = options.parse_args()
    chosen = [s for s in SCENARIOS if not wanted.only or s.name in wanted.only]
    seeds = range(wanted.first, wanted.first + wanted.seeds)
    began = time.monotonic()
    done: list[Judged] = []
    for judged in judge_all([(s, seed) for seed in seeds for s in chosen], wanted.jobs):
        done.append(judged)
        truth = judged.scenario
        if judged.trouble:
            print(f"{truth.name} seed {judged.seed}: {judged.trouble}", file=sys.stderr)
        elif (judged.owner, judged.cause) != (truth.owner, truth.cause):
            said = f"{judged.owner}/{judged.cause}"
            print(f"{truth.name} seed {judged.seed}: {truth.owner}/{truth.cause} was called {said}", file=sys.stderr)
    print(report(done))
    print(f"\n{len(done)} runs, seeds {seeds[0]} to {seeds[-1]}, {time.monotonic() - began:.0f} s.")
    return 0 if met(done) else 1


def report(done: list[Judged]) -> str:
    """The matrix of owners, the rate of each cause, and the goals, as Markdown."""
    owners = Counter((j.scenario.owner, j.owner) for j in done)
    lines = ["| true \\ said | " + " | ".join(OWNERS) + " |", "|---" * (len(OWNERS) + 1) + "|"]
    lines += [f"| {t} | " + " | ".join(str(owners[t, s] or "·") for s in OWNERS) + " |" for t in OWNERS]
    lines += ["", "| scenario | owner | cause | right owner | right cause | else said |", "|---|---|---|---|---|---|"]
    for scenario in dict.fromkeys(j.scenario for j in done):
        mine = [j for j in done if j.scenario is scenario]
        right = sum(j.owner == scenario.owner for j in mine)
        exact = sum((j.owner, j.cause) == (scenario.owner, scenario.cause) for j in mine)
        others = Counter(f"{j.owner}/{j.cause}" for j in mine if (j.owner, j.cause) != (scenario.owner, scenario.cause))
        said = ", ".join(f"{name} {count}" for name, count in others.most_common())
        row = (scenario.name, scenario.owner, scenario.cause, f"{right}/{len(mine)}", f"{exact}/{len(mine)}", said)
        lines.append("| " + " | ".join(row) + " |")
    figures = numbers(done)
    lines += ["", "| goal | wanted | measured |", "|---|---|---|"]
    lines.append(f"| right owner | ≥ 97 % | {figures['owner']:.1%} |")
    lines.append(f"| right cause | ≥ 92 % | {figures['cause']:.1%} |")
    lines.append(f"| uncertain where another is true | ≤ 10 % | {figures['uncertain']:.1%} |")
    lines.append(f"| false accusations of operator or service | 0 | {figures['accused']:.0f} |")
    return "\n".join(lines)


def numbers(done: list[Judged]) -> dict[str, float]:
    """The four figures the goals are about."""
    clear = [j for j in done if j.scenario.owner != "uncertain"]
    return {
        "owner": sum(j.owner == j.scenario.owner for j in done) / len(done),
        "cause": sum((j.owner, j.cause) == (j.scenario.owner, j.scenario.cause) for j in done) / len(done),
        "uncertain": sum(j.owner == "uncertain" for j in clear) / max(1, len(clear)),
        "accused": sum(j.owner in ("operator", "service") and j.owner != j.scenario.owner for j in done),
    }


def met(done: list[Judged]) -> bool:
    """Whether every goal is met."""
    figures = numbers(done)
    return (
        figures["owner"] >= 0.97
        and figures["cause"] >= 0.92
        and figures["uncertain"] <= 0.10
        and figures["accused"] == 0
    )


if __name__ == "__main__":
    sys.exit(main())
