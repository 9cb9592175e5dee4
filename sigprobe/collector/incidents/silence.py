"""Notice contacts that do not come: each device says when it tests and contacts the centre next."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Final

from sigprobe.collector.incidents.votes import Vote

_GRACE_S: Final = 120.0
_GRACE_SHARE: Final = 0.1
_LATENESS_LEARNS: Final = 0.05
_LATENESS_TIMES: Final = 2.0
_MOST_GRACE_S: Final = 1800.0


@dataclass(frozen=True, slots=True)
class Contact:
    """One announced contact that came in time (`silent` false) or not; `at` is when it was due."""

    at: float
    operator: str
    tps: str
    probe: str
    token: str
    silent: bool


@dataclass(slots=True)
class _Due:
    at: float
    deadline: float
    operator: str
    tps: str
    overdue: bool


class Schedule:
    """The contacts that are due, and how late devices of each operator usually are."""

    def __init__(self) -> None:
        self._due: dict[tuple[str, str], _Due] = {}
        self._deadlines: list[tuple[float, tuple[str, str]]] = []
        self._lateness: dict[str, float] = {}

    def came(self, vote: Vote) -> Contact | None:
        """Note a contact, and what it says of the next.

        Returns the contact that was awaited: in time, or back after a silence (then with the time of arrival).
        """
        key = (vote.probe, vote.token)
        due = self._due.get(key)
        told: Contact | None = None
        if due is not None and due.overdue:
            told = Contact(vote.received_at, due.operator, due.tps, vote.probe, vote.token, silent=False)
        elif due is not None and vote.received_at >= due.at - 0.5 * (due.deadline - due.at):
            late = max(0.0, vote.received_at - due.at)
            before = self._lateness.get(due.operator, 0.0)
            self._lateness[due.operator] = before + _LATENESS_LEARNS * (late - before)
            told = Contact(due.at, due.operator, due.tps, vote.probe, vote.token, silent=False)
        if vote.next_contact_s is None:
            # several votes arrive with one contact; one that says nothing takes nothing back
            return told
        at = vote.received_at + vote.next_contact_s
        grace = _GRACE_S + _GRACE_SHARE * vote.next_contact_s
        grace += _LATENESS_TIMES * self._lateness.get(vote.plmn, 0.0)
        deadline = at + min(_MOST_GRACE_S, grace)
        self._due[key] = _Due(at, deadline, vote.plmn, vote.tps, overdue=False)
        heapq.heappush(self._deadlines, (deadline, key))
        return told

    def overdue(self, now: float) -> list[Contact]:
        """Return the contacts whose last moment has passed since the call before; each is told once."""
        missing = []
        while self._deadlines and self._deadlines[0][0] <= now:
            deadline, key = heapq.heappop(self._deadlines)
            due = self._due.get(key)
            if due is None or due.overdue or due.deadline != deadline:
                continue
            due.overdue = True
            missing.append(Contact(due.at, due.operator, due.tps, key[0], key[1], silent=True))
        return missing
