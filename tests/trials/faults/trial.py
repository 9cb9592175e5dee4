"""What every fault test shares: its counts, its seed, its negative control, and the record of what it found.

A test says its short and its full count once, `SIGPROBE_SOAK=1` chooses the full one, and `SIGPROBE_SOAK=0.1` a
tenth of it, which the table shows by its N. Everything random comes from one seed, printed, and given again by
`SIGPROBE_SEED`. "0 lost in N" is published with its 95 % bound, 3/N.

`python -m tests.trials.faults.trial table` writes the table of the newest soak figures into `docs/reliability.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import filelock

ROOT: Final = Path(__file__).parents[3]
RESULTS: Final = ROOT / "bench" / "results"
DOCUMENT: Final = ROOT / "docs" / "reliability.md"
BEGIN: Final = "<!-- soak:begin -->"
END: Final = "<!-- soak:end -->"

# read at import: the clean-home fixture takes every SIGPROBE_ variable away before a test begins
SHARE: Final = float(os.environ.get("SIGPROBE_SOAK") or 0)
SOAK: Final = SHARE > 0
SEED: Final = int(os.environ.get("SIGPROBE_SEED") or random.SystemRandom().randrange(2**32))


class PromiseBrokenError(AssertionError):
    """What a promise forbids has happened; `reason` is one fixed word that a negative control can name."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"[{reason}] {detail}")
        self.reason = reason


def hold(kept: object, reason: str, detail: str = "") -> None:
    """Raise PromiseBrokenError with this reason unless `kept` is true."""
    if not kept:
        raise PromiseBrokenError(reason, detail)


@dataclass
class Finding:
    """One line of the reliability table. `lost` counts broken promises among `n` tries."""

    promise: int
    name: str
    n: int
    lost: int
    bound95: float
    seconds: float
    seed: int
    figures: dict[str, Any] = field(default_factory=dict)
    controls: list[str] = field(default_factory=list)


class Trial:
    """One fault test under way: `n` tries to make, `random` to draw from, `report` when they are made.

    Everything drawn from `random` repeats with the same seed. `seed` goes to subprocesses that draw themselves.
    """

    def __init__(self, promise: int, name: str, *, short: int, full: int) -> None:
        self.promise = promise
        self.name = name
        self.n = max(short, round(full * SHARE)) if SOAK else short
        self.seed = SEED
        self.random = random.Random(f"{SEED} {name}")
        self._started = time.perf_counter()
        self._controls: list[str] = []
        self._counting = threading.Lock()  # tries may be made side by side
        self._made = 0
        self._lost = 0
        print(f"\n{name}: n={self.n} seed={SEED} (again with SIGPROBE_SEED={SEED})", flush=True)

    @contextmanager
    def expect_failure(self, reason: str) -> Iterator[None]:
        """Provide a negative control: the body, with the protection taken away, must break the promise for this reason.

        Passing, or failing for any other reason, is a failure of the test: it would prove nothing.
        """
        with expect_failure(reason):
            yield
        self._controls.append(reason)
        print(f"{self.name}: control failed as it must: {reason}", flush=True)

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Run one trial: a violated promise is printed, counted, and fails the test at `report`, not before."""
        with self._counting:
            self._made += 1
            number = self._made
        try:
            yield
        except PromiseBrokenError as broken:
            with self._counting:
                self._lost += 1
            print(f"{self.name}: try {number}: {broken}", flush=True)

    def report(self, lost: int | None = None, *, n: int | None = None, **figures: Any) -> None:
        """Record what was found, in a soak into the results file; then raise when anything was lost.

        Counts the attempts unless `lost` is given; `n` when the tries really made are not those planned; `figures`
        are further numbers (p99_s=0.4).
        """
        lost = self._lost if lost is None else lost
        done = n if n is not None else self._made or self.n
        finding = Finding(
            self.promise,
            self.name,
            done,
            lost,
            round(min(1.0, 3 / done), 6) if done else 1.0,
            round(time.perf_counter() - self._started, 1),
            self.seed,
            figures,
            self._controls,
        )
        print(
            f"{self.name}: {lost} lost in {done}, 95 % bound {finding.bound95:g}, {finding.seconds} s {figures or ''}"
        )
        if SOAK:
            save(finding)
        hold(lost == 0, "lost", f"{lost} in {done}, {self.name}, seed {self.seed}")
        hold(done > 0, "nothing-tried", self.name)


@contextmanager
def expect_failure(reason: str) -> Iterator[None]:
    """Turn a broken promise with this very reason into a pass, and anything else into a failure."""
    try:
        yield
    except PromiseBrokenError as broken:
        if broken.reason != reason:
            raise AssertionError(f"the control failed for {broken.reason!r}, not for {reason!r}") from broken
        return
    raise AssertionError(f"the control passed: without the protection {reason!r} should have happened")


# --- the results file and the table -------------------------------------------------------------------------


def save(finding: Finding, directory: Path = RESULTS) -> Path:
    """Put a finding into today's soak file at once (a soak takes hours); one of the same name is replaced."""
    now = datetime.now(UTC)
    path = directory / f"soak-{now:%Y-%m-%d}.json"
    directory.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(path.with_suffix(".lock")):  # the tests of a soak may run side by side
        return _save(finding, path, now)


def _save(finding: Finding, path: Path, now: datetime) -> Path:
    document = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"findings": []}
    kept = [f for f in document["findings"] if (f["promise"], f["name"]) != (finding.promise, finding.name)]
    kept.append(asdict(finding) | {"at": f"{now:%Y-%m-%dT%H:%M:%SZ}"})
    kept.sort(key=lambda f: (f["promise"], f["name"]))
    document |= {"python": platform.python_version(), "system": platform.system(), "findings": kept}
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)
    return path


def newest(directory: Path = RESULTS) -> list[dict[str, Any]]:
    """Return the newest finding of every test over all soak files, in the order of the promises."""
    found: dict[tuple[int, str], dict[str, Any]] = {}
    for path in sorted(directory.glob("soak-*.json")):
        for finding in json.loads(path.read_text(encoding="utf-8"))["findings"]:
            found[finding["promise"], finding["name"]] = finding
    return [found[key] for key in sorted(found)]


def table(findings: Iterable[dict[str, Any]]) -> str:
    """Return the findings as a Markdown table."""
    lines = [
        "| promise | test | lost | N | 95 % bound | other figures | control failed for | took | seed | date |",
        "|--:|---|--:|--:|--:|---|---|--:|--:|---|",
    ]
    for f in findings:
        figures = ", ".join(f"{k} {v:g}" if isinstance(v, float) else f"{k} {v}" for k, v in f["figures"].items())
        lines.append(
            f"| {f['promise']} | {f['name']} | {f['lost']} | {f['n']:,} | {f['bound95']:.2g} | {figures or '–'} |"
            f" {', '.join(f['controls']) or '–'} | {f['seconds']:,.0f} s | {f['seed']} | {f['at'][:10]} |"
        )
    return "\n".join(lines)


def write_table(document: Path = DOCUMENT, directory: Path = RESULTS) -> None:
    """Replace what stands between the markers of `document` by the newest table."""
    text = document.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{document} has no {BEGIN} … {END}")
    document.write_text(f"{before}{BEGIN}\n{table(newest(directory))}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The figures of the fault tests.")
    parser.add_argument("action", choices=["table", "show"])
    if parser.parse_args().action == "table":
        write_table()
    else:
        sys.stdout.write(table(newest()) + "\n")
