"""One request over a real socket: bounded in time and size, verified, and by the configuration alone."""

from __future__ import annotations

import gzip
import resource
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from sigprobe.net.tls import client_context
from sigprobe.upload.transport import Channel, Collector, Reply, TransportError, open_channel, post
from tests.support.stand_in_collector import Sent, StandIn, http, standin, until

HEADERS = {"Authorization": "Bearer secret"}


def send(collector: Collector, timeout_s: float = 5.0, stop: threading.Event | None = None) -> Reply:
    with closing(open_channel(collector)) as channel:
        return post(channel, collector.endpoint("v1/batches"), b"body", HEADERS, timeout_s, stop)


def ok(_: Sent) -> bytes:
    return http(200, b"fine", "text/plain")


def threads() -> int:
    return sum(thread.name == "post" for thread in threading.enumerate())


def test_a_url_without_its_last_slash_keeps_its_path() -> None:
    """A collector below a path is asked below that path."""
    assert Collector("https://c.example/a").endpoint("v1/batches") == "https://c.example/a/v1/batches"
    assert Collector("https://c.example/a/").endpoint("v1/batches") == "https://c.example/a/v1/batches"


def test_the_token_is_not_in_a_repr() -> None:
    """A traceback that prints a collector holds no token."""
    assert "secret" not in repr(Collector("https://c.example/", "secret"))


def given_up_in_time(url: str) -> bool:
    """A request with a limit of 0.6 s ends by then, and its thread soon after."""
    begun = time.monotonic()
    with pytest.raises(TransportError) as caught:
        send(Collector(url), 0.6)
    took = time.monotonic() - begun
    until(lambda: threads() == 0, 3)
    return caught.value.reason == "timeout" and 0.5 < took < 2.0


def test_headers_a_byte_at_a_time_do_not_hold_the_caller() -> None:
    """A server that drips its headers is left at the limit, and the thread that read them ends."""
    with standin(ok, drip_s=0.05) as server:
        assert given_up_in_time(server.url)


def test_a_greeting_a_byte_at_a_time_does_not_hold_the_caller() -> None:
    """The same in the midst of a TLS handshake."""
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def drip() -> None:
        with suppress(OSError):
            client, _ = listener.accept()
            with client:
                client.recv(65536)
                for byte in b"\x16\x03\x03\x40\x00\x02" + b"\x00" * 400:
                    client.sendall(bytes([byte]))
                    if ended.wait(0.05):
                        return

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    try:
        assert given_up_in_time(f"https://127.0.0.1:{listener.getsockname()[1]}/")
    finally:
        ended.set()
        listener.close()
        thread.join(5)


def test_a_body_that_drips_is_left_at_the_limit() -> None:
    """Headers at once and then a byte now and then: the limit holds for the whole answer."""

    def slow(sent: Sent) -> bytes:
        return http(200, b"x" * 4000, "text/plain")

    with standin(slow, drip_s=0.002) as server:
        begun = time.monotonic()
        with pytest.raises(TransportError):
            send(Collector(server.url), 0.8)
        assert time.monotonic() - begun < 2.0


def test_a_huge_answer_is_cut_off() -> None:
    """An answer of 20 MB is given up after 4."""
    huge = http(200, b"x" * 20_000_000, "text/plain")
    with standin(lambda _: huge) as server, pytest.raises(TransportError, match="too long"):
        send(Collector(server.url), 20)


def test_a_packed_answer_is_unpacked_and_its_bytes_on_the_wire_counted() -> None:
    """What a receipt costs is what crossed the wire, not what it unpacks to."""
    packed = gzip.compress(b"x" * 100_000, mtime=0)
    with standin(lambda _: http(200, packed, "text/plain", Content_Encoding="gzip")) as server:
        reply = send(Collector(server.url), 20)
    assert reply.body == b"x" * 100_000
    assert reply.wire_bytes == len(packed)


@pytest.mark.slow
def test_a_packed_bomb_is_cut_off() -> None:
    """A portal's megabyte that unpacks to a gigabyte is given up after 4 MB of it."""
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(b"\0" * 10_000_000) for _ in range(100)) + packer.flush()
    with standin(lambda _: http(200, bomb, "text/plain", Content_Encoding="gzip")) as server:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(TransportError, match="too long"):
            send(Collector(server.url), 20)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


@pytest.mark.slow
def test_a_stop_is_noticed_while_an_answer_is_awaited() -> None:
    """A stop ends the wait for a silent server after a short grace, long before its limit."""
    stop = threading.Event()
    with standin(ok, silent=True) as server:
        timer = threading.Timer(0.2, stop.set)
        timer.start()
        begun = time.monotonic()
        with pytest.raises(TransportError) as caught:
            send(Collector(server.url), 20, stop)
        timer.join()
    assert caught.value.reason == "stopped"
    assert time.monotonic() - begun < 4.0


def test_a_resolver_that_never_answers_does_not_hold_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking the name up counts as part of the limit, too."""
    release = threading.Event()

    def stuck(*_: object, **__: object) -> list[object]:
        release.wait(10)
        raise socket.gaierror(socket.EAI_AGAIN, "made up")

    monkeypatch.setattr(socket, "getaddrinfo", stuck)
    begun = time.monotonic()
    with pytest.raises(TransportError) as caught:
        send(Collector("http://collector.invalid/"), 0.5)
    assert time.monotonic() - begun < 2.0
    assert caught.value.reason == "timeout"
    release.set()


def test_nobody_there_is_told_apart(free_port: Callable[[], int]) -> None:
    """A port that nobody listens on is `unreachable`: nothing was sent."""
    with pytest.raises(TransportError) as caught:
        send(Collector(f"http://127.0.0.1:{free_port()}/"))
    assert caught.value.reason == "unreachable"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_never_followed(status: int) -> None:
    """Neither the body nor the token goes anywhere a redirect points to."""
    with standin(ok) as other, standin(lambda _: http(status, b"", Location=other.url)) as server:
        assert send(Collector(server.url)).status == status
        assert len(server.seen) == 1
        assert other.connections == 0


def test_the_environment_changes_nothing(clean_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A netrc entry for the collector's host, a proxy and a CA bundle in the environment are not used."""
    netrc = clean_home / ".netrc"
    netrc.write_text("machine 127.0.0.1 login thief password thief\ndefault login thief password thief\n")
    netrc.chmod(0o600)
    with standin(ok) as server, standin(ok) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.setenv("NETRC", str(netrc))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")
        assert send(Collector(server.url)).status == 200
        assert server.seen[0].headers["authorization"] == "Bearer secret"
        assert proxy.connections == 0


def test_the_configured_proxy_is_used() -> None:
    """With `upload.proxy` the request goes to the proxy, which is asked for the collector's whole address."""
    with standin(ok) as proxy:
        assert send(Collector("http://collector.invalid/", proxy=proxy.url)).status == 200
        assert proxy.seen[0].path == "http://collector.invalid/v1/batches"


# --- TLS ----------------------------------------------------------------------------------------------------


def context(issued: trustme.LeafCert) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(made)
    return made


@pytest.fixture
def secure(ca: trustme.CA) -> Iterator[Callable[..., StandIn]]:
    """A function that starts a stand-in with a certificate of the CA for a host."""
    opened = []

    def start(host: str = "127.0.0.1", *, authority: trustme.CA | None = None, days: float = 30) -> StandIn:
        issued = (authority or ca).issue_cert(
            host, not_before=datetime.now(UTC) - timedelta(days=60), not_after=datetime.now(UTC) + timedelta(days=days)
        )
        manager = standin(ok, tls=context(issued))
        opened.append(manager)
        return manager.__enter__()

    yield start
    for manager in opened:
        manager.__exit__(None, None, None)


def test_a_private_ca_is_enough_and_needed(secure: Callable[..., StandIn], ca_file: str) -> None:
    """The collector's own CA is trusted where it is configured, and nowhere else."""
    url = secure().url
    assert send(Collector(url, ca_file=ca_file)).status == 200
    with pytest.raises(TransportError) as caught:
        send(Collector(url))
    assert caught.value.reason == "tls"


def encoded(pem: bytes, form: str) -> bytes:
    """A PEM file as an editor on Windows, or a certificate manager, saves it."""
    if form == "der":
        return ssl.PEM_cert_to_DER_cert(pem.decode())
    text = pem.decode().replace("\n", "\r\n")
    return text.encode({"bom": "utf-8-sig", "crlf": "ascii"}.get(form, form))


@pytest.mark.parametrize("form", ["crlf", "bom", "utf-16", "utf-16-be", "utf-16-le", "der"])
def test_a_ca_file_of_windows_is_read(secure: Callable[..., StandIn], ca: trustme.CA, ca_file: str, form: str) -> None:
    """Uploads and checks trust exactly the CA in the file, however it was saved."""
    Path(ca_file).write_bytes(encoded(ca.cert_pem.bytes(), form))
    if form not in ("crlf", "bom"):  # newer versions of OpenSSL skip the mark of UTF-8
        with pytest.raises(ssl.SSLError):
            ssl.create_default_context(cafile=ca_file)
    assert send(Collector(secure().url, ca_file=ca_file)).status == 200
    assert [dict(pair[0] for pair in c["subject"]) for c in client_context(ca_file).get_ca_certs()] != []
    with pytest.raises(TransportError) as caught:
        send(Collector(secure(authority=trustme.CA()).url, ca_file=ca_file))
    assert caught.value.reason == "tls"


def test_a_private_ca_replaces_the_public_ones(ca_file: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With a CA of its own a collector is not trusted by a certificate that a public CA has signed."""
    public = trustme.CA()
    bundle = tmp_path / "public.pem"
    public.cert_pem.write_to_path(str(bundle))
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(bundle))
    with standin(ok, tls=context(public.issue_cert("127.0.0.1"))) as server:
        assert send(Collector(server.url)).status == 200, "the bundle is in force"
        with pytest.raises(TransportError) as caught:
            send(Collector(server.url, ca_file=ca_file))
        assert caught.value.reason == "tls"


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"\x30\x03abc", b"\xef\xbb\xbfnothing here"])
def test_a_file_without_a_certificate_is_an_os_error(tmp_path: Path, content: bytes) -> None:
    """Commands catch OSError for a CA file that is of no use, whatever is in it."""
    path = tmp_path / "ca.pem"
    path.write_bytes(content)
    with pytest.raises(OSError):
        client_context(str(path))


@pytest.mark.parametrize("unchecked", [False, True])
def test_a_wrong_host_and_an_unknown_ca_are_never_taken(
    secure: Callable[..., StandIn], ca_file: str, unchecked: bool
) -> None:
    """Not even without the time check."""
    for server in (secure("collector.example"), secure(authority=trustme.CA())):
        with pytest.raises(TransportError) as caught:
            send(Collector(server.url, ca_file=ca_file, allow_unchecked_time=unchecked))
        assert caught.value.reason == "tls"
        assert server.seen == []


def test_an_expired_certificate_is_taken_only_by_opt_in_with_a_ca_file(
    secure: Callable[..., StandIn], ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`allow_unchecked_time` leaves out the dates, with `ca_file` only; without it nothing changes."""
    url = secure(days=-1).url
    with pytest.raises(TransportError) as caught:
        send(Collector(url, ca_file=ca_file))
    assert caught.value.reason == "tls"
    collector = Collector(url, ca_file=ca_file, allow_unchecked_time=True)
    assert collector.time_unchecked
    assert send(collector).status == 200
    without = Collector(url, allow_unchecked_time=True)
    assert not without.time_unchecked
    with pytest.raises(TransportError):
        send(without)


def test_a_tls_collector_behind_a_proxy_is_still_verified(secure: Callable[..., StandIn], ca_file: str) -> None:
    """Through CONNECT the private CA counts as well: the right one is taken, a stranger is not."""
    listener = socket.create_server(("127.0.0.1", 0))
    target: list[StandIn] = []

    def tunnel() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=carry, args=(client,), daemon=True).start()

    def carry(client: socket.socket) -> None:
        with suppress(OSError), client, socket.create_connection(("127.0.0.1", target[0].port), 5) as server:
            while b"\r\n\r\n" not in client.recv(4096):
                pass
            client.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            back = threading.Thread(target=pump, args=(server, client), daemon=True)
            back.start()
            pump(client, server)
            back.join(5)

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while part := source.recv(65536):
                sink.sendall(part)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    main = threading.Thread(target=tunnel, daemon=True)
    main.start()
    proxy = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        target.append(secure())
        assert send(Collector(target[0].url, ca_file=ca_file, proxy=proxy)).status == 200
        target[0] = secure(authority=trustme.CA())
        with pytest.raises(TransportError) as caught:
            send(Collector(target[0].url, ca_file=ca_file, proxy=proxy))
        assert caught.value.reason == "tls"
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        main.join(5)


def test_a_ca_file_that_is_none_is_an_error(tmp_path: Path) -> None:
    """A missing or empty CA file is never a reason to trust everybody."""
    with pytest.raises(FileNotFoundError):
        open_channel(Collector("https://127.0.0.1:1/", ca_file=str(tmp_path / "missing.pem")))
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    with pytest.raises(ssl.SSLError):
        open_channel(Collector("https://127.0.0.1:1/", ca_file=str(empty)))


def test_a_closed_channel_is_cut() -> None:
    """Closing a channel ends its connection even while a request waits on it."""
    with standin(ok, silent=True) as server:
        channel: Channel = open_channel(Collector(server.url))
        failed: list[TransportError] = []

        def ask() -> None:
            try:
                post(channel, server.url, b"", {}, 15)
            except TransportError as error:
                failed.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        while not server.seen:
            time.sleep(0.01)
        channel.close()
        thread.join(5)
        assert not thread.is_alive()
        assert failed[0].reason == "reset"
