"""Shapes of the numbers that a `dns` check and its comparison record."""

from __future__ import annotations

from typing_extensions import TypedDict


class FailureData(TypedDict):
    """Why a resolver cannot be used: a failure code and a technical detail."""

    code: str
    detail: str | None


class ResolverData(TypedDict):
    """One resolver. `address` is the server that answered, `asked` all that were asked, in order.

    `canonical` is the name at the end of the CNAME chain; `denied_by` the zone that an answer without records names.
    `edns` is False where only a query without EDNS was answered, which says that something on the way breaks EDNS.
    """

    resolver: str
    address: str | None
    asked: list[str]
    protocol: str | None
    connect_ms: float | None
    query_ms: float | None
    rcode: str | None
    answers: list[str] | None
    ttl_s: int | None
    canonical: str | None
    denied_by: str | None
    failure: FailureData | None
    truncated: bool | None
    edns: bool | None
    ad: bool | None
    attempts: int
    ignored: int
    bytes_sent: int
    bytes_received: int


class ComparisonData(TypedDict):
    """The system's answer (`system`, `system_rcode`) beside the answers of the others (`others`).

    `word` is `same`, `differs` or `tampered`; `reason` is why it is `tampered`: `block_page`, `void`, `private`,
    `nxdomain`, `one_for_all` or `certificate`.
    """

    word: str
    reason: str | None
    system: list[str]
    system_rcode: str | None
    others: list[str]


class DnsData(TypedDict):
    """The numbers of the first resolver that answered, `getaddrinfo` beside it, and each resolver's own.

    `query_ms` runs from the send of the query that was answered to its answer. `answers` are the records of the
    asked type at the end of the CNAME chain, `ttl_s` the smallest TTL of that chain. `getaddrinfo_error` says why
    `getaddrinfo_ms` is null. `comparison` holds the system's answer against the others', where both are asked for
    addresses: `same`, `differs`, or `tampered` with its reason (`sigprobe.verdict.dns_consistency` has the rules).
    """

    type: str
    resolver: str | None
    query_ms: float | None
    rcode: str | None
    answers: list[str] | None
    ttl_s: int | None
    getaddrinfo_ms: float | None
    getaddrinfo_error: str | None
    resolvers: list[ResolverData]
    comparison: ComparisonData | None
    bytes_sent: int | None
    bytes_received: int | None


class AskedData(TypedDict):
    """One question to one resolver. `answers` are IPv4 addresses; null when nothing usable came.

    `denied_by` is the zone that an answer without records names.
    """

    host: str
    resolver: str
    system: bool
    rcode: str | None
    failure: str | None
    answers: list[str] | None
    denied_by: str | None
    query_ms: float | None
