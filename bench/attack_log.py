"""Send a collector nothing but requests that it refuses, and weigh its log.

    python bench/attack_log.py

Wrong tokens, wrong forms, batches without a header, broken HTTP, half-sent heads and pages that are not there, as fast
as they are answered. Goals: <= 20 bytes of log for each refused request, and <= 5 kB a second. Exit code 1 when missed.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bench.overload import Goals, make_tokens  # noqa: E402

PER_REQUEST_B = 20
PER_SECOND_B = 5000
SECONDS = 15.0

PLAIN = b"Host: x\r\nConnection: close\r\n"


def attacks(token: str) -> list[bytes]:
    """Return requests that are refused in different ways."""
    right = f"Authorization: Bearer {token}\r\n".encode()
    wrong = b"Authorization: Bearer sigprobe-admin-wrong\r\n"
    form = b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 11\r\n\r\ntoken=wrong"
    return [
        b"GET /v1/results HTTP/1.1\r\n" + PLAIN + wrong + b"\r\n",
        b"POST /v1/batches HTTP/1.1\r\n" + PLAIN + wrong + b"Content-Length: 0\r\n\r\n",
        b"POST /v1/batches HTTP/1.1\r\n" + PLAIN + right + b"Content-Length: 0\r\n\r\n",
        b"POST /v1/batches HTTP/1.1\r\n" + PLAIN + right + b"Idempotency-Key: a\r\nContent-Length: 3\r\n\r\nabc",
        b"POST /login HTTP/1.1\r\n" + PLAIN + form,
        b"GET /nowhere HTTP/1.1\r\n" + PLAIN + b"Accept: text/html\r\n\r\n",
        b"GET /v1/results HTTP/1.1\r\n" + PLAIN + right + b"\r\n",
        b"no http at all\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"POST /v1/batches HTTP/1.1\r\nHost: x\r\n",
    ]


async def attack(host: str, port: int, requests: list[bytes]) -> int:
    """Send all of them again and again from 20 connections; how many were sent."""
    end = time.monotonic() + SECONDS
    sent = 0

    async def one(number: int) -> None:
        nonlocal sent
        while time.monotonic() < end:
            number += 1
            with suppress(OSError, TimeoutError):
                reader, writer = await asyncio.open_connection(host, port)
                try:
                    writer.write(requests[number % len(requests)])
                    async with asyncio.timeout(0.5):
                        await reader.read()
                finally:
                    writer.transport.abort()
            sent += 1

    await asyncio.gather(*(one(number) for number in range(20)))
    return sent


def main() -> int:
    """Run the bench; 1 when a goal was missed."""
    goals = Goals()
    with tempfile.TemporaryDirectory(prefix="sigprobe-log-") as folder:
        database = f"sqlite:///{folder}/collector.db"
        tokens, _ = make_tokens(database, 1)
        log = Path(folder) / "log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "sigprobe", "collector", "serve", "--port", "0"],
                env={**os.environ, "SIGPROBE_DATABASE": database},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=file,
            )
        try:
            end = time.monotonic() + 60
            while (found := re.search(r"http://\S+/(?=\n)", log.read_text(encoding="utf-8"))) is None:
                assert time.monotonic() < end, "the collector did not start"
                time.sleep(0.1)
            parts = urlsplit(found[0])
            assert parts.hostname is not None and parts.port is not None
            before = log.stat().st_size
            sent = asyncio.run(attack(parts.hostname, parts.port, attacks(tokens[0])))
            size = log.stat().st_size - before
        finally:
            process.terminate()
            process.wait(20)
        print(f"{sent} requests refused in {SECONDS:.0f} s, {size} bytes of log")
        for line in log.read_text(encoding="utf-8").splitlines()[-3:]:
            print(f"  {line[:160]}")
    goals.hold("log for a refused request, bytes", size / sent, size / sent <= PER_REQUEST_B, f"<= {PER_REQUEST_B}")
    goals.hold("log, bytes a second", size / SECONDS, size / SECONDS <= PER_SECOND_B, f"<= {PER_SECOND_B}")
    return 1 if goals.missed else 0


if __name__ == "__main__":
    sys.exit(main())
