"""Compare the system's resolver with the others. If they differ, send one more query that may decide it.

The rules are in `verdict.dns_consistency`; here is their input: a name that cannot exist, asked of the system's
resolver, and a TLS handshake with the server at either answer. That is two packets and at most two handshakes, and
only where the answers have nothing in common.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sigprobe.measure.dns.data import ComparisonData
from sigprobe.net import sockets
from sigprobe.net.limits import Context
from sigprobe.record.host_names import is_ip
from sigprobe.verdict import dns_consistency
from sigprobe.verdict.dns_consistency import Compared, Told

if TYPE_CHECKING:
    from sigprobe.measure.dns.data import ResolverData

HTTPS: Final = 443
TLS_BYTES: Final = 6_000
"""About what a handshake with its certificates takes."""
BYTES: Final = 2 * TLS_BYTES + 500
"""What the questions take at most: two handshakes, and two small packets."""
ASK_S: Final = 1.0
"""How long the further question to the resolver may take."""
_LOOK_S: Final = 1.5

Looked = tuple[bool, str | None]
Ask = Callable[[str, str], Sequence[str]]


def compare(
    name: str,
    entries: Sequence[ResolverData],
    system: str,
    context: Context,
    ask: Ask,
    *,
    fixed: bool = False,
    port: int = HTTPS,
    clock: Callable[[], float],
) -> ComparisonData | None:
    """Compare the entry called `system` with the others; None if either is missing or has no answer.

    `ask(server, name)` returns the addresses that a server has for a name. `fixed` is whether the hosts file holds it.
    """
    rows = [_told(entry, system) for entry in entries if entry["rcode"] is not None]
    found = dns_consistency.compare(name, rows, fixed=fixed)
    own = next((entry for entry in entries if entry["resolver"] == system), None)
    if found is None or own is None:
        return None
    if found.unsettled and own["address"] is not None:
        try:
            found = _settle(found, name, own["address"], context, ask, port, clock)
        except sockets.StoppedError:
            found = replace(found, unsettled=False)
    return {
        "word": found.word,
        "reason": found.reason,
        "system": list(found.system),
        "system_rcode": own["rcode"],
        "others": list(found.others),
    }


def detail(found: ComparisonData) -> str:
    """Return both answers in a line, for `failure.detail`."""
    own = ", ".join(found["system"]) or found["system_rcode"] or "nothing"
    return f"{found['reason']}: system {own}; others {', '.join(found['others']) or 'nothing'}"


def _told(entry: ResolverData, system: str) -> Told:
    return Told(
        system=entry["resolver"] == system,
        rcode=entry["rcode"] or "",
        addresses=frozenset(a for a in entry["answers"] or () if is_ip(a)),
        secured=entry["protocol"] in ("dot", "doh"),
        canonical=entry["canonical"],
        denied_by=entry["denied_by"],
    )


def _settle(
    found: Compared,
    name: str,
    server: str,
    context: Context,
    ask: Ask,
    port: int,
    clock: Callable[[], float],
) -> Compared:
    """Send the queries that may still change the result, the cheapest first, and no more than needed."""
    if found.system and found.reason is None:
        # .invalid holds no names (RFC 6761), so an address for one is told for anything
        after = dns_consistency.settled(found, for_no_name=ask(server, f"{secrets.token_hex(8)}.invalid"))
        if after.reason is not None:
            return after
    own = _look(found.system[0], name, context, port, clock) if found.system else None
    if found.reason is not None or (own is not None and own[0]) or context.budget.exhausted():
        return dns_consistency.settled(found, own_look=own)
    return dns_consistency.settled(found, own_look=own, other_look=_look(found.others[0], name, context, port, clock))


def _look(address: str, name: str, context: Context, port: int, clock: Callable[[], float]) -> Looked:
    """Return whether the server at an address has a verified certificate for a name; else the failure code."""
    from sigprobe.net import http_trace

    trace = http_trace.Trace(context.deadline.within(_LOOK_S), context.stop, context.budget, BYTES, clock=clock)
    try:
        trace.context = http_trace.secure_context(context.ca_files.get(f"https://{name}"))
        plain = trace.open(address, port)
        context.budget.spend(TLS_BYTES)
        try:
            trace.secure(plain, name).close()
        finally:
            plain.close()
    except http_trace.FetchError as error:
        if error.code == "interrupted":
            raise sockets.StoppedError from error
        return False, error.code
    except (http_trace.LimitError, OSError, ValueError):
        return False, None
    return True, None
