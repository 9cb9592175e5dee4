"""Run scenarios for real and hold what `sigprobe test` said against what was true."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
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
from tests.trials.scenarios.catalogue import Scenario
from tests.trials.scenarios.world import World, new_world, run_test, running, scratch

NEED = profile.load(profile.DEFAULT)


@dataclass(frozen=True)
class Judged:
    """One scenario of one seed: what was true, what was said, and the results it was said of."""

    scenario: Scenario
    seed: int
    owner: str
    cause: str
    results: list[dict[str, Any]]
    trouble: str | None = None


def judge(scenario: Scenario, seed: int) -> Judged:
    """Make a world, break it, and ask the probe."""
    try:
        with scratch() as folder:
            world = new_world(seed, folder)
            scenario.make(world)
            with running(world):
                document = run_test(world)
            said = document["verdict"]
            if world.modem is not None:
                verdict = decide([with_modem(record, world) for record in document["results"]], NEED)
                said = verdict.to_dict()
    except Exception:
        return Judged(scenario, seed, "-", "-", [], traceback.format_exc())
    return Judged(scenario, seed, said["owner"], said["cause"], document["results"])


def judge_all(work: Iterable[tuple[Scenario, int]], side_by_side: int = 5) -> Iterator[Judged]:
    """Several worlds at once: each spends most of its time waiting."""
    with ThreadPoolExecutor(side_by_side) as pool:
        yield from pool.map(lambda item: judge(*item), list(work))


def with_modem(record: dict[str, Any], world: World) -> Result:
    """The record with what a modem would have told of itself."""
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
