"""Define a scenario: its true state, what one place can tell of it, and which answers are right.

Patterns are `owner/cause` with shell wildcards, such as `operator/*`. A scenario that one place can tell (`tellable`)
asks for its owner and cause. For any other the right answer is `uncertain` with the truth among the first candidates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from tests.trials.scenarios.world import World

FIRST_CANDIDATES: Final = 3
ACCUSED: Final = frozenset({"local", "operator", "service", "collector"})
Make = Callable[[World], None]


@dataclass(frozen=True)
class Scenario:
    """One true state and the code that makes it.

    `owner` is the party at fault (`none` where nothing is broken). `accepts` are further right verdicts. `candidates`
    are the names under which the truth may stand among the candidates. `never` are verdicts that are wrong in any case.
    `kind` is the group in the table of docs/verdict.md; `core` scenarios run in the test suite.
    """

    name: str
    owner: str
    cause: str
    make: Make
    tellable: bool = True
    accepts: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    kind: str = "basic"
    core: bool = False

    def excluded(self, said: str) -> bool:
        """Return whether this verdict is wrong in any case."""
        return _matches(said, self.never)

    def owner_is_right(self, owner: str, cause: str) -> bool:
        """Return whether the owner is the true one, or an accepted one."""
        said = f"{owner}/{cause}"
        return not self.excluded(said) and (owner == self.owner or _matches(said, self.accepts))

    def cause_is_right(self, owner: str, cause: str) -> bool:
        """Return whether owner and cause are the true ones, or accepted ones."""
        said = f"{owner}/{cause}"
        return not self.excluded(said) and _matches(said, (f"{self.owner}/{self.cause}", *self.accepts))

    def listed(self, candidates: list[dict[str, Any]]) -> bool:
        """Return whether the truth is among the first candidates."""
        names = [f"{c.get('owner')}/{c.get('cause')}" for c in candidates[:FIRST_CANDIDATES]]
        return any(_matches(name, (f"{self.owner}/{self.cause}", *self.candidates)) for name in names)

    def rightly_open(self, owner: str, cause: str, candidates: list[dict[str, Any]]) -> bool:
        """Return whether an untellable scenario was left open with the truth among the first candidates."""
        if _matches(f"{owner}/{cause}", self.accepts):
            return True
        return owner == "uncertain" and not self.excluded(f"{owner}/{cause}") and self.listed(candidates)

    def falsely_accused(self, owner: str, cause: str) -> bool:
        """Return whether a party was named that is not at fault."""
        return owner in ACCUSED and owner != self.owner and not _matches(f"{owner}/{cause}", self.accepts)

    def falsely_cleared(self, owner: str, cause: str) -> bool:
        """Return whether nothing was found wrong although something is broken."""
        return owner == "none" and self.owner != "none" and not _matches(f"{owner}/{cause}", self.accepts)


def _matches(said: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(said, pattern) for pattern in patterns)


_ALL: list[Scenario] = []


def tellable(owner: str, cause: str, *, accepts: tuple[str, ...] = (), **options: Any) -> Callable[[Make], Make]:
    """Register a scenario whose owner and cause can be told from one place."""

    def keep(make: Make) -> Make:
        _ALL.append(Scenario(make.__name__, owner, cause, make, True, accepts, **options))
        return make

    return keep


def untellable(owner: str, cause: str, *candidates: str, **options: Any) -> Callable[[Make], Make]:
    """Register a scenario that looks like another one from here; `candidates` are further names of the truth."""

    def keep(make: Make) -> Make:
        _ALL.append(Scenario(make.__name__, owner, cause, make, False, candidates=candidates, **options))
        return make

    return keep


def registered() -> tuple[Scenario, ...]:
    """Return all scenarios, in the order of their definition."""
    return tuple(_ALL)
