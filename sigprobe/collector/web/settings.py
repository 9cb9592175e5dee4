"""Hold the options of one collector process: plain values, no files, no environment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sigprobe.collector.web.client_address import ForwardedHeader

ThroughputMode = Literal["open", "token", "off"]
Only = Literal["ingest", "throughput"]


@dataclass(frozen=True, slots=True)
class Settings:
    """How to serve. The limits of `/v1/batches` that are part of the protocol stand in `sigprobe.protocol.batches`.

    `plain_public`: bound beyond loopback with neither TLS nor a proxy in front, so tokens and results must not
    pass. `secure_cookies`: browsers reach the pages by https.
    """

    only: Only | None = None
    throughput: ThroughputMode = "open"
    throughput_daily_mb: int = 1000
    behind_proxy: bool = False
    forwarded_header: ForwardedHeader = "x-forwarded-for"
    """The header in which our proxy writes the client's address; a client could forge the other one."""
    plain_public: bool = False
    secure_cookies: bool = False
    trust_clock: bool = False
    """The newest stored receipt is known to be wrong; our own clock is right."""
    max_in_flight: int = 1024
    """Batches that may be on their way at once, slow links included; more are shed."""
    max_body_bytes: int = 96 * 1024 * 1024
    """Compressed bytes those batches may hold in memory together."""
    max_per_token: int = 8
    """Batches of one token that may be on their way at once."""
    max_storing: int = 64
    """Batches that may be in the database at once, when it is quick; the limit adapts to how long it takes."""
    store_threads: int = 2
    """Batches unpacked and stored at once; each may hold 16 MiB unpacked."""
    body_idle_s: float = 30.0
    """A sender that is silent for so long has left."""
    body_grace_s: float = 30.0
    """After so long a body must have come at `body_least_bps` on average."""
    body_least_bps: float = 4096.0
    """A fifth of the slowest link that probes must work over (20 kbit/s)."""
