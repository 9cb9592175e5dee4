"""Run scenarios in namespaces and compare the verdict of `sigprobe test` with the true state."""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from sigprobe.record import profile
from sigprobe.record.result import (
    Clock,
    Failure,
    Network,
    Operator,
    Outcome,
    Result,
    Software,
    Tags,
    Target,
)
from sigprobe.verdict import decide
from tests.trials.scenarios.forks import Forks
from tests.trials.scenarios.scenario import Scenario
from tests.trials.scenarios.world import World, authority, new_world, run_test, running, scratch

NEED = profile.load(profile.DEFAULT)


@dataclass(frozen=True)
class Judged:
    """One scenario of one seed: the verdict and the results it rests on. `trouble` means it could not be run."""

    scenario: Scenario
    seed: int
    owner: str
    cause: str
    confidence: float = 0.0
    candidates: list[dict[str, Any]] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)
    trouble: str | None = None
    late: tuple[str, ...] = ()
    """What shows that this machine was slow and not the network; empty where nothing was late."""

    @property
    def said(self) -> str:
        """Return the verdict in short."""
        return f"{self.owner}/{self.cause}"

    @property
    def falsely_accused(self) -> bool:
        """Return whether a party was named that is not at fault."""
        return self.scenario.falsely_accused(self.owner, self.cause)

    @property
    def falsely_cleared(self) -> bool:
        """Return whether nothing was found wrong although something is broken."""
        return self.scenario.falsely_cleared(self.owner, self.cause)

    @property
    def right_owner(self) -> bool:
        """Return whether the owner is right; for an untellable scenario, whether it was rightly left open."""
        if not self.scenario.tellable:
            return self.rightly_open
        return self.scenario.owner_is_right(self.owner, self.cause)

    @property
    def right(self) -> bool:
        """Return whether owner and cause are right; for an untellable scenario, whether it was rightly left open."""
        return self.scenario.cause_is_right(self.owner, self.cause) if self.scenario.tellable else self.rightly_open

    @property
    def rightly_open(self) -> bool:
        """Return whether it was left open with the truth among the first candidates."""
        return self.scenario.rightly_open(self.owner, self.cause, self.candidates)

    @property
    def fault(self) -> str | None:
        """Return the fault of the verdict in words; None for a right one."""
        if self.trouble is not None:
            return "could not be run"
        if self.falsely_accused:
            return "false accusation"
        if self.falsely_cleared:
            return "false all-clear"
        return None if self.right else "not right"


def judge(scenario: Scenario, seed: int, forks: Forks | None = None, nice: int = 0) -> Judged:
    """Build a world, break it, run the probe, and compare.

    With a priority below 0 this thread and the programs that build the world have it, too.
    """
    with suppress(OSError):
        if nice < 0:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)
    try:
        with scratch() as folder:
            world = new_world(seed, folder)
            world.forks, world.nice = forks, nice
            scenario.make(world)
            with running(world):
                document = run_test(world)
            said = document["verdict"]
            if world.modem is not None:
                verdict = decide([with_modem(record, world) for record in document["results"]], NEED)
                said = verdict.to_dict()
    except Exception:
        return Judged(scenario, seed, "-", "-", trouble=traceback.format_exc())
    return Judged(
        scenario,
        seed,
        said["owner"],
        said["cause"],
        float(said.get("confidence") or 0.0),
        list(said.get("candidates") or ()),
        document["results"],
        late=tuple(world.late),
    )


def judge_all(work: Iterable[tuple[Scenario, int]], side_by_side: int = 5, nice: int = 0) -> Iterator[Judged]:
    """Run several worlds side by side, since each mostly waits. `nice` is the priority of the probe."""
    authority()  # threads that ask for it at once would make one each
    with Forks() as forks, ThreadPoolExecutor(side_by_side) as pool:
        yield from pool.map(lambda item: judge(*item, forks, nice), list(work))


def with_modem(record: dict[str, Any], world: World) -> Result:
    """Return the record with the tags a modem would have given it."""
    tags = record["tags"]
    network = tags["network"]
    told = Network(**{**network, "operator": Operator(**network["operator"])})
    return Result(
        id=record["id"],
        run_id=record["run_id"],
        probe_id=record["probe_id"],
        kind=record["kind"],
        kind_version=record["kind_version"],
        target=Target(**record["target"]),
        started_at=record["started_at"],
        duration_ms=record["duration_ms"],
        outcome=Outcome(record["outcome"]),
        failure=None if record["failure"] is None else Failure(**record["failure"]),
        data=record["data"],
        tags=Tags(network=replace(told, access="cellular", **(world.modem or {})), clock=Clock(**tags["clock"])),
        software=Software(**record["software"]),
    )
