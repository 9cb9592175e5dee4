"""Make votes out of stored columns: of run records what their verdict says, of checks of services whether they worked.

A vote names one station and one network. What a device says of itself, of a clock, or of a run that tested nothing is
no vote; its announcement of the next contact counts all the same.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from sigprobe.collector.incidents.votes import Vote
from sigprobe.collector.store.schema import results
from sigprobe.collector.worker.contributions import event_time
from sigprobe.places import network_plmn
from sigprobe.record.kinds import KINDS, Way
from sigprobe.record.result import RUN_KIND

COLUMNS: Final = tuple(
    results.c[name]
    for name in (
        *("id", "batch_id", "place", "run_id", "probe_id", "tps_id", "regency", "operator_plmn", "operator_name"),
        *("kind", "target", "outcome", "verdict_owner", "verdict_cause", "carrier", "next_contact_s"),
        *("started_at", "received_at", "corrected_at", "download_bps", "download_at_least"),
        *("upload_bps", "upload_at_least"),
    )
)
"""What `Reader` needs of a row."""

_STATION_DIGITS: Final = 13
_SERVICE_KINDS: Final = frozenset(name for name, info in KINDS.items() if info.way in (Way.PAGE, Way.NAME))
_NOT_TESTED: Final = frozenset({"nothing_measured", "no_reference", "internet_not_tested", "clock_wrong"})
_STILL_WORKS: Final = frozenset(
    {
        *("below_need", "slow_target", "slow_here", "slow_beyond", "loss_beyond", "packets_lost", "one_host_failed"),
        *("recovered", "queue_by_others", "ipv6_broken", "redirected", "service_denied"),
    }
)
"""Causes of verdicts over links that pass data: slow or lossy, but not down."""
_RUNS: Final = 50_000


@dataclass(frozen=True, slots=True)
class Speed:
    """One measured rate: `bps`, which may be only a lower bound."""

    vote: Vote
    direction: str
    bps: float
    at_least: bool


class Reader:
    """Turn rows into votes. Remembers the verdicts of recent runs: a check counts only beside its run's verdict."""

    def __init__(self) -> None:
        self._owners: OrderedDict[str, str] = OrderedDict()
        self._waiting: OrderedDict[str, list[Vote]] = OrderedDict()

    def votes(self, rows: Iterable[Any], tokens: dict[str, str]) -> Iterator[Vote | Speed]:
        """Yield what these rows say, in the order of receipt. `tokens` names the token of each batch."""
        # a run record comes last of its run, and explains what its checks found
        for row in sorted(rows, key=lambda row: row.kind != RUN_KIND):
            if not row.regency or len(row.tps_id or "") != _STATION_DIGITS:
                continue
            plmn = network_plmn(row.operator_plmn, row.operator_name)
            if plmn is None:
                continue
            at, received = _times(row)
            token = tokens.get(row.batch_id) or f"carrier {row.carrier}"
            vote = Vote(at, received, row.tps_id, row.probe_id, token, plmn, None, False, "none", None, row.id)
            if row.kind == RUN_KIND:
                yield from self._run(row, vote)
            elif row.kind in _SERVICE_KINDS and row.target:
                yield from self._check(row, vote)
            yield from _speeds(row, vote)

    def _run(self, row: Any, vote: Vote) -> Iterator[Vote]:
        owner = verdict_of(row.verdict_owner, row.verdict_cause)
        wait = remaining_s(vote.at, vote.received_at, row.next_contact_s)
        _remember(self._owners, row.run_id, owner or "")
        waiting = self._waiting.pop(row.run_id, [])
        if owner is not None:
            yield replace(vote, bad=owner != "none", owner=owner, next_contact_s=wait)
        elif wait is not None:
            # nothing was tested, but the device came
            yield replace(vote, bad=True, owner="local", next_contact_s=wait)
        for check in waiting:
            if explains(owner, check.bad):
                yield check

    def _check(self, row: Any, vote: Vote) -> Iterator[Vote]:
        if row.outcome not in ("ok", "degraded", "failed"):
            return
        check = replace(vote, target=row.target, bad=row.outcome == "failed", owner="uncertain")
        owner = self._owners.get(row.run_id)
        if owner is None:
            self._waiting.setdefault(row.run_id, []).append(check)
            if len(self._waiting) > _RUNS:
                self._waiting.popitem(last=False)
        elif explains(owner or None, check.bad):
            yield check


def _remember(table: OrderedDict[str, str], key: str, value: str) -> None:
    table[key] = value
    if len(table) > _RUNS:
        table.popitem(last=False)


def explains(owner: str | None, check_bad: bool) -> bool:
    """Return whether a check says something of its service: a failure only where nothing before it failed."""
    return owner is not None and (owner == "none" or not check_bad)


def verdict_of(owner: str | None, cause: str | None) -> str | None:
    """Return the owner as the detector takes it: "none" where the link works, None for what says nothing."""
    if owner is None or (owner == "uncertain" and cause in _NOT_TESTED):
        return None
    if owner in {"none", "service"}:
        return "none"  # "the internet works, but": the operator's link is fine
    if owner == "collector" or cause == "collector_unreached":
        return "collector"
    if owner == "local":
        return "local"
    if cause in _STILL_WORKS or (owner == "operator" and cause == "weak_signal"):
        return "none"
    return "operator" if owner == "operator" else "uncertain"


def remaining_s(at: float, received: float, next_contact_s: float | None) -> float | None:
    """Return the seconds from receipt to the announced contact; None where it is past, as in a backlog."""
    if next_contact_s is None:
        return None
    left = next_contact_s - max(0.0, received - at)
    return left if left > 0 else None


def _times(row: Any) -> tuple[float, float]:
    received = row.received_at.timestamp()
    return event_time(row.corrected_at, row.started_at, row.received_at).timestamp(), received


def _speeds(row: Any, vote: Vote) -> Iterator[Speed]:
    if row.outcome not in ("ok", "degraded"):
        return
    for direction, bps, bound in (
        ("download", row.download_bps, row.download_at_least),
        ("upload", row.upload_bps, row.upload_at_least),
    ):
        if bps is not None and bps > 0:
            yield Speed(vote, direction, float(bps), bool(bound))
