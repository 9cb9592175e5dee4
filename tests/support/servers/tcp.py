"""Run a TCP or TLS server whose connections are handled by a function of the test."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Peer:
    """One connection, seen from the server."""

    sock: socket.socket
    closing: threading.Event

    def head(self) -> bytes:
        """Read up to the empty line that ends the head of a request."""
        data = b""
        while b"\r\n\r\n" not in data:
            piece = self.sock.recv(65536)
            if not piece:
                break
            data += piece
        return data

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.sock.sendall(piece)

    def wait(self, seconds: float | None = None) -> None:
        """Wait for so long, or until the test ends."""
        self.closing.wait(seconds)

    def reset(self) -> None:
        """End the connection with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


@dataclass
class Server:
    """A running server: its port, and the heads of the requests it has read with `Peer.head` if it kept them."""

    host: str
    port: int
    heads: list[bytes] = field(default_factory=list)
    connections: int = 0

    @property
    def authority(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def url(self, path: str = "/", scheme: str = "http", host: str | None = None) -> str:
        return f"{scheme}://{self.authority if host is None else f'{host}:{self.port}'}{path}"


@contextmanager
def tcp_server(
    answer: Callable[[Peer], object],
    *,
    host: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
    before_tls_s: float = 0,
    port: int = 0,
) -> Iterator[Server]:
    """Serve until the block ends; `answer` handles each connection in its own thread, after the TLS handshake."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    closing = threading.Event()
    threads: list[threading.Thread] = []
    open_socks: list[socket.socket] = []
    with socket.create_server((host, port), family=family, backlog=16) as listener:
        listener.settimeout(0.05)
        server = Server(host, listener.getsockname()[1])

        def handle(sock: socket.socket) -> None:
            # a client that goes away in the middle is not the server's fault
            with suppress(OSError), sock:
                if tls is not None:
                    closing.wait(before_tls_s)
                    sock = tls.wrap_socket(sock, server_side=True)
                with sock:
                    open_socks.append(sock)
                    answer(Peer(sock, closing))

        def accept() -> None:
            while not closing.is_set():
                try:
                    sock, _ = listener.accept()
                except TimeoutError:
                    continue
                except OSError:
                    return
                sock.settimeout(10)
                server.connections += 1
                open_socks.append(sock)
                thread = threading.Thread(target=handle, args=(sock,))
                thread.start()
                threads.append(thread)

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield server
        finally:
            closing.set()
            accepting.join()
            for sock in open_socks:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


@contextmanager
def http_server(*answers: bytes, host: str = "127.0.0.1", **options: object) -> Iterator[Server]:
    """Answer the n-th request with the n-th bytes (the last again and again), then close."""

    def answer(peer: Peer) -> None:
        server.heads.append(peer.head())
        peer.send(answers[min(len(server.heads), len(answers)) - 1])

    with tcp_server(answer, host=host, **options) as server:  # type: ignore[arg-type]
        yield server


def page(body: bytes = b"hello", status: str = "200 OK", *headers: str) -> bytes:
    """Return a whole HTTP/1.1 answer with its length."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
