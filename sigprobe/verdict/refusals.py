"""How far away the answer to a failed connection came from: from this site, from a box beyond it, or not told.

Packets with a small TTL show it. What answers for a host at a smaller distance than the host's own is not the host.
A drop shows as silence from the hop on at which the same packets to another host still get an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from sigprobe.record.kinds import is_number
from sigprobe.verdict.evidence import Facts, WalkEntry, beyond_the_site, ip

_ENDED: Final = frozenset({"refused", "reset"})
_PASSED: Final = frozenset({"ttl_exceeded", "open", "reached"})


class Origin(StrEnum):
    """Where a connection was answered or dropped."""

    SITE = "site"
    """At the gateway or before it: this device or this network."""
    BOX = "box"
    """By a router outside this site that is not the host."""
    FARTHER = "farther"
    """Outside this site, by the host or by anything before it."""


def origin(facts: Facts, host: str) -> Origin | None:
    """Return where connections to a failed host end; None where the packets with small TTLs do not tell."""
    rows = facts.steps(host)
    told = next((a for a in _of(rows) if a.get("said") == "filtered" and a.get("address")), None)
    if told is not None:
        # a router that says itself that it prohibits this
        return _whose(facts, str(told["address"]))
    hello = [row for row in rows if row.get("what") == "hello"]
    failed = hello or [row for row in rows if row.get("what") == "syn"]
    ended = [a for a in _of(failed) if a.get("said") in _ENDED]
    if ended:
        return _of_an_end(facts, min(ended, key=lambda a: int(a["ttl"])), rows)
    return _of_silence(facts, failed, rows)


def _of_an_end(facts: Facts, end: WalkEntry, rows: Sequence[WalkEntry]) -> Origin | None:
    """Return where a refusal or reset came from: below the distance of the host it is not the host's.

    A refusal in a fraction of the time that the next router needs came from the gateway.
    """
    ttl, gateway = int(end["ttl"]), bool(facts.part("gateway"))
    others = [*facts.steps(), *rows]
    farther = [a["ms"] for a in _of(others) if int(a["ttl"]) > 1 and a is not end and a.get("said") in _PASSED]
    slow = [float(ms) for ms in farther if is_number(ms)]
    quick = end.get("ms")
    if gateway and (ttl == 1 or (is_number(quick) and slow and float(quick or 0) < min(slow) / 4)):
        return Origin.SITE
    passed = [_whose(facts, address) for address in _routers(facts, up_to=ttl)]
    if Origin.BOX not in passed:
        return None
    away = _distance(rows)
    return Origin.BOX if away is not None and ttl < away else Origin.FARTHER


def _of_silence(facts: Facts, failed: Sequence[WalkEntry], rows: Sequence[WalkEntry]) -> Origin | None:
    """Return where packets to the host vanish, beside packets that are answered."""
    heard = max((int(a["ttl"]) for a in _of(failed)), default=0)
    beside = [*facts.steps(), *(row for row in rows if row not in failed and row.get("what") != "udp")]
    # where nothing works on that port, routers that reported small UDP packets stand in for it
    expired = [a for a in facts.rows("hops") if a.get("said") == "ttl_exceeded" and isinstance(a.get("ttl"), int)]
    others = {int(a["ttl"]) for a in _of(beside) or expired}
    if not failed or not others:
        return None
    if heard == 0:
        return Origin.SITE if 1 in others and facts.part("gateway") else None
    if heard == 1 and 2 in others and facts.part("gateway"):
        return Origin.SITE  # the gateway passes on what the next router answers for another host
    passed = [_whose(facts, address) for address in _routers(facts, up_to=heard)]
    return Origin.FARTHER if Origin.BOX in passed else None


def _of(rows: Sequence[WalkEntry]) -> list[WalkEntry]:
    return [answer for row in rows for answer in _answers(row)]


def _answers(row: WalkEntry) -> list[WalkEntry]:
    found = row.get("answers")
    return (
        [a for a in found if isinstance(a, dict) and isinstance(a.get("ttl"), int)] if isinstance(found, list) else []
    )


def _distance(rows: Sequence[WalkEntry]) -> int | None:
    """Return at which TTL the host itself answers: its port for connections, or a small UDP packet."""
    reached = [int(a["ttl"]) for a in _of(rows) if a.get("said") in ("open", "reached")]
    return min(reached, default=None)


def _routers(facts: Facts, up_to: int) -> list[str]:
    """Return routers that reported an expired packet at a TTL that is not larger, on the way to any host."""
    found = facts.second.get("steps")
    rows = [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
    expired = [a for a in [*facts.rows("hops"), *_of(rows)] if a.get("said") == "ttl_exceeded" and a.get("address")]
    return [str(a["address"]) for a in expired if isinstance(a.get("ttl"), int) and a["ttl"] <= up_to]


def _whose(facts: Facts, address: str) -> Origin | None:
    """Return on which side of the site a router stands; a private address behind the gateway tells nothing."""
    known = ip(address)
    if known is None:
        return None
    if address == str(facts.part("gateway").get("address") or facts.network.gateway):
        return Origin.SITE
    return Origin.BOX if facts.own_modem or beyond_the_site(known) else None
