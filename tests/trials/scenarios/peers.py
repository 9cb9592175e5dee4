"""The servers of a scenario, run inside a namespace: `python peers.py < spec.json`. Says `ready`, ends with stdin.

{"dns": [{"host": "198.51.100.1", "zone": {"a.example": ["198.51.100.7"], "b.example": "SERVFAIL"}}],
 "forward": [{"host": "127.0.0.53", "to": "198.51.100.1"}],
 "web": [{"host": "198.51.100.7", "port": 443, "cert": "a.pem", "status": 200, "delay_s": 0, "location": null}]}
"""

from __future__ import annotations

import http.server
import json
import socket
import ssl
import sys
import threading
import time
from typing import Any

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
    family = socket.AF_INET6 if ":" in spec["host"] else socket.AF_INET
    packets = socket.socket(family, socket.SOCK_DGRAM)
    packets.bind((spec["host"], 53))
    streams = socket.create_server((spec["host"], 53), family=family)

    def over_udp() -> None:
        while True:
            wire, sender = packets.recvfrom(65535)
            packets.sendto(reply(dns.message.from_wire(wire), spec["zone"]), sender)

    def over_tcp() -> None:
        while True:
            sock, _ = streams.accept()
            with sock:
                try:
                    sock.settimeout(2)
                    wire = sock.recv(65535)
                    if len(wire) > 2:
                        said = reply(dns.message.from_wire(wire[2:]), spec["zone"])
                        sock.sendall(len(said).to_bytes(2, "big") + said)
                except OSError:
                    continue

    threading.Thread(target=over_udp, daemon=True).start()
    threading.Thread(target=over_tcp, daemon=True).start()


def serve_forward(spec: dict[str, Any]) -> None:
    """A forwarder as on many devices: SERVFAIL when the server behind it is silent for a second and a half."""
    packets = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    packets.bind((spec["host"], 53))

    def one(wire: bytes, sender: Any) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as further:
            further.settimeout(1.5)
            try:
                further.connect((spec["to"], 53))
                further.send(wire)
                said = further.recv(65535)
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
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            return

        def do_GET(self) -> None:
            if "garbage" in self.path:
                self.send_response(200)
                self.send_header("Connection", "close")
                self.end_headers()
                for _ in range(16 * 8):
                    self.wfile.write(BLOCK)
                return
            if "/backend/" not in self.path:
                time.sleep(spec.get("delay_s", 0))
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

        def answer(self) -> None:
            body = spec.get("body", "hello").encode() * spec.get("times", 1)
            if "/backend/" in self.path:
                body = b""
            self.send_response(spec.get("status", 200))
            if spec.get("location"):
                self.send_header("Location", spec["location"])
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    class Server(http.server.ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in spec["host"] else socket.AF_INET
        request_queue_size = 32

        def handle_error(self, *_: object) -> None:
            return  # a client that goes away

        def server_bind(self) -> None:
            self.socket.bind(self.server_address)
            self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

        def finish_request(self, request: Any, client_address: Any) -> None:
            request.settimeout(30)
            if context is not None:
                request = context.wrap_socket(request, server_side=True)
            super().finish_request(request, client_address)

    context = None
    if spec.get("cert"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(spec["cert"])
    server = Server((spec["host"], spec["port"]), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def serve_mute(spec: dict[str, Any]) -> None:
    """Take connections and never say a word."""
    listener = socket.create_server((spec["host"], spec["port"]))
    kept = []

    def accept() -> None:
        while True:
            kept.append(listener.accept())

    threading.Thread(target=accept, daemon=True).start()


def main() -> None:
    spec = json.loads(sys.stdin.readline())
    for row in spec.get("dns", ()):
        serve_names(row)
    for row in spec.get("forward", ()):
        serve_forward(row)
    for row in spec.get("web", ()):
        serve_web(row)
    for row in spec.get("mute", ()):
        serve_mute(row)
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
