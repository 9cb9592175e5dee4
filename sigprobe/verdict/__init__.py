"""Decide from a run's results what is wrong and who is responsible; a pure function without text.

A wrong accusation is worse than none: it sends people to the wrong party on an election day. So an owner is named only
on evidence that fits nothing else. Everything else is `uncertain`, with the candidates that remain and the step that
would settle it. Causes are rows of `CODES`; docs/verdict.md says which evidence each takes.
"""

from __future__ import annotations

from sigprobe.verdict.readings import Reading, readings, shortfalls
from sigprobe.verdict.rules import decide
from sigprobe.verdict.verdict import COLLECTOR, LOCAL, NONE, OPERATOR, SERVICE, UNCERTAIN, Candidate, Verdict

__all__ = [
    "COLLECTOR",
    "LOCAL",
    "NONE",
    "OPERATOR",
    "SERVICE",
    "UNCERTAIN",
    "Candidate",
    "Reading",
    "Verdict",
    "decide",
    "readings",
    "shortfalls",
]
