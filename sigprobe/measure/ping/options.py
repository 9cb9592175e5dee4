"""Settings of a `ping` target."""

from __future__ import annotations

import socket
from typing import Annotated, Final, Literal, Self

from pydantic import Field, StringConstraints

from sigprobe.measure.kind import CommonOptions, Estimate
from sigprobe.net.icmp import ip_header_bytes
from sigprobe.record.host_names import is_ip

MTU_S: Final = 15.0
MTU_ESTIMATE: Final = 24_000
"""Bytes each way for finding the largest packet on an ordinary link."""


FAMILY_CHOICE_S: Final = 1.2
"""The longest that the choice between IPv6 and IPv4 takes."""
LIGHT_COUNT: Final = 5
LIGHT_INTERVAL_MS: Final = 200
"""At most so many packets, so far apart, at each point of a drive."""


class Options(CommonOptions):
    """What to ping, how often, how far apart. `size` is the ICMP payload in bytes.

    `df`: packets may not be cut on the way. `find_mtu`: look, after the pings, for the largest packet that passes.
    """

    kind: Literal["ping"]
    address: Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=r"^[^\s/@?#\[\]]+$")]
    count: Annotated[int, Field(ge=1, le=1000)] = 10
    interval_ms: Annotated[int, Field(ge=10, le=10_000)] = 200
    size: Annotated[int, Field(ge=8, le=65_000)] = 56
    family: Literal["ipv4", "ipv6"] | None = None
    df: bool = False
    find_mtu: bool = False

    def default_timeout_s(self) -> float:
        """See CommonOptions."""
        choice_s = FAMILY_CHOICE_S if self._may_have_two_families() else 0.0
        return (self.count * self.interval_ms + 3000) / 1000 + choice_s + (MTU_S if self.find_mtu else 0)

    def _may_have_two_families(self) -> bool:
        return self.family is None and self.address != "default-gateway" and not is_ip(self.address)

    def configured_address(self) -> str:
        """See CommonOptions."""
        return self.address

    def estimate(self) -> Estimate:
        """See CommonOptions."""
        mtu_bytes = 2 * MTU_ESTIMATE if self.find_mtu else 0
        pings = self.count * 2 * (self.size + 8 + ip_header_bytes(socket.AF_INET6))
        return Estimate(self.timeout_s(), pings + mtu_bytes)

    def lighter(self) -> Self:
        """Return a check with few pings and no search for the MTU."""
        fewer = {
            "count": min(self.count, LIGHT_COUNT),
            "interval_ms": min(self.interval_ms, LIGHT_INTERVAL_MS),
            "find_mtu": False,
        }
        return self.model_copy(update=fewer)
