"""Run a small collector on a real socket whose answers a test writes itself."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from sigprobe.buffer import Buffer
from sigprobe.protocol import batches
from sigprobe.record.result import utc_now
from tests.support.records import record


@dataclass(frozen=True)
class Sent:
    """A request as it arrived. `number` counts from 0."""

    number: int
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def lines(self) -> list[bytes]:
        return gzip.decompress(self.body).splitlines()

    @property
    def ids(self) -> list[str]:
        return [json.loads(line)["id"] for line in self.lines]


Answer = Callable[[Sent], bytes]


def http(status: int, body: bytes = b"", media_type: str | None = None, **headers: str) -> bytes:
    """Return a whole HTTP answer."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
    if media_type is not None:
        lines.append(f"Content-Type: {media_type}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def receipt(sent: Sent, status_of: Callable[[str], str | None] = lambda _: batches.ACCEPTED, when: str = "") -> bytes:
    """Return the correct receipt of a batch, each id with the given status (None leaves it out)."""
    answers = [
        batches.Answer(name, status, "made up for a test" if status in ("rejected", "conflict") else None)
        for name in sent.ids
        if (status := status_of(name)) is not None
    ]
    headers = sent.headers
    body = batches.receipt_body(headers["idempotency-key"], headers["content-digest"], when or utc_now(), answers)
    return http(200, body, batches.RECEIPT_TYPE)


def packed_receipt(sent: Sent) -> bytes:
    """Return the correct receipt as the collector sends it to a probe that takes gzip."""
    _, _, body = receipt(sent).partition(b"\r\n\r\n")
    assert "gzip" in sent.headers["accept-encoding"]
    return http(200, gzip.compress(body, 6, mtime=0), batches.RECEIPT_TYPE, Content_Encoding="gzip")


def problem(status: int, detail: str | None = None, **headers: str) -> bytes:
    """Return an error of a collector."""
    return http(status, batches.problem_body(status, "made up", detail), batches.PROBLEM_TYPE, **headers)


def portal(_: Sent) -> bytes:
    """Return the answer of a captive portal."""
    return http(200, b"<html>Please log in</html>", "text/html")


@dataclass
class StandIn:
    """The server. `answer` may be replaced at any time; `drip_s` sends the answer a byte at a time."""

    port: int
    answer: Answer = receipt
    seen: list[Sent] = field(default_factory=list)
    connections: int = 0
    drip_s: float = 0.0
    silent: bool = False
    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/"

    @property
    def sizes(self) -> list[int]:
        return [len(sent.ids) for sent in self.seen]


@contextmanager
def standin(
    answer: Answer = receipt, *, tls: ssl.SSLContext | None = None, address: str = "127.0.0.1", **options: Any
) -> Iterator[StandIn]:
    """Provide a running stand-in on a free port."""
    listener = socket.create_server((address, 0))
    server = StandIn(listener.getsockname()[1], answer, scheme="https" if tls else "http", **options)
    ended = threading.Event()
    threads: list[threading.Thread] = []

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server.connections += 1
            thread = threading.Thread(target=speak, args=(client,), daemon=True)
            threads.append(thread)
            thread.start()

    def speak(client: socket.socket) -> None:
        client.settimeout(20)
        with suppress(OSError, ssl.SSLError, ValueError):
            if tls is not None:
                client = tls.wrap_socket(client, server_side=True)
            while not ended.is_set() and one(client):
                pass
        client.close()

    def one(client: socket.socket) -> bool:
        data = b""
        while b"\r\n\r\n" not in data:
            part = client.recv(65536)
            if not part:
                return False
            data += part
        head, _, body = data.partition(b"\r\n\r\n")
        first, *rest = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
        while len(body) < int(headers.get("content-length", "0")):
            part = client.recv(65536)
            if not part:
                return False  # cut in the middle: nothing arrives any more
            body += part
        sent = Sent(len(server.seen), first.split()[1], headers, body)
        server.seen.append(sent)
        if server.silent:
            ended.wait(20)
            return False
        said = server.answer(sent)
        if not said:
            return False
        if not server.drip_s:
            client.sendall(said)
            return True
        for byte in said:
            client.sendall(bytes([byte]))
            if ended.wait(server.drip_s):
                return False
        return True

    main = threading.Thread(target=serve, daemon=True)
    main.start()
    try:
        yield server
    finally:
        ended.set()
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        main.join(5)
        for thread in threads:
            thread.join(0.5)


def main() -> None:
    """Serve TLS, print the port, then the time of each batch: `… stand_in_collector ADDRESS CERT_AND_KEY`."""
    address, certificate = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def answer(sent: Sent) -> bytes:
        print(time.monotonic(), len(sent.ids), flush=True)
        return receipt(sent)

    with standin(answer, tls=context, address=address) as server:
        print(server.port, flush=True)
        threading.Event().wait()


def put(buffer: Buffer, count: int) -> list[str]:
    """Fill the queue; returns the ids in order."""
    return [buffer.put(record()).result.id for _ in range(count)]


def until(true: Callable[[], Any], seconds: float = 10) -> None:
    """Wait until another thread or process has done something."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


if __name__ == "__main__":
    main()
