"""The verdict: owner, cause, confidence, evidence, and the candidates that remain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sigprobe.record.kinds import Way, way
from sigprobe.record.result import Result

NONE: Final = "none"
LOCAL: Final = "local"
OPERATOR: Final = "operator"
SERVICE: Final = "service"
COLLECTOR: Final = "collector"
UNCERTAIN: Final = "uncertain"


CONNECTED: Final = frozenset(
    {
        "below_need", "one_host_failed", "slow_target", "recovered", "collector_unreached", "several_targets_failed",
        "packets_lost", "slow_here", "large_packets_lost", "queue_by_others", "names_disagree", "resolver_silent",
        "ipv6_broken", "ipv4_broken",
    }
)  # fmt: skip
"""Uncertain causes of runs in which something beyond the gateway answered: there was a connection."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What remains possible where nothing is proven: owner, cause, and the step that would settle it."""

    owner: str
    cause: str
    settle: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Who has to act, and why. `confidence` is 0…1, `evidence` holds result ids, `targets` the names concerned.

    `candidates` says what remains possible, the likeliest first; it is empty where the owner is named.
    """

    owner: str
    cause: str
    confidence: float
    evidence: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    candidates: tuple[Candidate, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as it stands in the run record and in `--json`."""
        return {
            "owner": self.owner,
            "cause": self.cause,
            "confidence": self.confidence,
            "evidence": list(self.evidence),
            "candidates": [{"owner": c.owner, "cause": c.cause, "settle": c.settle} for c in self.candidates],
        }


def say(
    owner: str,
    cause: str,
    confidence: float,
    *groups: Sequence[Result],
    candidates: Sequence[Candidate] = (),
) -> Verdict:
    """Return a verdict whose first group holds the targets concerned; all groups are its evidence."""
    names = dict.fromkeys(r.target.name for r in groups[0] if way(r.kind) is not Way.WALK) if groups else {}
    ids = dict.fromkeys(r.id for group in groups for r in group)
    return Verdict(owner, cause, confidence, tuple(ids), tuple(names), tuple(candidates))
