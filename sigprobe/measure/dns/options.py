"""Settings of a `dns` target."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from sigprobe.measure.dns import compare
from sigprobe.measure.dns.servers import SYSTEM, Server, parse_resolver
from sigprobe.measure.kind import CommonOptions, Estimate
from sigprobe.record.host_names import ascii_hostname, is_ip
from sigprobe.record.messages import N_, MessageError

RecordType = Literal["A", "AAAA", "CNAME", "MX", "NS", "TXT", "SOA", "SRV", "PTR", "CAA", "HTTPS"]


class Options(CommonOptions):
    """Keys of a `dns` target.

    `resolvers`: `system`; an IP address with or without a port (`[::1]:5353`); `tls://1.1.1.1` for DNS over TLS, with
    `#name` behind it where the certificate is for a name; `https://…` for DNS over HTTPS.
    """

    kind: Literal["dns"] = "dns"
    hostname: Annotated[str, Field(min_length=1, max_length=253)]
    type: RecordType = "A"
    resolvers: Annotated[list[str], Field(min_length=1, max_length=8)] = Field(default=[SYSTEM])

    @field_validator("resolvers")
    @classmethod
    def _known_resolvers(cls, value: list[str]) -> list[str]:
        seen: set[Server | None] = set()
        for text in value:
            server = None if text == SYSTEM else parse_resolver(text)
            if server in seen:
                raise MessageError(N_("{value} is given twice."), value=text)
            seen.add(server)
        return value

    @model_validator(mode="after")
    def _askable(self) -> Options:
        if not is_ip(self.hostname):
            try:
                ascii_hostname(self.hostname)
            except MessageError as error:
                raise MessageError(error.message, value=self.hostname) from None
        elif self.type != "PTR":
            raise MessageError(N_("hostname {value} is an IP address, which needs type: PTR."), value=self.hostname)
        return self

    def query_name(self) -> str:
        """Return the name to query: in punycode; an address becomes its reverse name."""
        if is_ip(self.hostname):
            return ipaddress.ip_address(self.hostname).reverse_pointer
        return ascii_hostname(self.hostname)

    def default_timeout_s(self) -> float:
        """Return five seconds."""
        return 5.0

    def configured_address(self) -> str:
        """Return the name asked for."""
        return self.hostname

    def estimate(self) -> Estimate:
        """Return two queries and one full answer per resolver, and the queries that a doubtful answer may need."""
        doubts = compare.BYTES if self.comparable() else 0
        return Estimate(self.timeout_s(), 2_000 * len(self.resolvers) + doubts)

    def comparable(self) -> bool:
        """Return whether there are answers to compare the system's with."""
        return self.type in ("A", "AAAA") and SYSTEM in self.resolvers and len(self.resolvers) > 1
