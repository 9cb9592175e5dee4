"""A server that speaks what speedtest-cli asks of its vendor, for comparisons on links of our own.

    python bench/speedtest_server.py ADDRESS

It answers on port 80 of ADDRESS for the configuration, the list of servers (itself alone) and the data; the client's
hosts file must point www.speedtest.net there. Standard library alone.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from contextlib import suppress

CONFIG = """<?xml version="1.0"?><settings>
<client ip="192.0.2.1" lat="-6.9" lon="107.6" isp="x" country="ID"/>
<server-config threadcount="4" ignoreids=""/>
<download testlength="10" initialtest="250K" mintestsize="250K" threadsperurl="4"/>
<upload testlength="10" ratio="5" initialtest="0" mintestsize="32K" threads="2" maxchunksize="512K"
 maxchunkcount="50" threadsperurl="4"/></settings>"""

SIZES = {
    "350": 245_388,
    "500": 505_544,
    "750": 1_118_012,
    "1000": 1_986_284,
    "1500": 4_468_241,
    "2000": 7_907_740,
    "2500": 12_407_926,
    "3000": 17_816_816,
    "3500": 24_262_167,
    "4000": 31_625_365,
}
"""Bytes of the pictures that stand for each size."""

BLOCK = os.urandom(1 << 20)


def head(status: str, length: int) -> bytes:
    """The head of an answer."""
    return f"HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n".encode()


def serve(sock: socket.socket, address: str) -> None:
    """Answer one request and close."""
    with sock, suppress(OSError):
        data = b""
        while b"\r\n\r\n" not in data:
            piece = sock.recv(65536)
            if not piece:
                return
            data += piece
        lines, _, body = data.partition(b"\r\n\r\n")
        path = lines.split(b" ")[1].decode("latin-1").partition("?")[0]
        if path.endswith("upload.php"):
            length = next(
                (int(x.split(b":")[1]) for x in lines.split(b"\r\n") if x.lower().startswith(b"content-length:")), 0
            )
            left = length - len(body)
            buffer = bytearray(1 << 18)
            while left > 0 and (count := sock.recv_into(buffer)):
                left -= count
            text = f"size={length}".encode()
            sock.sendall(head("200 OK", len(text)) + text)
            return
        if "/random" in path:
            left = SIZES.get(path.rpartition("x")[2].removesuffix(".jpg"), 245_388)
            sock.sendall(head("200 OK", left))
            while left > 0:
                left -= sock.send(memoryview(BLOCK)[:left])
            return
        answers = {
            "/speedtest-config.php": CONFIG,
            "/speedtest-servers-static.php": (
                f'<settings><servers><server url="http://{address}/speedtest/upload.php" lat="-6.2" lon="106.8" '
                f'name="x" country="x" sponsor="x" id="1" host="{address}:80"/></servers></settings>'
            ),
        }
        text = (answers.get(path) or ("test=test\n" if path.endswith("latency.txt") else "")).encode()
        sock.sendall(head("200 OK" if text else "404 Not Found", len(text)) + text)


def main() -> None:
    """Serve until killed."""
    address = sys.argv[1]
    with socket.create_server((address, 80), backlog=128) as listener:
        print("ready", flush=True)
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=serve, args=(sock, address), daemon=True).start()


if __name__ == "__main__":
    main()
