"""Run servers that answer a batch without storing it, as portals, proxies and broken collectors do.

Each answer is wrong in one way only, and as near to a receipt as that way allows. `honest` is the same server
telling the truth about itself: what it was sent, it holds.
"""

from __future__ import annotations

import gzip
import json
import ssl
import threading
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from sigprobe.protocol import batches
from sigprobe.protocol.batches import Answer
from sigprobe.record.result import utc_now

LOGIN_PAGE: Final = b"<!doctype html><title>Free WiFi</title><form action=/login><input name=room></form>"


@dataclass(frozen=True, slots=True)
class Sent:
    """A request of a probe."""

    batch: str
    digest: str
    ids: tuple[str, ...]
    authorization: str


@dataclass(frozen=True, slots=True)
class Said:
    """An answer. `length` is what Content-Length claims, None for the truth."""

    status: int
    media_type: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    length: int | None = None


FalseReply = Callable[[Sent, "list[Sent]"], Said]


def receipt(sent: Sent, **changes: Any) -> bytes:
    """Return a receipt for the whole request; `changes` replace batch, digest or ids."""
    ids = changes.get("ids", sent.ids)
    return batches.receipt_body(
        changes.get("batch", sent.batch),
        changes.get("digest", sent.digest),
        utc_now(),
        [Answer(name, batches.ACCEPTED) for name in ids],
    )


def honest(sent: Sent, _: list[Sent]) -> Said:
    """Return the correct receipt."""
    return Said(200, batches.RECEIPT_TYPE, receipt(sent))


def _portal(_sent: Sent, _: list[Sent]) -> Said:
    return Said(200, "text/html", LOGIN_PAGE)


def _empty(_sent: Sent, _: list[Sent]) -> Said:
    return Said(204, "", b"")


def _redirect(_sent: Sent, _: list[Sent]) -> Said:
    return Said(302, "text/html", LOGIN_PAGE, {"Location": "/honest"})


def _login_needed(sent: Sent, _: list[Sent]) -> Said:
    return Said(511, batches.RECEIPT_TYPE, receipt(sent))


def _wrong_digest(sent: Sent, _: list[Sent]) -> Said:
    return Said(200, batches.RECEIPT_TYPE, receipt(sent, digest=batches.content_digest(b"something else")))


def _wrong_batch(sent: Sent, _: list[Sent]) -> Said:
    return Said(200, batches.RECEIPT_TYPE, receipt(sent, batch=str(uuid.uuid4())))


def _replayed(sent: Sent, before: list[Sent]) -> Said:
    earlier = next((old for old in before if old.batch != sent.batch), None)
    return Said(204, "", b"") if earlier is None else Said(200, batches.RECEIPT_TYPE, receipt(earlier))


def _truncated(sent: Sent, _: list[Sent]) -> Said:
    whole = receipt(sent)
    return Said(200, batches.RECEIPT_TYPE, whole[:-1], length=len(whole))


def _wrong_type(sent: Sent, _: list[Sent]) -> Said:
    return Said(200, "application/json", receipt(sent))


def _foreign_id(sent: Sent, _: list[Sent]) -> Said:
    return Said(200, batches.RECEIPT_TYPE, receipt(sent, ids=(*sent.ids, str(uuid.uuid4()))))


def _empty_list(sent: Sent, _: list[Sent]) -> Said:
    return Said(200, batches.RECEIPT_TYPE, receipt(sent, ids=()))


def _gzip_garbage(sent: Sent, _: list[Sent]) -> Said:
    packed = gzip.compress(receipt(sent))
    return Said(200, batches.RECEIPT_TYPE, packed[:20] + b"\x00\xff" * 20, {"Content-Encoding": "gzip"})


FALSE_REPLIES: Final[dict[str, FalseReply]] = {
    "portal 200": _portal,
    "empty 204": _empty,
    "redirect 302": _redirect,
    "login needed 511": _login_needed,
    "wrong digest": _wrong_digest,
    "wrong batch": _wrong_batch,
    "replayed": _replayed,
    "truncated": _truncated,
    "wrong media type": _wrong_type,
    "foreign id": _foreign_id,
    "empty list": _empty_list,
    "gzip garbage": _gzip_garbage,
}


class FalseServer:
    """A server on loopback with one kind of answer, as a context manager; `answer` may be changed while it runs."""

    def __init__(self, answer: FalseReply, tls: ssl.SSLContext | None = None) -> None:
        self.answer = answer
        self.seen: list[Sent] = []
        lying = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                self.request.settimeout(10)
                super().setup()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                sent = Sent(
                    self.headers["Idempotency-Key"],
                    self.headers["Content-Digest"],
                    tuple(json.loads(line)["id"] for line in gzip.decompress(body).splitlines()),
                    self.headers.get("Authorization", ""),
                )
                lying.seen.append(sent)
                self._say((honest if self.path == "/honest" else lying.answer)(sent, lying.seen[:-1]))

            def do_GET(self) -> None:
                self._say(Said(200, "text/html", LOGIN_PAGE))

            def _say(self, said: Said) -> None:
                self.send_response(said.status)
                if said.media_type:
                    self.send_header("Content-Type", said.media_type)
                for name, value in said.headers.items():
                    self.send_header(name, value)
                if said.status != 204:
                    self.send_header("Content-Length", str(len(said.body) if said.length is None else said.length))
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(said.body)
                self.close_connection = True

            def log_message(self, *_: object) -> None:
                return

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                return  # a probe that refuses the handshake is what some tests want

            def finish_request(self, request: Any, client_address: Any) -> None:
                # the handshake in the connection's own thread: one that hangs must not stop the others
                if tls is not None:
                    request.settimeout(10)
                    request = tls.wrap_socket(request, server_side=True)
                try:
                    super().finish_request(request, client_address)
                finally:
                    if tls is not None:
                        with suppress(OSError):
                            request.close()

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{self.port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> FalseServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)
