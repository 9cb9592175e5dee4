"""Decide from a run's results what is wrong and who is responsible; a pure function without text.

A wrong accusation is worse than none: it sends people to the wrong party on an election day. So an operator or a
service is named only on evidence that fits nothing else; whatever stays open is `uncertain`. Causes are rows of
`CODES`; docs/verdict.md says which evidence each of them takes.
"""

from __future__ import annotations

from sigprobe.verdict.evidence import only_nearby
from sigprobe.verdict.readings import Reading, readings, shortfalls
from sigprobe.verdict.rules import decide
from sigprobe.verdict.verdict import COLLECTOR, LOCAL, NONE, OPERATOR, SERVICE, UNCERTAIN, Verdict

__all__ = [
    "COLLECTOR",
    "LOCAL",
    "NONE",
    "OPERATOR",
    "SERVICE",
    "UNCERTAIN",
    "Reading",
    "Verdict",
    "decide",
    "only_nearby",
    "readings",
    "shortfalls",
]
