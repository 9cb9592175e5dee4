"""Shapes of the numbers that a `dns` check and its comparison record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import TypedDict

if TYPE_CHECKING:
    pass


class FailureData(TypedDict):
    """Why one resolver is no good: a failure code and a technical detail."""

    code: str
    detail: str | None


class ResolverData(TypedDict):
    """One resolver. `address` is the server that answered, `asked` all that were asked, in order.

    `canonical` is the name at the end of the CNAME chain; `denied_by` the zone that an answer without records names.
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
    ad: bool | None
    attempts: int
    ignored: int
    bytes_sent: int
    bytes_received: int
