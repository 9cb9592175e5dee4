"""Build a small internet for one scenario: device, gateway, operator and the rest, in namespaces of their own.

    device ── gateway ═(relay: delay, loss, rate, queue)═ operator ── rest: references, services, collector

Everything that could carry a verdict by accident differs from seed to seed: addresses, names, delays, jitter, a grain
of loss, the order of targets, whether there is IPv6 and whether the gateway or the operator answers ping.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import trustme

from tests.support.link_emulator import Link, Way, join_by_relay
from tests.support.netns import Namespace, namespace
from tests.trials.scenarios.forks import Forks

PEERS = Path(__file__).with_name("peers.py")
FORWARDER = "127.0.0.53"
SERVICES = ("sirekap", "info", "kpu")
SECURE_NAME = "dns.reference.example"
RELAY_LATE_S: Final = 0.06
PEER_LATE_S: Final = 0.25
TIMELINE_LATE_S: Final = 0.3
TEST_S: Final = 180
KERNEL_LATE_S: Final = 0.5
PEER_LATE_MEAN_S: Final = 0.015
"""From here on, a machine without processor time looks like another network than the one that was made."""


@dataclass
class World:
    """The namespaces and the programs in them. A scenario changes it before (`services`, `zone`) and after set-up."""

    seed: int
    rng: random.Random
    folder: Path
    lan: str
    core: str
    spaces: dict[str, Namespace] = field(default_factory=dict)
    wire: Link | None = None
    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    zone: dict[str, Any] = field(default_factory=dict)
    lies: dict[str, Any] = field(default_factory=dict)  # what the operator's resolver says differently
    up: Way = field(default_factory=Way)
    down: Way = field(default_factory=Way)
    resolver_silent: bool = False
    hosts: dict[str, str] = field(default_factory=dict)  # lines of the device's hosts file
    forwarder: bool = False  # the device asks 127.0.0.53, as systemd-resolved has it
    ipv6: bool = False
    carrier: bool = False  # the router beyond the gateway has an address of 100.64/10: the site was left
    quiet: bool = False  # the operator's first router answers no echo and reports no expired TTL
    direct: bool = False  # the default route has an interface and no gateway, as of QMI and PPP modems
    resolver_at: str | None = None  # the name server in resolv.conf, where it is not the operator's
    gate_addresses: list[str] = field(default_factory=list)  # further addresses of the gateway
    six_services: bool = False  # services have IPv6 addresses, too
    six_only: bool = False  # the device has no IPv4
    secure_resolver: bool = False  # a name server over TLS is asked beside the others
    dns: dict[str, Any] = field(default_factory=dict)  # how the operator's resolver answers, see peers.py
    collector_on: bool = True
    extra: dict[str, dict[str, Any]] = field(default_factory=dict)  # further peers by namespace
    env: dict[str, str] = field(default_factory=dict)
    throughput: bool = False
    speed_server: dict[str, Any] = field(default_factory=dict)  # how it answers, see peers.py
    after: list[Callable[[World], None]] = field(default_factory=list)
    timeline: list[tuple[float, Callable[[World], None]]] = field(default_factory=list)  # from the test's first packet
    background: list[tuple[str, list[str]]] = field(default_factory=list)
    trust: trustme.CA | None = None
    modem: dict[str, Any] | None = None  # tags put in place of what no modem here can tell
    stopped: float = 0.0  # the share of time in which the probe's process is stopped, as by a limit of its container
    stop_every_s: float = 0.1
    forks: Forks | None = None  # starts processes quickly
    nice: int = 0  # the probe's priority
    late: list[str] = field(default_factory=list)  # what shows that this machine, not the link, was slow

    @property
    def device(self) -> Namespace:
        return self.spaces["device"]

    @property
    def gate(self) -> Namespace:
        return self.spaces["gate"]

    @property
    def isp(self) -> Namespace:
        return self.spaces["isp"]

    @property
    def net(self) -> Namespace:
        return self.spaces["net"]

    def host(self, number: int) -> str:
        return f"{self.core}.{number}"

    def six(self, host: str) -> str:
        """Return the IPv6 address of the host that has this IPv4 address."""
        return f"fd11::{host.rpartition('.')[2]}"

    @property
    def references(self) -> list[str]:
        return [self.host(101), self.host(102)]

    @property
    def resolver(self) -> str:
        return f"{self.core.rsplit('.', 1)[0]}.253.53"

    @property
    def gateway(self) -> str:
        return f"{self.lan}.1"

    def cert(self, name: str, host: str, ca: trustme.CA | None = None, **options: Any) -> str:
        """Return a certificate with its key in one file; `name` keeps files apart."""
        path = self.folder / f"{name}.pem"
        made = (ca or authority()).issue_cert(host, **options)
        parts = [made.private_key_pem.bytes(), *(c.bytes() for c in made.cert_chain_pems)]
        path.write_bytes(b"".join(parts))
        return str(path)


@functools.cache
def authority() -> trustme.CA:
    """Return the CA of all genuine services."""
    return trustme.CA(organization_name="Honest CA")


def new_world(seed: int, folder: Path) -> World:
    """Return a healthy world of this seed, not yet set up."""
    rng = random.Random(seed)
    world = World(
        seed,
        rng,
        folder,
        lan=f"192.168.{rng.randrange(1, 250)}" if rng.random() < 0.7 else f"10.{rng.randrange(1, 80)}.7",
        core=f"{rng.choice((11, 23, 36, 103, 114, 180))}.{rng.randrange(1, 250)}.{rng.randrange(1, 250)}",
    )
    world.ipv6 = rng.random() < 0.4
    hop = random.Random(f"hop {seed}")
    world.carrier, world.quiet = hop.random() < 0.5, hop.random() < 0.25
    one_way = rng.uniform(2, 35)
    noise = {"delay_ms": one_way, "jitter_ms": rng.uniform(0, 3), "loss": rng.choice((0, 0, 0.003))}
    world.up, world.down = Way(**noise), Way(**noise)
    for index, name in enumerate(SERVICES):
        host = f"{name}.{rng.choice(('kota', 'pusat', 'data'))}{rng.randrange(99)}.example"
        world.services[name] = {"fqdn": host, "host": world.host(11 + index), "port": 443, "tls": True, "times": 900}
    world.services["collector"] = {"fqdn": f"c{seed}.centre.example", "host": world.host(40), "port": 443, "tls": True}
    for service in world.services.values():
        world.zone[service["fqdn"]] = [service["host"]]
    return world


@contextmanager
def running(world: World) -> Iterator[World]:
    """Set the world up; take everything down at the end."""
    with contextlib.ExitStack() as stack:
        for label in ("device", "gate", "isp", "net"):
            world.spaces[label] = space = stack.enter_context(namespace(label[:2]))
            # else IPv6 neighbours are silent for the first seconds of a link
            space.sysctl("net.ipv6.conf.default.accept_dad", "0")
        _cable(world.device, world.gate, "eth0", "lan0")
        _cable(world.isp, world.net, "core0", "eth0")
        number = world.rng.randrange(1, 250)
        world.wire = stack.enter_context(
            join_by_relay(
                world.gate,
                world.isp,
                up=world.up,
                down=world.down,
                subnet=number,
                device="wan0",
                seed=world.seed,
                awake=False,
            )
        )
        stack.callback(_note_lateness, world)
        if world.carrier:
            _shared_range(world, number)
        _route(world)
        etc = Path("/etc/netns") / world.device.name
        etc.mkdir(parents=True)
        stack.callback(_remove, etc)
        asked = world.resolver_at or (FORWARDER if world.forwarder else world.resolver)
        (etc / "resolv.conf").write_text(f"nameserver {asked}\noptions timeout:2 attempts:2\n")
        lines = [f"{address} {name}" for name, address in world.hosts.items()]
        (etc / "hosts").write_text("\n".join(["127.0.0.1 localhost", *lines, ""]))
        for label, spec in _peers(world).items():
            stack.enter_context(_serving(world, label, spec))
        if world.quiet:
            world.isp.drop("icmp type echo-request")
            world.isp.drop("icmp type time-exceeded", "output")
        for change in world.after:
            change(world)
        for label, command in world.background:
            stack.enter_context(_process(world.spaces[label].command("nice", "-n", "-20", *command)))
        yield world


def _cable(left: Namespace, right: Namespace, name: str, other: str) -> None:
    ends = [f"sv{os.urandom(4).hex()}" for _ in range(2)]
    _ip(f"link add {ends[0]} type veth peer name {ends[1]}")
    for space, end, final in ((left, ends[0], name), (right, ends[1], other)):
        _ip(f"link set {end} netns {space.name}")
        space.ip("link", "set", end, "name", final)
        space.ip("link", "set", final, "up")


def _shared_range(world: World, number: int) -> None:
    """Give the link between gateway and operator addresses of the operators' shared range, 100.64/10."""
    assert world.wire is not None
    wire = world.wire
    for space, old, new in (
        (world.gate, wire.near_address, f"100.64.{number}.1"),
        (world.isp, wire.far_address, f"100.64.{number}.2"),
    ):
        _batch(space, f"addr add {new}/24 dev wan0", f"addr del {old}/24 dev wan0")
    wire.near_address, wire.far_address = f"100.64.{number}.1", f"100.64.{number}.2"


def _ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True, capture_output=True)


def _batch(space: Namespace, *lines: str) -> None:
    text = "\n".join(line for line in lines if line)
    done = subprocess.run(
        ["ip", "-n", space.name, "-batch", "-"], input=text, text=True, capture_output=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{space.name}: {done.stderr}\n{text}")


def _route(world: World) -> None:
    assert world.wire is not None
    lan, wire = world.lan, world.wire
    hosts = [101, 102, *(int(s["host"].rsplit(".", 1)[1]) for s in world.services.values()), 60]
    way_out = "dev eth0" if world.direct else f"via {lan}.1"
    _batch(world.device, f"addr add {lan}.23/24 dev eth0", f"route add default {way_out}")
    _batch(
        world.gate,
        f"addr add {lan}.1/24 dev lan0",
        *(f"addr add {address}/32 dev lo" for address in world.gate_addresses),
        f"route add default via {wire.far_address}",
    )
    _batch(
        world.isp,
        f"addr add {world.core}.254/24 dev core0",
        f"addr add {world.resolver}/32 dev lo",
        f"route add {lan}.0/24 via {wire.near_address}",
    )
    _batch(
        world.net,
        *(f"addr add {world.host(n)}/24 dev eth0" for n in dict.fromkeys(hosts)),
        f"route add default via {world.core}.254",
    )
    if world.ipv6:
        _batch(world.device, "addr add fd10::23/64 dev eth0 nodad", "route add default via fd10::1")
        _batch(world.gate, "addr add fd10::1/64 dev lan0 nodad", f"route add default via {wire.far_address6}")
        _batch(
            world.isp,
            "addr add fd11::254/64 dev core0 nodad",
            f"route add fd10::/64 via {wire.near_address6}",
        )
        _batch(
            world.net,
            *(f"addr add fd11::{n}/64 dev eth0 nodad" for n in dict.fromkeys(hosts)),
            "route add default via fd11::254",
        )
    if world.direct:
        world.gate.sysctl("net.ipv4.conf.lan0.proxy_arp", "1")
        world.gate.sysctl("net.ipv4.neigh.lan0.proxy_delay", "0")
    for space in (world.gate, world.isp):
        space.sysctl("net.ipv4.ip_forward", "1")
        if world.ipv6:
            space.sysctl("net.ipv6.conf.all.forwarding", "1")


def _peers(world: World) -> dict[str, dict[str, Any]]:
    """Return the servers of each namespace, from the scenario's services."""
    if world.six_services:
        for service in world.services.values():
            world.zone[service["fqdn"]] = [service["host"], world.six(service["host"])]
    net: dict[str, Any] = {"web": [], "mute": [], "dns": []}
    for name, service in world.services.items():
        if service.get("off") or (name == "collector" and not world.collector_on):
            continue
        row = {k: v for k, v in service.items() if k not in ("fqdn", "tls", "off", "mute", "cert", "plain", "follow")}
        if service.get("mute"):
            net["mute"].append(row)
            continue
        if service["tls"] and not service.get("plain"):
            row["cert"] = service.get("cert") or world.cert(name, service["fqdn"])
        net["web"].append(row)
    if world.forwarder:
        world.extra.setdefault("device", {})["forward"] = [{"host": FORWARDER, "to": world.resolver}]
    net["dns"] = [{"host": reference, "zone": world.zone} for reference in world.references]
    if world.secure_resolver:
        net["dns"][1]["cert"] = world.cert("resolver", SECURE_NAME)
    if world.six_services:
        net["web"] += [{**row, "host": world.six(row["host"])} for row in net["web"]]
        net["dns"] += [{"host": world.six(reference), "zone": world.zone} for reference in world.references]
    net["web"].append({"host": world.host(60), "port": 80, **world.speed_server})
    found = {"net": net}
    if not world.resolver_silent:
        found["isp"] = {"dns": [{"host": world.resolver, "zone": {**world.zone, **world.lies}, **world.dns}]}
    for label, spec in world.extra.items():
        mine = found.setdefault(label, {})
        for key, rows in spec.items():
            mine[key] = [*mine.get(key, []), *rows]
    return found


@contextmanager
def _process(command: list[str]) -> Iterator[None]:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def _serving(world: World, label: str, spec: dict[str, Any]) -> Iterator[None]:
    """Run the peers of one namespace at a high priority: they need little time, but need it at once."""
    with contextlib.ExitStack() as stack:
        to_read, to_write = os.pipe()
        from_read, from_write = os.pipe()
        orders, said = stack.enter_context(os.fdopen(to_write, "w")), stack.enter_context(os.fdopen(from_read))
        end = _started(world, label, to_read, from_write)
        os.close(to_read)
        os.close(from_write)
        stack.callback(end)
        print(json.dumps(spec), file=orders, flush=True)
        if said.readline().strip() != "ready":
            raise RuntimeError(f"the peers of {label} did not start")
        yield
        orders.close()
        late = json.loads(said.readline() or "{}")
        if late.get("worst_s", 0) >= PEER_LATE_S or late.get("mean_s", 0) >= PEER_LATE_MEAN_S:
            world.late.append(f"peers of {label}: {late['worst_s']:.3f} s at worst, {late['mean_s']:.4f} s on average")
        if late.get("kernel_s", 0) >= KERNEL_LATE_S:
            world.late.append(f"kernel of {label}: {late['kernel_s']:.3f} s to tell its addresses")


def _started(world: World, label: str, stdin: int, stdout: int) -> Callable[[], object]:
    """Start the peers of one namespace; return a function that waits for their end."""
    space = world.spaces[label]
    if world.forks is not None:
        child = world.forks.start({"run": "peers", "namespace": space.name, "nice": -20}, stdin, stdout, 2)
        return lambda: child.end(3)
    process = subprocess.Popen(space.command(sys.executable, str(PEERS)), stdin=stdin, stdout=stdout)

    def end() -> None:
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    return end


def _note_lateness(world: World) -> None:
    assert world.wire is not None
    worst_s, packets = world.wire.lateness_s()
    if worst_s >= RELAY_LATE_S:
        world.late.append(f"link: {worst_s:.3f} s at worst, {packets} packets over 20 ms late")


def _remove(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


# --- the device ---------------------------------------------------------------------------------------------


def _configured_references(world: World) -> list[str]:
    sixth = [world.six(reference) for reference in world.references]
    return sixth if world.six_only else world.references + (sixth if world.ipv6 else [])


def write_config(world: World) -> Path:
    """Return the settings a field laptop would have here."""
    world_point, other = map(world.six, world.references) if world.six_only else world.references
    targets = [
        {"kind": "ping", "name": "gateway", "address": "default-gateway", "count": 10, "interval_ms": 60},
        {"kind": "ping", "name": "world", "address": world_point, "count": 20, "interval_ms": 60},
        {
            "kind": "dns",
            "name": "names",
            "hostname": world.services["sirekap"]["fqdn"],
            "resolvers": ["system", other, *([f"tls://{other}#{SECURE_NAME}"] if world.secure_resolver else [])],
            "timeout_ms": 4000,
        },
    ]
    for name in world.rng.sample(SERVICES, len(SERVICES)):
        service = world.services[name]
        scheme, usual = ("https", 443) if service["tls"] else ("http", 80)
        port = "" if service["port"] == usual else f":{service['port']}"
        url = f"{scheme}://{service['fqdn']}{port}/"
        follow = {"follow_redirects": True} if service.get("follow") else {}
        targets.append({"kind": "http", "name": name, "url": url, "timeout_ms": 7000, **follow})
    if world.throughput:
        url = f"http://{world.host(60)}/"
        targets.append({"kind": "throughput", "name": "speed", "url": url, "max_mb": 4, "max_s": 2})
    token = world.folder / "token"
    token.touch(mode=0o600)
    token.write_text("t" * 43)
    path = world.folder / "config.yaml"
    path.write_text(
        json.dumps(
            {
                "probe": {"tps_id": "3273011001005"},
                "location": {"source": "none"},
                "targets": targets,
                "verdict": {"references": _configured_references(world)},
                "buffer": {"path": str(world.folder / "queue.db")},
                "upload": {
                    "collectors": [{"url": f"https://{world.services['collector']['fqdn']}/", "token_file": str(token)}]
                },
            }
        )
    )
    return path


def run_test(world: World) -> dict[str, Any]:
    """Run `sigprobe test --json` on the device as its user would, and return the document it printed.

    The public certificate bundle is covered by our own CA, inside this process's mounts alone.
    """
    import certifi

    bundle = world.folder / "ca.pem"
    (world.trust or authority()).cert_pem.write_to_path(str(bundle))
    config = write_config(world)
    place = "/run/systemd/resolve/resolv.conf"
    request = {
        "run": "probe",
        "namespace": world.device.name,
        "arguments": ["test", "--json", "--no-upload", "--config", str(config)],
        "binds": {certifi.where(): str(bundle)},
        # what systemd-resolved writes of the servers behind it, in a /run of this process's own
        "written": {place: f"nameserver {world.resolver}\n"} if world.forwarder else {},
        "env": {"HOME": str(world.folder), "LC_ALL": "C.UTF-8", **world.env},
        "nice": world.nice,
    }
    with _changing(world):
        code, said, wrong = _forked(world, request) if world.forks and not world.env else _executed(world, request)
    if code:
        raise RuntimeError(f"sigprobe test: {code}\n{wrong}\n{said}")
    document: dict[str, Any] = json.loads(said)
    return document


def _forked(world: World, request: dict[str, Any]) -> tuple[int, str, str]:
    assert world.forks is not None
    with (world.folder / "stdout").open("w+") as said, (world.folder / "stderr").open("w+") as wrong:
        with Path(os.devnull).open() as nothing:
            child = world.forks.start(request, nothing.fileno(), said.fileno(), wrong.fileno())
        with _limited(world, child.pid):
            code = child.end(TEST_S)
        return code, (world.folder / "stdout").read_text(), (world.folder / "stderr").read_text()


def _executed(world: World, request: dict[str, Any]) -> tuple[int, str, str]:
    """Run the program itself, as `python -m sigprobe`: a preloaded library needs that."""
    script = "".join(f'mount --bind "{source}" "{final}" && ' for final, source in request["binds"].items())
    for final, text in request["written"].items():
        folder = Path(final).parent
        script += f'mount -t tmpfs none /run && mkdir -p {folder} && printf %s "{text}" >{final} && '
    script += 'exec "$@"'
    probe = ["nice", "-n", str(world.nice), sys.executable, "-m", "sigprobe", *request["arguments"]]
    with subprocess.Popen(
        world.device.command("sh", "-c", script, "sh", *probe),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **request["env"]},
    ) as process:
        try:
            with _limited(world, process.pid):
                said, wrong = process.communicate(timeout=TEST_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return process.returncode, said, wrong


@contextmanager
def _limited(world: World, pid: int) -> Iterator[None]:
    """Stop the probe's process for a share of the time, as a container's limit does."""
    over = threading.Event()

    def limit() -> None:
        while not over.wait(world.stop_every_s * (1 - world.stopped)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
            over.wait(world.stop_every_s * world.stopped)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    thread = threading.Thread(target=limit, daemon=True)
    if world.stopped:
        thread.start()
    try:
        yield
    finally:
        over.set()
        if world.stopped:
            thread.join()


@contextmanager
def _changing(world: World) -> Iterator[None]:
    """Run the world's timeline beside the test, from the moment its first packet reaches the link."""
    over = threading.Event()

    def change() -> None:
        assert world.wire is not None
        with suppress(OSError):  # this thread and the programs that it starts
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -20)
        before = _packets(world)
        while _packets(world) == before:
            if over.wait(0.02):
                return
        began = time.monotonic()
        for second, action in sorted(world.timeline, key=lambda step: step[0]):
            if over.wait(max(0.0, began + second - time.monotonic())):
                return
            action(world)
            late_s = time.monotonic() - began - second
            if late_s >= TIMELINE_LATE_S:
                world.late.append(f"timeline: {late_s:.3f} s")

    thread = threading.Thread(target=change, daemon=True)
    if world.timeline:
        thread.start()
    try:
        yield
    finally:
        over.set()
        if world.timeline:
            thread.join()


def _packets(world: World) -> int:
    """Return the packets that came to the link from the gateway's side."""
    assert world.wire is not None
    return sum(cell["arrived"] for cell in world.wire.counts()["up"].values())


@contextmanager
def scratch() -> Iterator[Path]:
    """Provide a folder of a scenario's own."""
    with tempfile.TemporaryDirectory(prefix="spt-") as name:
        yield Path(name)
