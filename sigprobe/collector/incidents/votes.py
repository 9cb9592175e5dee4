"""Read votes, and decide what each may count for: time, place and independent witness.

A vote is what one test says of one operator (or of one service through it) at one polling station.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any, Final

BIN_S: Final = 300
"""Width of a bin, in seconds."""
_ROAMING_S: Final = 3600.0
_ROAMING_STATIONS: Final = 3
_CLOCK_AHEAD_S: Final = 120.0
_CLOCK_BEHIND_S: Final = 1800.0
_CLOCK_SPREAD_S: Final = 90.0
_CLOCK_APART_S: Final = 60.0
_REMEMBERED: Final = 200_000


class VoteError(ValueError):
    """A line that is no vote; the text says which field is wrong."""


@dataclass(frozen=True, slots=True)
class Vote:
    """One test's say. Times are seconds of one epoch; `target` is None for the operator's own connection."""

    at: float
    received_at: float
    tps: str
    probe: str
    token: str
    plmn: str
    target: str | None
    bad: bool
    owner: str | None
    next_contact_s: float | None
    ref: str = ""
    """Id of the result that says so, where there is one."""


def parse_vote(line: str) -> Vote:
    """Parse one JSON line. Raises VoteError."""
    try:
        found: Any = json.loads(line)
    except ValueError as error:
        raise VoteError(f"not JSON: {error}") from error
    if not isinstance(found, dict):
        raise VoteError("not an object")
    for name in ("at", "received_at"):
        if isinstance(found.get(name), bool) or not isinstance(found.get(name), int | float):
            raise VoteError(f"{name} must be a number of seconds")
    for name in ("tps", "probe", "token", "plmn"):
        if not isinstance(found.get(name), str) or not found[name]:
            raise VoteError(f"{name} must be a text")
    if not isinstance(found.get("bad"), bool):
        raise VoteError("bad must be true or false")
    for name in ("target", "owner"):
        if not isinstance(found.get(name), str | None):
            raise VoteError(f"{name} must be a text or null")
    wait = found.get("next_contact_s")
    if wait is not None and (isinstance(wait, bool) or not isinstance(wait, int | float) or wait <= 0):
        raise VoteError("next_contact_s must be a positive number of seconds or null")
    return Vote(
        float(found["at"]),
        float(found["received_at"]),
        found["tps"],
        found["probe"],
        found["token"],
        found["plmn"],
        found.get("target"),
        found["bad"],
        found.get("owner"),
        None if wait is None else float(wait),
    )


class Clocks:
    """Correct the times of devices whose clocks are wrong by a constant.

    A backlog holds many times and arrives at one. A wrong clock is late by the same span each time, over contacts that
    lie apart. Times from the future are replaced by the time of arrival.
    """

    def __init__(self) -> None:
        self._last: OrderedDict[str, tuple[float, float, float]] = OrderedDict()

    def corrected(self, vote: Vote) -> Vote:
        """Return the vote with a time that can be used."""
        lag = vote.received_at - vote.at
        offset = 0.0
        before = self._last.get(vote.probe)
        if before is not None:
            received, lag_before, offset_before = before
            same = abs(lag - lag_before) <= _CLOCK_SPREAD_S
            apart = vote.received_at - received >= _CLOCK_APART_S
            if same and (apart or offset_before) and lag > _CLOCK_BEHIND_S:
                offset = lag
        self._last[vote.probe] = (vote.received_at, lag, offset)
        self._last.move_to_end(vote.probe)
        if len(self._last) > _REMEMBERED:
            self._last.popitem(last=False)
        if lag < -_CLOCK_AHEAD_S:
            return replace(vote, at=vote.received_at)
        return replace(vote, at=vote.at + offset) if offset else vote


class Witnesses:
    """Tell which votes are independent of each other.

    A station is one witness. A token seen at many stations within an hour is one witness wherever it is, and so is a
    probe ID that several tokens use: neither a stolen token nor a cloned image can stand for a regency.
    """

    def __init__(self) -> None:
        self._stations: OrderedDict[str, dict[str, float]] = OrderedDict()
        self._tokens: OrderedDict[str, set[str]] = OrderedDict()

    def witness(self, vote: Vote) -> str:
        """Return the key under which the vote counts."""
        stations = self._stations.setdefault(vote.token, {})
        self._stations.move_to_end(vote.token)
        stations[vote.tps] = vote.at
        if len(stations) > _ROAMING_STATIONS:
            for tps in [tps for tps, at in stations.items() if abs(vote.at - at) > _ROAMING_S]:
                del stations[tps]
        tokens = self._tokens.setdefault(vote.probe, set())
        self._tokens.move_to_end(vote.probe)
        if len(tokens) < 3:
            tokens.add(vote.token)
        for table in (self._stations, self._tokens):
            if len(table) > _REMEMBERED:
                table.popitem(last=False)
        if len(stations) > _ROAMING_STATIONS:
            return f"token {vote.token}"
        if len(tokens) > 2:
            # two tokens follow each other when one is rotated; three at a time are copies
            return f"probe {vote.probe}"
        return vote.tps


def bin_of(at: float) -> int:
    """Return the number of the bin that holds a time."""
    return int(at // BIN_S)
