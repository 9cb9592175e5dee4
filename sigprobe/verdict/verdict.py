"""What a verdict is, and whose job it can be."""

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


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whose job it is and why. `confidence` is 0…1, `evidence` holds result ids, `targets` the names concerned."""

    owner: str
    cause: str
    confidence: float
    evidence: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The verdict as it stands in the run record and in `--json`."""
        return {
            "owner": self.owner,
            "cause": self.cause,
            "confidence": self.confidence,
            "evidence": list(self.evidence),
        }


def say(owner: str, cause: str, confidence: float, *groups: Sequence[Result]) -> Verdict:
    """A verdict whose first group holds the targets concerned; all groups are its evidence."""
    names = dict.fromkeys(r.target.name for r in groups[0] if way(r.kind) is not Way.WALK) if groups else {}
    ids = dict.fromkeys(r.id for group in groups for r in group)
    return Verdict(owner, cause, confidence, tuple(ids), tuple(names))
