"""Define the data of a `path` record: one typed dict for each part of the network path."""

from __future__ import annotations

from typing import Any, Final, Literal, cast

from typing_extensions import TypedDict

from sigprobe.measure.dns.data import AskedData

MAX_BYTES: Final = 48_000
"""What one walk may cost on the interface."""

MAX_S: Final = 4.8
"""How long one walk may take; where something failed, the second look comes on top."""

Place = Literal["self", "link", "beyond"]


class GatewayData(TypedDict):
    """The default gateway. `neighbour` is whether ARP found it; `tcp` is asked only where echo is silent."""

    address: str
    neighbour: bool | None
    answers: bool
    sent: int
    received: int
    rtt_min_ms: float | None
    rtt_median_ms: float | None
    rtts_ms: list[float | None]
    tcp: str | None
    failure: str | None


class PointData(TypedDict):
    """A reference, or an address of a configured target. `tcp` is what each port said.

    `told_by` is the router that said for it that it cannot be reached.
    """

    address: str
    place: str
    answers: bool
    sent: int
    received: int
    rtt_min_ms: float | None
    rtt_median_ms: float | None
    rtts_ms: list[float | None]
    tcp: dict[str, str]
    tcp_ms: float | None
    told_by: str | None
    failure: str | None


class CollectorData(TypedDict):
    """A configured collector. After a failure `phase` is where it ended: `dns`, `tcp`, `tls` or `answer`."""

    host: str
    port: int
    place: str | None
    address: str | None
    failure: str | None
    phase: str | None
    tls_verified: bool | None
    status_code: int | None
    clock_offset_s: float | None


class ResolverData(TypedDict):
    """A DNS server of this system. A `forwarder` runs on this device; the servers it asks are listed, too."""

    address: str
    place: str
    forwarder: bool
    answers: bool
    failure: str | None


class HopData(TypedDict):
    """The reply to packets of one TTL on the route `toward` a point."""

    toward: str
    ttl: int
    address: str
    rtt_ms: float
    said: str


class PeekData(TypedDict):
    """The result of one look. `clock_offset_s` is the server's time minus ours; equal pages have equal `digest`s."""

    host: str
    address: str
    port: int
    tls: bool
    failure: str | None
    phase: str | None
    tls_verified: bool | None
    cert_issuer: str | None
    cert_not_before: str | None
    cert_not_after: str | None
    status_code: int | None
    redirect_host: str | None
    clock_offset_s: float | None
    digest: str | None


class WholeData(TypedDict):
    """Trains of `sent` packets of `bytes` (IP header included) that no router may cut. Rates in bit/s."""

    bytes: int
    sent: int
    far: str
    gateway_received: int | None
    far_received: int | None
    far_failure: str | None
    gateway_bps: int | None
    far_bps: int | None


class FamilyData(TypedDict):
    """One address family: default route, address, and the number of points that answered over it."""

    routed: bool
    address: str | None
    asked: int
    answered: int


class StepData(TypedDict):
    """Reply to packets of one TTL: `open`, `answered`, `refused`, `reset`, `ttl_exceeded`, `filtered` or another code.

    `address` is the router that reported it in an ICMP message; null for what the connection itself said.
    """

    ttl: int
    said: str
    address: str | None
    ms: float


class StepsData(TypedDict):
    """Connections (`syn`), TLS hellos (`hello`) or UDP (`udp`) with TTL 1 to `tried`. What is missing was silent.

    `control` marks an address that works, on the same port.
    """

    what: str
    host: str
    address: str
    port: int
    control: bool
    tried: int
    answers: list[StepData]


class QuestionsData(TypedDict):
    """Small UDP questions to references, at the pace of real use: echoes may be limited on purpose, these are not."""

    sent: int
    answered: int


class OwnTrafficData(TypedDict):
    """This device's own traffic and the link at a second moment, without this check's packets. Rates in bit/s.

    `rtts_ms` are round trips `toward` a point beyond the gateway meanwhile. `capacity_bps` is the rate at which
    `trains` of packets, sent back to back, came through: that of the narrower direction, whatever else fills the link.
    """

    toward: str
    rx_bps: int | None
    tx_bps: int | None
    sent: int
    rtts_ms: list[float | None]
    trains: int
    train_packets_sent: int
    train_packets_received: int
    capacity_bps: int | None


class SecondLookData(TypedDict):
    """The repeated looks, seconds after a failure. Lists are empty where nothing failed.

    `references_answered` counts references that answered this time, `references_rtt_ms` is their shortest round trip,
    and `plain` holds looks at plain pages of those that were silent. `questions` counts slow UDP questions to them
    (None where echoes were not lost), `padded` whether a request of several full packets was answered. `steps` holds
    how far away the answers to failed connections came from. `one_address` is the plain page of an address to which
    every name leads, where it was silent before. `own_load` is None where this device moved little, or nothing waited.
    """

    after_s: float
    web: list[PeekData]
    collectors: list[CollectorData]
    references_asked: int
    references_answered: int
    references_rtt_ms: float | None
    plain: list[PeekData]
    gateway_answers: bool | None
    questions: QuestionsData | None
    padded: bool | None
    steps: list[StepsData]
    one_address: PeekData | None
    own_load: OwnTrafficData | None


class PathData(TypedDict):
    """The network path from this device outwards. What could not be tested is null or an empty list.

    `tunnel` is the interface by which packets to the references leave, where it is one of a VPN.
    `hop_beyond` is the last router beyond the gateway that said anything. `web` holds looks at web servers: at
    references without TLS, and again at targets that had failed. `fixed_names` stand in the hosts file,
    with `fixed_addresses`.
    `one_address` is a look at the plain page of an address to which several names lead.
    `port_53_answered_on_the_way` is whether a host without a name server seemed to answer a question.
    `second` is the look at what had failed, at least ten seconds later; null when nothing had.
    `other_rx_bps` and `other_tx_bps` are what this device moved meanwhile beside this check.
    """

    interface: str | None
    tunnel: str | None
    connected: bool | None
    addressed: bool | None
    routed: bool | None
    mtu: int | None
    ipv4: str | None
    ipv6: str | None
    gateway: GatewayData | None
    resolvers: list[ResolverData]
    hops: list[HopData]
    hop_beyond: str | None
    references: list[PointData]
    targets: list[PointData]
    collectors: list[CollectorData]
    families: dict[str, FamilyData]
    names: list[AskedData]
    fixed_names: list[str]
    fixed_addresses: dict[str, list[str]]
    web: list[PeekData]
    one_address: PeekData | None
    port_53_answered_on_the_way: bool | None
    second: SecondLookData | None
    whole: WholeData | None
    other_rx_bps: int | None
    other_tx_bps: int | None
    bytes_used: int


_LISTS = ("resolvers", "hops", "references", "targets", "collectors", "names", "fixed_names", "web")


def empty_data() -> PathData:
    """Return every key with a null or empty value."""
    data: dict[str, Any] = dict.fromkeys(PathData.__annotations__)
    data |= {name: [] for name in _LISTS} | {"families": {}, "fixed_addresses": {}, "bytes_used": 0}
    return cast(PathData, data)
