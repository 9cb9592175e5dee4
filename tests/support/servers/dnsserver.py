"""Run a DNS server on UDP and TCP of one loopback port that answers as the test says."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

Answer = Callable[[dns.message.Message], "list[bytes] | None"]


@dataclass
class DnsServer:
    """A running server: its address as a resolver is written in the settings, and what it was asked."""

    host: str
    port: int
    udp: list[dns.message.Message] = field(default_factory=list)
    tcp: list[dns.message.Message] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def records(*rows: str, rcode: str = "NOERROR", flags: int = 0) -> Answer:
    """Answer with records such as `example.test. 300 IN A 192.0.2.1`."""

    def answer(query: dns.message.Message) -> list[bytes]:
        reply = dns.message.make_response(query)
        reply.set_rcode(dns.rcode.from_text(rcode))
        reply.flags |= flags
        for row in rows:
            name, ttl, _class, kind, data = row.split(" ", 4)
            new = dns.rrset.from_text(name, int(ttl), _class, kind, data)
            known = reply.find_rrset(reply.answer, new.name, new.rdclass, new.rdtype, create=True)
            known.update(new)
        return [reply.to_wire(max_size=65535)]

    return answer


def silence(query: dns.message.Message) -> None:
    """Send no answer."""


def one_port(packets: socket.socket, streams: socket.socket, host: str) -> int:
    """Bind both sockets to one port: a port that is free for UDP may be taken for TCP, so look for a pair."""
    for _ in range(50):
        streams.bind((host, 0))
        port: int = streams.getsockname()[1]
        try:
            packets.bind((host, port))
        except OSError:
            # a bound socket cannot be bound again: begin anew with a fresh one under the same number
            fresh = socket.socket(streams.family, socket.SOCK_STREAM)
            os.dup2(fresh.fileno(), streams.fileno())
            fresh.close()
        else:
            return port
    raise OSError("no port is free for UDP and TCP")


@contextmanager
def dns_server(udp: Answer, tcp: Answer | None = None, host: str = "127.0.0.1") -> Iterator[DnsServer]:
    """Serve until the block ends. Without `tcp`, connections over TCP are refused."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    closing = threading.Event()
    with socket.socket(family, socket.SOCK_DGRAM) as packets, socket.socket(family, socket.SOCK_STREAM) as streams:
        server = DnsServer(host, one_port(packets, streams, host))
        packets.settimeout(0.05)
        streams.settimeout(0.05)
        if tcp is not None:
            streams.listen()

        def over_udp() -> None:
            while not closing.is_set():
                with suppress(TimeoutError):
                    wire, sender = packets.recvfrom(65535)
                    query = dns.message.from_wire(wire)
                    server.udp.append(query)
                    for packet in udp(query) or []:
                        packets.sendto(packet, sender)

        def over_tcp() -> None:
            while tcp is not None and not closing.is_set():
                with suppress(OSError):
                    sock, _ = streams.accept()
                    with sock:
                        sock.settimeout(5)
                        wire = sock.recv(65535)
                        query = dns.message.from_wire(wire[2:])
                        server.tcp.append(query)
                        for message in tcp(query) or []:
                            sock.sendall(len(message).to_bytes(2, "big") + message)

        threads = [threading.Thread(target=work) for work in (over_udp, over_tcp)]
        for thread in threads:
            thread.start()
        try:
            yield server
        finally:
            closing.set()
            for thread in threads:
                thread.join()
