"""Answers of resolvers held against each other: in one word, with what makes it certain. Pure, without a packet.

Resolvers near different copies of a service (a content network) rightly tell different public addresses, so another
public address alone is never called tampering, only `differs`. `tampered` takes one of these reasons:

- `block_page`: the answer is a block page that is known by its name or address;
- `void`: only addresses no service of the internet has (0.0.0.0, loopback, link-local, reserved);
- `private`: only addresses of private networks, and the server there has no certificate for the name;
- `nxdomain`: the name is denied, while a secured resolver or two others know it, or one other whose server has its
  certificate. A denial under the name's own zone (its SOA) may be an old one from a cache, and is only `differs`;
- `one_for_all`: the same address is told for a name that cannot exist;
- `certificate`: the server there has no certificate for the name, while the one the others tell of has.

For each, all others must agree on public addresses of which the system's resolver tells none (not for `block_page`).
Where a resolver over TLS or HTTPS (secured) answered, only such ones count: port 53 may be answered on the way by
the very hand that is looked for.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

SAME: Final = "same"
DIFFERS: Final = "differs"
TAMPERED: Final = "tampered"

# Where Indonesian networks send those who ask for a blocked name: the ministry's list leads to the first name, lists
# of the operators' own to the others and to the address (as their published lists and resolvers tell, 2026).
BLOCK_PAGES: Final = ("lamanlabuh.aduankonten.id", "internetpositif.uzone.id", "internetpositif.id")
BLOCK_ADDRESSES: Final = frozenset({"36.86.63.185"})

_VOID: Final = tuple(
    ipaddress.ip_network(text)
    for text in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::/127", "fe80::/10", "ff00::/8")
)
_PRIVATE: Final = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
_NO_CERTIFICATE: Final = frozenset({"tls_hostname", "tls_untrusted"})


@dataclass(frozen=True, slots=True)
class Told:
    """What one resolver said of a name: an RCODE and addresses, none where it knows none.

    `canonical` is the name at the end of the CNAME chain, `denied_by` the owner of the SOA that came with a denial.
    """

    system: bool
    rcode: str
    addresses: frozenset[str]
    secured: bool = False
    canonical: str | None = None
    denied_by: str | None = None


@dataclass(frozen=True, slots=True)
class Compared:
    """The word, its reason, and both answers. `unsettled`: one more question (`settled`) may change the word."""

    word: str
    reason: str | None
    system: tuple[str, ...]
    others: tuple[str, ...]
    unsettled: bool = False


def compare(name: str, rows: Sequence[Told], *, fixed: bool = False) -> Compared | None:
    """Hold the answer of the system's resolver against the others'; None where there is nothing to compare.

    A resolver that gave an error other than NXDOMAIN has said nothing about the name. With `fixed` the hosts file
    holds the name, which resolvers on this device read as well: then nothing is tampered with.
    """
    usable = [t for t in rows if t.rcode in ("NOERROR", "NXDOMAIN")]
    own = [t for t in usable if t.system]
    if not own:
        return None
    best = next((t for t in own if t.addresses), own[0])
    mine = replace(best, addresses=union(own))
    others = [t for t in usable if not t.system]
    others = [t for t in others if t.secured] or others
    blocked = not fixed and _is_block_page(name, mine)
    if not others and not blocked:
        return None
    witnesses = [t for t in others if t.addresses]
    told = tuple(sorted(mine.addresses)), tuple(sorted(union(witnesses)))
    alike = [t for t in others if t.addresses & mine.addresses or not (t.addresses or mine.addresses)]
    if blocked and not any(t.secured for t in alike):
        return Compared(TAMPERED, "block_page", *told)
    if alike:
        return Compared(SAME if mine.addresses or not witnesses else DIFFERS, None, *told)
    if fixed or not agree(witnesses) or kinds(union(witnesses)) != {"public"}:
        return Compared(DIFFERS, None, *told)
    if not mine.addresses:
        return _denied(name, mine, witnesses, told)
    if kinds(mine.addresses) == {"void"}:
        return Compared(TAMPERED, "void", *told)
    if "public" not in kinds(mine.addresses):
        return Compared(TAMPERED, "private", *told, unsettled=True)
    return Compared(DIFFERS, None, *told, unsettled=True)


def settled(
    before: Compared,
    *,
    for_no_name: Iterable[str] = (),
    own_look: tuple[bool, str | None] | None = None,
    other_look: tuple[bool, str | None] | None = None,
) -> Compared:
    """Return the word after a further question. Each may be left out.

    `for_no_name`: what the system's resolver told for a name that cannot exist. `own_look`, `other_look`: whether the
    server at either answer has a verified certificate for the name, and the failure code if not.
    """
    after = replace(before, unsettled=False)
    if own_look is not None and own_look[0]:
        return replace(after, word=DIFFERS, reason=None)  # the right server after all: another copy, or an inner one
    if before.reason is not None:
        return after
    proven = other_look is not None and other_look[0]
    if not before.system:
        return replace(after, word=TAMPERED, reason="nxdomain") if proven else after
    if set(for_no_name) & set(before.system):
        return replace(after, word=TAMPERED, reason="one_for_all")
    if proven and own_look is not None and own_look[1] in _NO_CERTIFICATE:
        return replace(after, word=TAMPERED, reason="certificate")
    return after


def _denied(
    name: str, mine: Told, witnesses: Sequence[Told], told: tuple[tuple[str, ...], tuple[str, ...]]
) -> Compared:
    if mine.rcode == "NOERROR" and any(":" in address for address in told[1]):
        return Compared(DIFFERS, None, *told)  # networks without IPv6 leave its addresses out, and harm nobody
    zone = (mine.denied_by or "").rstrip(".").lower()
    if zone and f".{name.rstrip('.').lower()}".endswith(f".{zone}"):
        return Compared(DIFFERS, None, *told)
    if len(witnesses) > 1 or any(t.secured for t in witnesses):
        return Compared(TAMPERED, "nxdomain", *told)
    return Compared(DIFFERS, None, *told, unsettled=True)


def _is_block_page(name: str, mine: Told) -> bool:
    asked = name.rstrip(".").lower()
    if any(asked == page or asked.endswith(f".{page}") for page in BLOCK_PAGES):
        return False
    end = (mine.canonical or "").rstrip(".").lower()
    return end in BLOCK_PAGES or bool(mine.addresses & BLOCK_ADDRESSES)


def union(rows: Iterable[Told]) -> frozenset[str]:
    """Return the addresses of all answers."""
    return frozenset(address for row in rows for address in row.addresses)


def agree(rows: Sequence[Told]) -> bool:
    """Return whether there is at least one answer, and an address that all of them hold."""
    return bool(rows) and bool(frozenset.intersection(*(row.addresses for row in rows)))


def kinds(addresses: Iterable[str]) -> set[str]:
    """Return which kinds of address are among these: `void`, `private`, `public`. What is no address has none."""
    found = set()
    for text in addresses:
        try:
            address = ipaddress.ip_address(text.partition("%")[0])
        except ValueError:
            continue
        for word, networks in (("void", _VOID), ("private", _PRIVATE)):
            if any(address in network for network in networks if network.version == address.version):
                found.add(word)
                break
        else:
            found.add("public")
    return found
