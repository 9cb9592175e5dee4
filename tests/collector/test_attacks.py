"""Attacks from the internet on a real `serve`, over real sockets; each once more with the protection taken away."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme
from requests.adapters import HTTPAdapter

from sigprobe.protocol import batches
from tests.support.collector_client import batch_of, make_result
from tests.support.collector_process import Server, Spawn, new_token, serve
from tests.support.requirements import needs_root

CENTRE = "2001:db8:1::1"
ATTACKER = [f"2001:db8:2::{number:x}" for number in range(1, 21)]
ELSEWHERE = "2001:db8:3::1"
CARRIER = "198.51.100.7"
"""Addresses on this machine's loopback interface that are not loopback: the server takes them for the internet."""

SOON_S = 60.0
"""A busy machine may take so long for what takes a moment; where a protection is missing, nothing gets through."""

NEVER_S = 6.0
"""For so long a control tries in vain."""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/collector.db"


@pytest.fixture(scope="module")
def internet() -> Iterator[None]:
    """The addresses above, in the network namespace of this session."""
    needs_root()
    added = [(f"{address}/64", "-6") for address in (CENTRE, *ATTACKER, ELSEWHERE)] + [(f"{CARRIER}/32", "-4")]
    for address, family in added:
        extra = ["nodad"] if family == "-6" else []
        subprocess.run(["ip", family, "addr", "add", address, "dev", "lo", *extra], check=True)
    yield
    for address, family in added:
        subprocess.run(["ip", family, "addr", "del", address, "dev", "lo"], check=True)


@dataclass(frozen=True)
class Public:
    """A server with TLS on an address that is not loopback."""

    server: Server
    root: Path

    @property
    def port(self) -> int:
        return int(self.server.url.rstrip("/").rpartition(":")[2])

    def context(self) -> ssl.SSLContext:
        """TLS as a client checks it."""
        return ssl.create_default_context(cafile=str(self.root))

    def session(self, source: str) -> requests.Session:
        """Requests from one address."""

        class Bound(HTTPAdapter):
            def init_poolmanager(self, *args: Any, **options: Any) -> None:
                super().init_poolmanager(*args, source_address=(source, 0), **options)

        session = requests.Session()
        session.trust_env = False  # it would choose other certificates
        session.verify = str(self.root)
        session.mount("https://", Bound())
        return session

    def address(self, path: str) -> str:
        return f"https://[{CENTRE}]:{self.port}{path}"

    def post(self, token: str, source: str) -> int | None:
        """Send a batch: its status, or None where no answer came."""
        batch = batch_of(make_result())
        with self.session(source) as session, suppress(requests.Timeout, requests.ConnectionError):
            return session.post(
                self.address("/v1/batches"), data=batch.body, headers=batches.batch_headers(batch, token), timeout=5
            ).status_code
        return None


@pytest.fixture
def public(spawn: Spawn, url: str, tmp_path: Path, internet: None) -> Callable[..., Public]:
    """Return what starts a server with TLS for the whole internet."""
    authority = trustme.CA()
    leaf = authority.issue_cert(CENTRE)
    cert, key, root = tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "root.pem"
    leaf.cert_chain_pems[0].write_to_path(cert)
    leaf.private_key_pem.write_to_path(key)
    authority.cert_pem.write_to_path(root)

    def start(**options: Any) -> Public:
        args = ("--host", CENTRE, "--tls-cert", str(cert), "--tls-key", str(key))
        return Public(serve(spawn, url, *args, **options), root)

    return start


@contextmanager
def attacking(*attacks: Callable[[], Coroutine[Any, Any, None]]) -> Iterator[None]:
    """Run attacks in a loop of their own, until the block ends."""
    loop = asyncio.new_event_loop()

    async def run() -> None:
        tasks = [loop.create_task(attack()) for attack in attacks]
        await asyncio.gather(*tasks, return_exceptions=True)

    main = loop.create_task(run())

    def body() -> None:
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(main)
        loop.run_until_complete(asyncio.sleep(0.1))

    thread = threading.Thread(target=body)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(main.cancel)
        thread.join()
        loop.close()


def passes(ask: Callable[[], int | None], within_s: float) -> bool:
    """Whether a request gets 200 within a time, asked again and again."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if ask() == 200:
            return True
        time.sleep(0.2)
    return False


def every(condition: Callable[[], bool], why: str) -> None:
    """Wait for a condition, with a deadline."""
    end = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < end, why
        time.sleep(0.05)


PLACES = 96
SMALL = f"""
import dataclasses
import sigprobe.collector.app as app
made = app.create_app
app.create_app = lambda settings, *rest: made(dataclasses.replace(settings, max_in_flight={PLACES}), *rest)
"""
"""A server with as many places as the attack has connections."""

NO_TOKEN_SHARE = (
    SMALL.replace(f"max_in_flight={PLACES}", f"max_in_flight={PLACES}, max_per_token=1000")
    + """
import sigprobe.collector.ingest.admission as admission
admission.SIX_SHARE = 1
"""
)
NO_NETWORK_SHARE = (
    """
import sigprobe.collector.ingest.admission as admission
admission.SIX_SHARE = 1
"""
    + SMALL
)


def slow_bodies(public: Public, tokens: list[str], held: set[int]) -> list[Callable[[], Coroutine[Any, Any, None]]]:
    """Return one connection for each place: it promises 1 MiB, sends a byte now and then, and comes back when refused.

    `held` are the connections that wait for more of their body: no answer came within a while.
    """
    context = public.context()

    def one(number: int) -> Callable[[], Coroutine[Any, Any, None]]:
        token = tokens[number % len(tokens)]
        head = (
            "POST /v1/batches HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nIdempotency-Key: a\r\n"
            f"Authorization: Bearer {token}\r\nContent-Length: 1048576\r\n\r\nx"
        ).encode()

        async def attack() -> None:
            while True:
                with suppress(OSError, TimeoutError):
                    reader, writer = await asyncio.open_connection(
                        CENTRE, public.port, ssl=context, local_addr=(ATTACKER[number % 20], 0)
                    )
                    try:
                        writer.write(head)
                        with suppress(TimeoutError):
                            async with asyncio.timeout(3):
                                await reader.read(1)
                            continue
                        held.add(number)
                        while not reader.at_eof():
                            writer.write(b"x")
                            with suppress(TimeoutError):
                                async with asyncio.timeout(12):
                                    await reader.read(1)
                    finally:
                        held.discard(number)
                        writer.transport.abort()
                await asyncio.sleep(0.5)

        return attack

    return [one(number) for number in range(PLACES)]


# a connection whose handshake is cut off at the end
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize(
    ("patch", "tokens", "safe"),
    [(SMALL, 1, True), (SMALL, 12, True), (NO_TOKEN_SHARE, 1, False), (NO_NETWORK_SHARE, 12, False)],
    ids=["one token", "twelve tokens", "control: no share for a token", "control: no share for a network"],
)
def test_slow_bodies_shut_out_nobody(
    public: Callable[..., Public], url: str, patch: str, tokens: int, safe: bool
) -> None:
    """96 connections of one /64, with one valid token or with twelve: the uploads of others get through meanwhile."""
    wanted = [new_token("probe", f"attacker-{number}", url) for number in range(tokens)]
    honest = new_token("probe", "laptop-1", url)
    on = public(patch=patch)
    held: set[int] = set()
    with attacking(*slow_bodies(on, wanted, held)):
        most = min(8 * tokens, PLACES // 8) if safe else PLACES
        every(lambda: len(held) >= most, f"the attack holds {len(held)} of {most} places")
        if safe:
            assert passes(lambda: on.post(honest, ELSEWHERE), SOON_S)
            assert len(held) <= most
        else:
            assert not passes(lambda: on.post(honest, ELSEWHERE), NEVER_S), "the control"


NO_ROOM_MADE = """
import sigprobe.collector.serve as serving
import sigprobe.collector.web.http_protocol as http_protocol
serving.connection_limits = lambda files: None
http_protocol.HEAD_S = 1e9
"""


@pytest.mark.parametrize(("patch", "safe"), [("", True), (NO_ROOM_MADE, False)], ids=["guarded", "control"])
def test_half_sent_heads_silence_nothing(spawn: Spawn, url: str, patch: str, safe: bool) -> None:
    """More half-sent heads than the server may have files: it answers meanwhile, and its log stays short."""
    probe = new_token("probe", "laptop-1", url)
    server = serve(spawn, url, patch=patch, files=256)
    log: list[str] = []
    assert server.process.stderr is not None
    reader = threading.Thread(target=lambda: log.extend(server.process.stderr or ()))
    reader.start()
    port = int(server.url.rstrip("/").rpartition(":")[2])

    def post() -> int | None:
        with suppress(requests.RequestException):
            return server.post(batch_of(make_result()), probe, timeout=3).status_code
        return None

    with ExitStack() as held:
        for _ in range(300):
            sock = held.enter_context(socket.create_connection(("127.0.0.1", port), 10))
            with suppress(OSError):
                sock.sendall(b"POST /v1/batches HTTP/1.1\r\nHost: x\r\n")
        if safe:
            assert passes(post, SOON_S)
            assert passes(lambda: requests.get(server.url + "healthz", timeout=10).status_code, SOON_S)
        else:
            assert not passes(post, NEVER_S), "the control"
    server.process.kill()
    reader.join()
    if safe:
        assert sum(map(len, log)) < 20_000, log[:20]


NO_CONNECTION_SHARE = """
import sigprobe.collector.serve as serving
import sigprobe.collector.web.http_protocol as http_protocol
serving.connection_limits = lambda files: http_protocol.Connections(most=128, most_per_group=1000)
"""
"""So that making room alone is tried: else one network has a quarter of all connections."""

NOTHING_GIVES_WAY = (
    NO_CONNECTION_SHARE
    + """
http_protocol.Connections.wait = lambda self, connection, *, waits: None
"""
)


@pytest.mark.parametrize(("patch", "safe"), [("", True), (NO_CONNECTION_SHARE, True), (NOTHING_GIVES_WAY, False)])
def test_half_done_handshakes_silence_nothing(public: Callable[..., Public], url: str, patch: str, safe: bool) -> None:
    """The same before TLS has begun: connections that never say hello give way, too."""
    probe = new_token("probe", "laptop-1", url)
    on = public(files=256, patch=patch)
    with ExitStack() as held:
        for number in range(300):
            sock = held.enter_context(socket.socket(socket.AF_INET6))
            sock.settimeout(10)
            sock.bind((ATTACKER[number % 20], 0))
            with suppress(OSError):
                sock.connect((CENTRE, on.port))
        assert passes(lambda: on.post(probe, ELSEWHERE), SOON_S if safe else NEVER_S) is safe


LOCKS_EVERYBODY = """
import sigprobe.collector.access.pages as pages
import sigprobe.collector.access.reader as reader
found = reader.find_token
async def find(request, secret):
    throttled = reader.access_of(request).wrong.wait_s(reader.client(request).group) is not None
    return None if throttled else await found(request, secret)
reader.find_token = find
pages.find_token = find
"""


@pytest.mark.parametrize(("patch", "safe"), [("", True), (LOCKS_EVERYBODY, False)], ids=["guarded", "control"])
def test_wrong_tokens_lock_no_right_one_out(public: Callable[..., Public], url: str, patch: str, safe: bool) -> None:
    """201 wrong tokens from 20 addresses of one /64: the right one gets in at once, from there too."""
    admin = new_token("admin", "boss", url)
    on = public(patch=patch)

    def ask(source: str, token: str) -> requests.Response:
        with on.session(source) as session:
            return session.get(on.address("/v1/results"), headers={"Authorization": f"Bearer {token}"}, timeout=30)

    wrong = [ask(ATTACKER[number % 20], f"sigprobe-admin-wrong-{number}") for number in range(201)]
    assert {answer.status_code for answer in wrong} == {401}
    assert "Retry-After" not in wrong[0].headers and "Retry-After" in wrong[-1].headers
    assert ask(ELSEWHERE, admin).status_code == 200
    assert (ask(ATTACKER[0], admin).status_code == 200) is safe
    if safe:
        with on.session(ATTACKER[3]) as browser:
            refused = browser.post(on.address("/login"), data={"token": "wrong"}, timeout=30)
            assert refused.status_code == 429 and int(refused.headers["Retry-After"]) > 0
            signed_in = browser.post(on.address("/login"), data={"token": admin}, timeout=30, allow_redirects=False)
            assert signed_in.status_code == 303


FIRST_LINE_ONLY = """
import starlette.datastructures as datastructures
datastructures.Headers.getlist = lambda self, key: [self[key]] if key in self else []
"""


@pytest.mark.parametrize(("patch", "safe"), [("", True), (FIRST_LINE_ONLY, False)], ids=["guarded", "control"])
def test_a_forged_header_line_passes_no_limit(spawn: Spawn, url: str, patch: str, safe: bool) -> None:
    """Two `X-Forwarded-For` lines, the first one the client's own: address and daily limit go by the proxy's."""
    server = serve(spawn, url, "--behind-proxy", "--throughput", "open", "--throughput-daily-mb", "3", patch=patch)
    port = int(server.url.rstrip("/").rpartition(":")[2])

    def ask(path: str, forged: str) -> bytes:
        with socket.create_connection(("127.0.0.1", port), 30) as sock:
            lines = f"X-Forwarded-For: {forged}\r\nX-Forwarded-For: 203.0.113.9\r\n"
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n".encode())
            answer = b""
            while piece := sock.recv(65536):
                answer += piece
        return answer

    assert (b"203.0.113.9" in ask("/backend/getIP", "192.0.2.1")) is safe
    statuses = [ask("/backend/garbage?ckSize=1", f"192.0.2.{number}")[9:12] for number in range(5)]
    assert (b"429" in statuses) is safe, statuses


def test_no_token_passes_in_the_clear(spawn: Spawn, url: str, internet: None) -> None:
    """On every address without TLS each path that would take a token refuses it, the administrator's too."""
    tokens = [new_token("probe", "laptop-1", url), new_token("admin", "boss", url)]
    server = serve(spawn, url, "--host", "0.0.0.0")
    port = int(server.url.rstrip("/").rpartition(":")[2])
    paths = ("garbage", "empty", "received?session=x", "video/master.m3u8", "video/144p/0.ts", "garbage.php")
    for host in ("127.0.0.1", CARRIER):
        for token in tokens:
            headers = {"Authorization": f"Bearer {token}"}
            for path in (*(f"backend/{name}" for name in paths), "v1/results", "", "login"):
                answer = requests.get(f"http://{host}:{port}/{path}", headers=headers, timeout=30)
                assert answer.status_code == 403, (path, answer.status_code)
                assert "TLS" in answer.text
            posted = requests.post(f"http://{host}:{port}/backend/empty", b"x" * 1000, headers=headers, timeout=30)
            assert posted.status_code == 403
    away = requests.get(
        f"http://{CARRIER}:{port}/metrics", headers={"Authorization": f"Bearer {tokens[1]}"}, timeout=30
    )
    # asked from this machine the server sees its own address, which is not loopback
    assert away.status_code == 403


@pytest.mark.parametrize("named", [True, False], ids=["tokens", "control: no tokens"])
def test_two_phones_behind_one_carrier(spawn: Spawn, url: str, named: bool) -> None:
    """One phone takes all the streams that it may have: the other, behind the same address, still measures."""
    tokens = [new_token("probe", f"phone-{number}", url) for number in range(2)]
    server = serve(spawn, url, "--behind-proxy", "--throughput", "open")
    port = int(server.url.rstrip("/").rpartition(":")[2])

    def ask(token: str, size_mib: int) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", port), 30)
        lines = f"X-Forwarded-For: {CARRIER}\r\n" + (f"Authorization: Bearer {token}\r\n" if named else "")
        sock.sendall(f"GET /backend/garbage?ckSize={size_mib} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode())
        return sock

    with ExitStack() as held:
        for _ in range(8):
            sock = held.enter_context(ask(tokens[0], 100))
            assert sock.recv(12) == b"HTTP/1.1 200"
        assert held.enter_context(ask(tokens[0], 1)).recv(12) == b"HTTP/1.1 429"
        other = held.enter_context(ask(tokens[1], 1)).recv(12)
        assert other == (b"HTTP/1.1 200" if named else b"HTTP/1.1 429")
