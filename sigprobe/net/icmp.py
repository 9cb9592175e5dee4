"""ICMP echo on an unprivileged or a raw socket, and the words that every way to ask for an echo shares.

icmplib makes the ICMP sockets. Sending and receiving is done here, since its own timing follows the wall clock.
"""

from __future__ import annotations

import errno
import os
import secrets
import selectors
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

Method = Literal["icmp-dgram", "icmp-raw", "tcp"]

TOKEN_BYTES: Final = 8
"""Random bytes at the head of each payload: an answer without them belongs to another program."""

_HEADER: Final = struct.Struct("!BBHHH")

# Linux numbers that Python's socket module does not name
_IP_RECVTTL: Final = 12
_IP_RECVERR: Final = 11
_IPV6_RECVERR: Final = 25
_IP_MTU_DISCOVER: Final = 10
_IPV6_MTU_DISCOVER: Final = 23
_PMTUDISC_PROBE: Final = 3
_SO_TIMESTAMPNS: Final = 35
_TIMESPEC: Final = struct.Struct("@ll")
_EXTENDED_ERROR: Final = struct.Struct("=IBBBBII")
_ORIGIN_ICMP: Final = 2
_ORIGIN_ICMP6: Final = 3

_CLOCK_SLACK_S: Final = 0.002


@dataclass(frozen=True, slots=True)
class Arrival:
    """Event for one echo: an answer (`cause` None) or the reason why there will be none.

    `at_s` is on the monotonic clock. `bytes` count from the IP header on.
    """

    seq: int
    at_s: float
    bytes: int
    cause: str | None = None
    detail: str | None = None
    ttl: int | None = None
    told_by: str | None = None  # the address of the router that sent an error


class Echo(Protocol):
    """One open way to one address."""

    method: Method
    request_bytes: int

    def send(self, seq: int) -> float:
        """Send one echo and return when, on the monotonic clock. Raises OSError when it cannot leave."""

    def receive(self, timeout_s: float) -> Sequence[Arrival]:
        """Wait for at least one arrival, at most `timeout_s`; empty when none came."""

    def close(self) -> None:
        """Close the sockets."""


class NotPermittedError(Exception):
    """This system does not let us open that kind of socket."""


def ip_header_bytes(family: int) -> int:
    """Return bytes of an IP header without options."""
    return 40 if family == socket.AF_INET6 else 20


def cause_of(error: OSError) -> str:
    """Return the failure code of a packet that could not leave this device."""
    return _ERRNO_CAUSES.get(error.errno or 0, "host_unreachable")


_ERRNO_CAUSES: Final = {
    errno.ENETUNREACH: "network_unreachable",
    errno.ENETDOWN: "network_unreachable",
    errno.EADDRNOTAVAIL: "network_unreachable",
    errno.EAFNOSUPPORT: "network_unreachable",
    errno.ENODEV: "network_unreachable",
    errno.EHOSTUNREACH: "host_unreachable",
    errno.EPERM: "permission",
    errno.EACCES: "permission",
    errno.EMSGSIZE: "packet_too_big",
    errno.ETIMEDOUT: "no_reply",
    errno.ENOBUFS: "no_reply",
    errno.EAGAIN: "no_reply",
}


def _icmp_cause(family: int, kind: int, code: int) -> str | None:
    """Return the failure code an ICMP error stands for (RFC 792, 1812, 4443); None when it is no error."""
    if family == socket.AF_INET6:
        known: dict[int, dict[int, str]] = {
            1: {0: "network_unreachable", 1: "filtered", 5: "filtered", 6: "network_unreachable"},
            2: {0: "packet_too_big"},
            3: {0: "ttl_exceeded"},
        }
        return known.get(kind, {}).get(code, "host_unreachable") if kind in (1, 2, 3, 4) else None
    if kind == 11:
        return "ttl_exceeded"
    if kind != 3:
        return None
    table: dict[int, str] = {0: "network_unreachable", 6: "network_unreachable", 4: "packet_too_big"}
    return table.get(code, "filtered" if code in (9, 10, 13) else "host_unreachable")


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071) of `data`."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class IcmpEcho:
    """ICMP echo on an unprivileged (`icmp-dgram`) or a raw (`icmp-raw`) socket, IPv4 or IPv6.

    Receive times are the kernel's where it stamps packets, carried over to the monotonic clock.
    """

    def __init__(
        self,
        address: tuple[Any, ...],
        family: int,
        size: int,
        *,
        raw: bool,
        df: bool = False,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Open the socket; with `df` no router may cut the packets, nor this device.

        Raises NotPermittedError, or OSError when the family is not there or `df` cannot be had.
        """
        self.method: Method = "icmp-raw" if raw else "icmp-dgram"
        self.request_bytes = ip_header_bytes(family) + _HEADER.size + size
        # a raw socket takes a port for a protocol number, and refuses any other than its own
        self._raw, self._family, self._address, self._size = raw, family, (address[0], 0, *address[2:]), size
        self._clock, self._wall = clock, wall
        self._token = secrets.token_bytes(TOKEN_BYTES)[:size]
        self._filler = bytes(i & 0xFF for i in range(size - TOKEN_BYTES))
        self._id = secrets.randbelow(0xFFFF) + 1
        self._sent: dict[int, tuple[float, float]] = {}
        self._echo, self._reply = (8, 0) if family == socket.AF_INET else (128, 129)
        self._handle, self._socket = _icmp_socket(family, raw)
        self._prepare()
        if df:
            self._forbid_cutting()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._socket, selectors.EVENT_READ)

    def _prepare(self) -> None:
        self._socket.setblocking(False)
        six = self._family == socket.AF_INET6
        level = socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP
        if sys.platform.startswith("linux"):
            wanted = [
                (socket.SOL_SOCKET, _SO_TIMESTAMPNS),
                (level, socket.IPV6_RECVHOPLIMIT if six else _IP_RECVTTL),
            ]
            if not self._raw:  # a raw socket is handed ICMP errors as packets
                wanted.append((level, _IPV6_RECVERR if six else _IP_RECVERR))
            for where, option in wanted:
                with suppress(OSError):
                    self._socket.setsockopt(where, option, 1)

    def never_fragment(self) -> None:
        """Forbid fragmentation of the packets, whatever path MTU the kernel has cached (Linux only)."""
        if sys.platform.startswith("linux"):
            six = self._family == socket.AF_INET6
            level, option = (socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER) if six else (socket.IPPROTO_IP, _IP_MTU_DISCOVER)
            with suppress(OSError):
                self._socket.setsockopt(level, option, _PMTUDISC_PROBE)

    def _forbid_cutting(self) -> None:
        if self._family == socket.AF_INET6:
            self._socket.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE)
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_DONTFRAG, 1)
        else:
            # "probe" sets the bit and ignores what the kernel has learned of the way: we are here to find out
            self._socket.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_PROBE)

    def _packet(self, seq: int) -> bytes:
        payload = self._token + self._filler
        head = _HEADER.pack(self._echo, 0, 0, self._id, seq)
        # the kernel fills in ICMPv6's sum, which covers addresses only it knows
        total = checksum(head + payload) if self._family == socket.AF_INET else 0
        return _HEADER.pack(self._echo, 0, total, self._id, seq) + payload

    def send(self, seq: int) -> float:
        """See Echo."""
        packet = self._packet(seq)
        for attempt in (0, 1):
            at_s = self._clock()
            self._sent[seq] = (at_s, self._wall() - at_s)
            try:
                self._socket.sendto(packet, self._address)
                return at_s
            except OSError:
                # an error that came back for an earlier packet is raised here once, instead of sending
                if attempt or self._raw:
                    raise
        raise AssertionError("not reached")

    def receive(self, timeout_s: float) -> Sequence[Arrival]:
        """See Echo."""
        if not self._selector.select(max(0.0, timeout_s)):
            return ()
        return [*self._answers(), *self._errors()]

    def _answers(self) -> Iterator[Arrival]:
        for _ in range(256):
            try:
                packet, notes, _flags, source = self._socket.recvmsg(self._size + 256, 512)
            except BlockingIOError:
                return
            except OSError:
                continue  # an error for a packet sent earlier; its details lie in the error queue
            now, offset = self._clock(), self._wall()
            found = self._read(packet, notes, str(source[0]), now, offset)
            if found is not None:
                yield found

    def _read(self, packet: bytes, notes: list[Any], source: str, now: float, wall: float) -> Arrival | None:
        ttl = _note_int(notes, socket.IPPROTO_IP, socket.IP_TTL)
        if ttl is None and self._family == socket.AF_INET6:
            ttl = _note_int(notes, socket.IPPROTO_IPV6, getattr(socket, "IPV6_HOPLIMIT", 52))
        if self._family == socket.AF_INET and (self._raw or sys.platform == "darwin"):
            if len(packet) < 20:
                return None
            ttl, packet = packet[8], packet[(packet[0] & 15) * 4 :]
        if len(packet) < _HEADER.size:
            return None
        kind, code, _sum, ident, seq = _HEADER.unpack_from(packet)
        size = len(packet) + ip_header_bytes(self._family)
        if kind == self._reply:
            if (ident != self._id and self._raw) or not self._is_ours(packet[_HEADER.size :], seq, source):
                return None
            return Arrival(seq, self._received_at(seq, notes, now, wall), size, ttl=ttl)
        cause = _icmp_cause(self._family, kind, code) if self._raw else None
        quoted = self._quoted(packet[_HEADER.size :]) if cause is not None else None
        if quoted is None:
            return None
        return Arrival(quoted, now, size, cause, f"ICMP type {kind} code {code} from {source}", told_by=source)

    def _is_ours(self, payload: bytes, seq: int, source: str) -> bool:
        """Return whether a reply belongs to one of our echoes.

        Some hosts send back less than they got. A payload too short for the token has to be its beginning, and to come
        from the address that was asked, for a number that was sent.
        """
        if len(payload) >= len(self._token):
            return payload.startswith(self._token)
        return self._token.startswith(payload) and seq in self._sent and self._same_address(source)

    def _same_address(self, source: str) -> bool:
        try:
            packed = [socket.inet_pton(self._family, str(a).partition("%")[0]) for a in (source, self._address[0])]
        except OSError:
            return False
        return packed[0] == packed[1]

    def _quoted(self, inner: bytes) -> int | None:
        """Return the sequence number of our echo that an ICMP error quotes, IP header first; None when not ours."""
        if self._family == socket.AF_INET6:
            offset, target, protocol = 40, inner[24:40], inner[6:7] == b"\x3a"
        else:
            offset, target, protocol = (inner[:1] or b"\0")[0] % 16 * 4, inner[16:20], inner[9:10] == b"\x01"
        if not protocol or len(inner) < offset + _HEADER.size:
            return None
        kind, _code, _sum, ident, seq = _HEADER.unpack_from(inner, offset)
        wanted = socket.inet_pton(self._family, str(self._address[0]).partition("%")[0])
        return int(seq) if kind == self._echo and ident == self._id and target == wanted else None

    def _received_at(self, seq: int, notes: list[Any], now: float, wall: float) -> float:
        """Move the kernel's wall-clock stamp to the monotonic clock; `now` where that cannot be trusted."""
        sent = self._sent.get(seq)
        stamp = next(
            (
                _TIMESPEC.unpack(data)
                for level, kind, data in notes
                if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS and len(data) == _TIMESPEC.size
            ),
            None,
        )
        if sent is None or stamp is None:
            return now
        if abs((wall - now) - sent[1]) > _CLOCK_SLACK_S:
            return now  # the wall clock was set while the packet was in transit
        moved = now - (wall - (stamp[0] + stamp[1] / 1e9))
        return float(moved) if sent[0] <= moved <= now else now

    def _errors(self) -> Iterator[Arrival]:
        if self._raw or not hasattr(socket, "MSG_ERRQUEUE"):
            return
        for _ in range(256):
            try:
                packet, notes, _flags, _ = self._socket.recvmsg(self._size + 256, 1024, socket.MSG_ERRQUEUE)
            except OSError:
                return
            for _level, kind, data in notes:
                if kind not in (_IP_RECVERR, _IPV6_RECVERR) or len(data) < _EXTENDED_ERROR.size:
                    continue
                number, origin, icmp, code, *_rest = _EXTENDED_ERROR.unpack_from(data)
                if len(packet) < _HEADER.size:
                    continue
                seq = int(_HEADER.unpack_from(packet)[4])
                cause = None
                if origin in (_ORIGIN_ICMP, _ORIGIN_ICMP6):
                    cause = _icmp_cause(self._family, icmp, code)
                cause = cause or cause_of(OSError(number, ""))
                detail = f"ICMP type {icmp} code {code}" if origin else os.strerror(number)
                # the error carries our packet's head behind an IP header and eight bytes of its own
                yield Arrival(seq, self._clock(), self.request_bytes, cause, detail)

    def close(self) -> None:
        """See Echo."""
        self._selector.close()
        self._handle.close()


def _icmp_socket(family: int, raw: bool) -> tuple[Any, socket.socket]:
    import icmplib

    make = icmplib.ICMPv4Socket if family == socket.AF_INET else icmplib.ICMPv6Socket
    try:
        handle = make(privileged=raw)
    except icmplib.SocketPermissionError as error:
        raise NotPermittedError(str(error)) from error
    except icmplib.ICMPSocketError as error:
        raise OSError(errno.EAFNOSUPPORT, str(error)) from error
    return handle, handle.sock


def _note_int(notes: list[Any], level: int, kind: int) -> int | None:
    for at, name, data in notes:
        if (at, name) == (level, kind) and len(data) >= 4:
            return int(struct.unpack_from("@i", data)[0])
    return None
