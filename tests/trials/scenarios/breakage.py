"""Break a scenario's network: packet filters, outages, other traffic, certificates with chosen dates."""

from __future__ import annotations

import datetime
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tests.support.link_emulator import Way
from tests.trials.scenarios.world import SERVICES, World, authority

NOISE: Final = Path(__file__).with_name("noise.py")
HELLO: Final = "@th,256,8 0x16"
"""A TLS record of type handshake after a TCP header with timestamps, as Linux sends it."""


def filter_packets(world: World, place: str, *rules: str) -> None:
    """Add nftables rules, each `<chain> <rule>`, to one namespace. Chains: input, forward, output, nat."""
    space = world.spaces[place]
    space.run("nft", "add", "table", "inet", "s")
    for hook in ("input", "forward", "output"):
        space.run("nft", "add", "chain", "inet", "s", hook, f"{{ type filter hook {hook} priority 0 ; }}")
    space.run("nft", "add", "chain", "inet", "s", "nat", "{ type nat hook prerouting priority -100 ; }")
    for rule in rules:
        space.run("nft", "add", "rule", "inet", "s", *rule.split())


def later(world: World, place: str, *rules: str) -> None:
    """Filter once the world runs."""
    world.after.append(lambda w: filter_packets(w, place, *rules))


def victim_of(world: World) -> dict[str, Any]:
    """Pick one service."""
    return world.services[world.rng.choice(SERVICES)]


def unplug(world: World) -> None:
    """Lose every packet between the gateway and the operator."""

    def cut(w: World) -> None:
        assert w.wire is not None
        w.wire.set(up=Way(loss=1), down=Way(loss=1))

    world.after.append(cut)


def silence_beyond(world: World) -> None:
    """Drop what the operator's first router should forward, without a message."""
    later(world, "isp", "forward drop")


def narrow(world: World, rate_bps: float, queue_s: float) -> None:
    """Limit the rate of the link; its queue holds `queue_s` seconds."""
    queue = max(15_000, int(rate_bps * queue_s / 8))
    world.up = replace(world.up, rate_bps=rate_bps, queue_bytes=queue, loss=0)
    world.down = replace(world.down, rate_bps=rate_bps, queue_bytes=queue, loss=0)


def lose(world: World, share: float) -> None:
    """Lose this share of packets down, and half of it up."""
    world.up, world.down = replace(world.up, loss=share / 2), replace(world.down, loss=share)


def flood(world: World, source: str, rate_bps: float) -> None:
    """Send steady UDP from one namespace over the link between gateway and operator, in waves."""
    to = world.host(60) if source != "net" else world.gateway
    world.background.append((source, [sys.executable, str(NOISE), to, str(rate_bps), str(world.seed)]))


def at(world: World, second: float, up: Way, down: Way) -> None:
    """Set both directions of the link that long after the first packet of the test."""

    def change(w: World) -> None:
        assert w.wire is not None
        w.wire.set(up=up, down=down)

    world.timeline.append((second, change))


def both_at(world: World, second: float, **settings: Any) -> None:
    """The link's own settings with these changes, in both directions."""
    at(world, second, replace(world.up, **settings), replace(world.down, **settings))


def answer_errors_often(world: World) -> None:
    """Let the operator's router report every error; Linux limits them, and the first are soon used up."""
    world.after.append(lambda w: w.isp.sysctl("net.ipv4.icmp_ratelimit", "0"))


def as_modem(world: World, registration: str = "home", rsrp_dbm: float | None = None, **tags: Any) -> None:
    """Let the tags say that the link in use is a modem in this state."""
    told = {"registration": registration, **tags}
    world.modem = {**told, "rsrp_dbm": rsrp_dbm} if rsrp_dbm is not None else told


def dated_certificate(world: World, name: str, host: str, begin: datetime.datetime, end: datetime.datetime) -> str:
    """Return a certificate of our CA with both its dates set, which trustme alone cannot do."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    made = authority().issue_cert(host, not_after=end)
    old = x509.load_pem_x509_certificate(made.cert_chain_pems[0].bytes())
    key = load_pem_private_key(authority().private_key_pem.bytes(), None)
    builder = (
        x509.CertificateBuilder()
        .subject_name(old.subject)
        .issuer_name(old.issuer)
        .public_key(old.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )
    for extension in old.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    new = builder.sign(key, hashes.SHA256())  # type: ignore[arg-type]
    path = world.folder / f"dated-{name}.pem"
    path.write_bytes(made.private_key_pem.bytes() + new.public_bytes(serialization.Encoding.PEM))
    return str(path)
