"""Serve a scenario's names and pages inside a namespace: `python peers.py < spec.json`.

It prints `ready` and ends with its stdin. Its last line is how late it woke meanwhile, such as
`{"worst_s": 0.1, "mean_s": 0.001, "kernel_s": 0.002}`. The last number is the longest time the kernel took to tell its
addresses: every look-up of a name asks for them, and waits while namespaces are made and taken down.

{"dns": [{"host": "198.51.100.1", "zone": {"a.example": ["198.51.100.7"], "b.example": "SERVFAIL"}}],
 "forward": [{"host": "127.0.0.53", "to": "198.51.100.1"}],
 "web": [{"host": "198.51.100.7", "port": 443, "cert": "a.pem", "status": 200, "delay_s": 0, "location": null}],
 "proxy": [{"host": "198.51.100.9", "port": 3129}]}

Names: `drop` lists types that get no answer, `max_bytes` drops longer answers of a forwarder, `delay_s` delays
answers, `cert` also serves over TLS (853). Pages: `headers`, `body`, `tls_delay_s`, `stall_after` and `stall_s` (a
pause within the body), `pace_bps`, and `bad_first`: that many first requests get `bad_status`, or a reset without
one, or `bad_delay_s` before the answer. `garbled` answers no HTTP, `old_tls` offers TLS 1.1 at most, `backend_status`
is the status of the speed test's pages.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import socket
import ssl
import struct
import sys
import threading
import time
from typing import Any

import dns.exception
import dns.message
import dns.rcode
import dns.rrset

BLOCK = bytes(range(256)) * 256


def reply(query: dns.message.Message, zone: dict[str, Any]) -> bytes:
    answer = dns.message.make_response(query)
    question = query.question[0]
    known = zone.get(question.name.to_text(omit_final_dot=True).lower(), zone.get("*", "NXDOMAIN"))
    if isinstance(known, str):
        answer.set_rcode(dns.rcode.from_text(known))
    else:
        kind = question.rdtype.name
        fitting = [a for a in known if (":" in a) == (kind == "AAAA") and kind in ("A", "AAAA")]
        if fitting:
            answer.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *fitting))
    return answer.to_wire()


def serve_names(spec: dict[str, Any]) -> None:
    dropped = set(spec.get("drop", ()))
    family = socket.AF_INET6 if ":" in spec["host"] else socket.AF_INET
    packets = socket.socket(family, socket.SOCK_DGRAM)
    packets.bind((spec["host"], 53))
    streams = socket.create_server((spec["host"], 53), family=family)

    def over_udp() -> None:
        while True:
            wire, sender = packets.recvfrom(65535)
            try:
                query = dns.message.from_wire(wire)
                if query.question[0].rdtype.name in dropped:
                    continue
                said = reply(query, spec["zone"])
            except (dns.exception.DNSException, IndexError):
                continue
            if spec.get("delay_s"):
                threading.Timer(spec["delay_s"], packets.sendto, (said, sender)).start()
            else:
                packets.sendto(said, sender)

    def one_stream(sock: socket.socket, context: ssl.SSLContext | None) -> None:
        try:
            sock.settimeout(4)
            with context.wrap_socket(sock, server_side=True) if context else sock as stream:
                while True:
                    head = stream.recv(2)
                    if len(head) == 1:
                        head += stream.recv(1)
                    if len(head) < 2:
                        return
                    wire = b""
                    while len(wire) < int.from_bytes(head, "big"):
                        piece = stream.recv(65535)
                        if not piece:
                            return
                        wire += piece
                    said = reply(dns.message.from_wire(wire), spec["zone"])
                    stream.sendall(len(said).to_bytes(2, "big") + said)
        except (OSError, dns.exception.DNSException):
            return

    def over_tcp(listener: socket.socket, context: ssl.SSLContext | None) -> None:
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=one_stream, args=(sock, context), daemon=True).start()

    threading.Thread(target=over_udp, daemon=True).start()
    threading.Thread(target=over_tcp, args=(streams, None), daemon=True).start()
    if spec.get("cert"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(spec["cert"])
        secured = socket.create_server((spec["host"], 853), family=family)
        threading.Thread(target=over_tcp, args=(secured, context), daemon=True).start()


def serve_forward(spec: dict[str, Any]) -> None:
    """Forward as many devices and routers do: SERVFAIL when the server behind it is silent for a second and a half."""
    dropped = set(spec.get("drop", ()))
    packets = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    packets.bind((spec["host"], 53))

    def one(wire: bytes, sender: Any) -> None:
        if dropped and dns.message.from_wire(wire).question[0].rdtype.name in dropped:
            return
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as further:
            further.settimeout(1.5)
            try:
                further.connect((spec["to"], 53))
                further.send(wire)
                said = further.recv(65535)
                if len(said) > spec.get("max_bytes", 65535):
                    return
            except OSError:
                answer = dns.message.make_response(dns.message.from_wire(wire))
                answer.set_rcode(dns.rcode.SERVFAIL)
                said = answer.to_wire()
        packets.sendto(said, sender)

    def serve() -> None:
        while True:
            threading.Thread(target=one, args=packets.recvfrom(65535), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()


def serve_web(spec: dict[str, Any]) -> None:
    seen, counting = {"requests": 0}, threading.Lock()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            return

        def do_GET(self) -> None:
            if spec.get("backend_status") and "/backend/" in self.path:
                self.answer(spec["backend_status"])
                return
            if spec.get("garbled"):
                self.wfile.write(b"\x00\x17 no answer\r\n\r\n" * 3)
                self.close_connection = True
                return
            if "garbage" in self.path:
                self.send_response(200)
                self.send_header("Connection", "close")
                self.end_headers()
                for _ in range(16 * 8):
                    self.send_body(BLOCK)
                return
            if "/backend/" not in self.path:
                with counting:
                    seen["requests"] += 1
                    bad = seen["requests"] <= spec.get("bad_first", 0)
                if bad and spec.get("bad_status"):
                    self.answer(spec["bad_status"])
                    return
                if bad and not spec.get("bad_delay_s"):
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.close_connection = True
                    return
                time.sleep(spec["bad_delay_s"] if bad else spec.get("delay_s", 0))
            self.answer()

        do_HEAD = do_GET

        def do_POST(self) -> None:
            left = int(self.headers.get("Content-Length", 0))
            while left > 0:
                piece = self.rfile.read(min(left, 65536))
                if not piece:
                    return
                left -= len(piece)
            self.answer()

        def answer(self, status: int | None = None) -> None:
            body = spec.get("body", "hello").encode() * spec.get("times", 1)
            if "/backend/" in self.path:
                body = b""
            headers = dict(spec.get("headers", {}))
            self.send_response_only(status or spec.get("status", 200))
            self.send_header("Date", headers.pop("Date", None) or self.date_time_string())
            for name, value in headers.items():
                self.send_header(name, value)
            if spec.get("location"):
                self.send_header("Location", spec["location"])
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                self.send_body(body)

        def send_body(self, body: bytes) -> None:
            stall, pace = spec.get("stall_after"), spec.get("pace_bps")
            if stall is not None:
                self.wfile.write(body[:stall])
                time.sleep(spec["stall_s"])
                body = body[stall:]
            if not pace:
                self.wfile.write(body)
                return
            while body:
                self.wfile.write(body[:500])
                time.sleep(500 * 8 / pace)
                body = body[500:]

    class Server(http.server.ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in spec["host"] else socket.AF_INET
        request_queue_size = 32

        def handle_error(self, *_: object) -> None:
            return  # a client that goes away

        def server_bind(self) -> None:
            self.socket.bind(self.server_address)
            self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

        def finish_request(self, request: Any, client_address: Any) -> None:
            request.settimeout(60)
            if context is not None:
                time.sleep(spec.get("tls_delay_s", 0))
                request = context.wrap_socket(request, server_side=True)
            super().finish_request(request, client_address)

    context = None
    if spec.get("cert"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(spec["cert"])
        if spec.get("old_tls"):
            context.set_ciphers("DEFAULT:@SECLEVEL=0")
            context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    server = Server((spec["host"], spec["port"]), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def serve_proxy(spec: dict[str, Any]) -> None:
    """Accept every connection that was redirected here, and only then connect to its real destination."""
    listener = socket.create_server((spec["host"], spec["port"]), backlog=64)

    def copy(source: socket.socket, sink: socket.socket) -> None:
        try:
            while piece := source.recv(65536):
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            source.close()
            sink.close()

    def one(near: socket.socket) -> None:
        try:
            wanted = near.getsockopt(socket.SOL_IP, 80, 16)  # SO_ORIGINAL_DST
            port = int.from_bytes(wanted[2:4], "big")
            far = socket.create_connection((socket.inet_ntoa(wanted[4:8]), port), timeout=20)
            far.settimeout(None)
        except OSError:
            near.close()
            return
        threading.Thread(target=copy, args=(near, far), daemon=True).start()
        copy(far, near)

    def accept() -> None:
        while True:
            threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def serve_mute(spec: dict[str, Any]) -> None:
    """Accept connections and never send anything."""
    listener = socket.create_server((spec["host"], spec["port"]))
    kept = []

    def accept() -> None:
        while True:
            kept.append(listener.accept())

    threading.Thread(target=accept, daemon=True).start()


def ask_for_addresses() -> None:
    """Ask the kernel for all addresses, as getaddrinfo does to order its answers."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as link:
        link.bind((0, 0))
        link.sendto(struct.pack("=LHHLLBxxx", 20, 22, 0x301, 1, 0, socket.AF_UNSPEC), (0, 0))  # RTM_GETADDR, dump
        link.settimeout(10)
        over = False
        while not over:
            rest = link.recv(65536)
            while len(rest) >= 16:
                length, kind = struct.unpack_from("=LH", rest)
                over = over or kind in (2, 3)  # NLMSG_ERROR, NLMSG_DONE
                rest = rest[max(16, (length + 3) & ~3) :]


class Lateness:
    """Measure how late a sleeping thread wakes: a peer without a processor answers late, as a slow link does."""

    def __init__(self) -> None:
        self.worst_s = self.sum_s = self.kernel_s = 0.0
        self.count = 0
        threading.Thread(target=self.watch, daemon=True).start()
        threading.Thread(target=self.watch_kernel, daemon=True).start()

    def watch_kernel(self) -> None:
        while True:
            asked = time.monotonic()
            with contextlib.suppress(OSError):
                ask_for_addresses()
            self.kernel_s = max(self.kernel_s, time.monotonic() - asked)
            time.sleep(0.2)

    def watch(self) -> None:
        while True:
            due = time.monotonic() + 0.05
            time.sleep(0.05)
            late_s = time.monotonic() - due
            self.worst_s = max(self.worst_s, late_s)
            self.sum_s += late_s
            self.count += 1


def main() -> None:
    spec = json.loads(sys.stdin.readline())
    late = Lateness()
    for row in spec.get("dns", ()):
        serve_names(row)
    for row in spec.get("forward", ()):
        serve_forward(row)
    for row in spec.get("web", ()):
        serve_web(row)
    for row in spec.get("mute", ()):
        serve_mute(row)
    for row in spec.get("proxy", ()):
        serve_proxy(row)
    print("ready", flush=True)
    sys.stdin.read()
    print(
        json.dumps({"worst_s": late.worst_s, "mean_s": late.sum_s / max(1, late.count), "kernel_s": late.kernel_s}),
        flush=True,
    )


if __name__ == "__main__":
    main()
