"""Promise 13: bombs and garbage are harmless to the collector."""

from __future__ import annotations

import gzip
import http.client
import json
import random
import socket
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

import pytest

from sigprobe.protocol import batches
from tests.support.hostile_records import ODD_VALUES
from tests.support.postgres import Postgres
from tests.trials.faults.fault_site import Site, records
from tests.trials.faults.trial import SHARE, Trial, hold

MOST_GROWTH_KB: Final = 64 * 1024
FUZZ_S: Final = max(2.0, 3600.0 * SHARE)

GULLIBLE: Final = """
import gzip
from sigprobe.collector.ingest import api as batches
batches.unpack = lambda body, encoding: iter([gzip.decompress(body)])
"""
"""A collector that unpacks what it is sent and looks at it afterwards."""

BLIND: Final = """
from sigprobe.collector.ingest import records
records._fault = lambda record: None
"""
"""A collector that takes any JSON object with an id for a record."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Provide a running collector over SQLite."""
    with Site(tmp_path / "site") as site:
        yield site


def bomb(pattern: bytes, size: int) -> bytes:
    """Return a gzip body that unpacks to `size` bytes of `pattern`, made of one block repeated."""
    block = pattern * (16 * 1024 * 1024 // len(pattern))
    packer = zlib.compressobj(9, wbits=-15)
    packed = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    times = size // len(block)
    crc = 0
    for _ in range(times):
        crc = zlib.crc32(block, crc)
    end = b"\x03\x00" + crc.to_bytes(4, "little") + (times * len(block) & 0xFFFFFFFF).to_bytes(4, "little")
    return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff" + packed * times + end


def post(site: Site, body: bytes, *, chunked: bool = False, **headers: str) -> tuple[int, bytes]:
    """Send a body as a batch, if asked in chunks without a length."""
    batch = batches.Batch("b-1", body, batches.content_digest(body), (), 0)
    sent = batches.batch_headers(batch, site.token) | {name.replace("_", "-"): value for name, value in headers.items()}
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
    try:
        pieces = (body[at : at + 65_536] for at in range(0, len(body), 65_536))
        with suppress(BrokenPipeError, ConnectionResetError):
            # a server that has heard enough may answer before all is sent
            connection.request("POST", "/v1/batches", pieces if chunked else body, sent, encode_chunked=chunked)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def hold_harmless(site: Site, body: bytes, times: int, *, chunked: bool = False) -> int:
    """Hold that each body is refused with our 413 and memory grows by less than 64 MB; returns the growth in kB."""
    before = site.memory_kb("VmHWM")
    for _ in range(times):
        status, said = post(site, body, chunked=chunked)
        growth = site.memory_kb("VmHWM") - before
        hold(growth < MOST_GROWTH_KB, "memory", f"{growth} kB")
        hold(status == 413, "not-413", f"{status}")
        hold(json.loads(said)["sigprobe"] == 1, "not-ours", repr(said[:100]))
    return growth


@pytest.mark.timeout(600)
def test_bombs(trial: Callable[..., Trial], site: Site, tmp_path: Path) -> None:
    """1 GiB in 1 MiB of gzip, 900 MB in 0.9 MB, both by chunks too, and lines without end: 413, and flat memory."""
    run = trial(13, "bombs", short=2, full=50)
    body = gzip.compress(b"\n".join(line for _, line in records(500, run.random)))
    assert post(site, body)[0] == 200  # honest work first: growth is measured against it
    big, smaller = bomb(b"\0", 1 << 30), bomb(b"\0", 900_000_000)
    lines = bomb(records(1, run.random)[0][1] + b"\n", 128 << 20)
    for one in (big, smaller, lines):
        assert len(one) <= batches.MAX_COMPRESSED_BYTES
    growth = [
        hold_harmless(site, one, run.n, chunked=chunked) for one in (big, smaller, lines) for chunked in (False, True)
    ]
    # not gzip at all, and too long whatever it says of itself
    growth.append(hold_harmless(site, b"\0" * 40_000_000, 1, chunked=True))
    assert post(site, body)[0] == 200
    with run.expect_failure("memory"), Site(tmp_path / "gullible", patch=GULLIBLE) as gullible:
        assert post(gullible, body)[0] == 200
        hold_harmless(gullible, bomb(b"\0", 128 << 20), 1)
    run.report(0, n=run.n * 6 + 1, most_growth_mb=round(max(growth) / 1024, 1))


# --- garbage ------------------------------------------------------------------------------------------------

_PATHS: Final = (
    "/", "/v1/results", "/v1/batches", "/healthz", "/metrics", "/openapi.json", "/login", "/results", "/results/ODD",
    "/static/../x", "/backend/empty", "/backend/received", "/backend/getIP", "/%ff%00", "/ODD",
)  # fmt: skip

Request = tuple[str, str, bytes, dict[str, str]]

TOO_LONG: Final = "x" * 70_000
_ODD_HEADERS: Final = (
    "", " ", "\t", "sha-256=::", "sha-256=:AAAA:", "sha-256=:!:", "gzip, gzip", "deflate", "identity", "br", '"', '""',
    "Bearer", "Bearer ", "Basic Zm9v", "bearer x", "-1", "0", "1e3", "99999999999999999999", "é", "a" * 5_000, "*/*",
)  # fmt: skip


def garbled_line(rng: random.Random) -> bytes:
    """Return a valid record with one fault at any depth, as JSON or as bytes."""
    line = records(1, rng)[0][1]
    style = rng.randrange(6)
    if style == 0:
        at = rng.randrange(len(line))
        return line[:at] + rng.randbytes(rng.randrange(1, 4)) + line[at + rng.randrange(3) :]
    if style == 1:
        return rng.randbytes(rng.randrange(200)).replace(b"\n", b"")
    if style == 2:
        return b"[" * rng.randrange(1, 30_000)
    if style == 3:
        return line.replace(b'"seq":1', b'"seq":' + b"9" * rng.randrange(1, 6_000))
    record = json.loads(line)
    place = record
    while True:
        name = rng.choice(list(place))
        if isinstance(place[name], dict) and place[name] and rng.random() < 0.7:
            place = place[name]
            continue
        if style == 4:
            del place[name]
        else:
            place[name] = rng.choice((*ODD_VALUES, TOO_LONG))
        return json.dumps(record).encode("utf-8", "surrogatepass")


def garbage(rng: random.Random, site: Site) -> Request:
    """Return a request that no probe sends: any path, header and body, mostly with a valid token."""
    body = gzip.compress(b"\n".join(garbled_line(rng) for _ in range(rng.randrange(1, 6))), compresslevel=1)
    if rng.random() < 0.3:
        at = rng.randrange(len(body))
        body = body[:at] + rng.randbytes(rng.randrange(20)) + body[at + rng.randrange(20) :]
    headers = batches.batch_headers(
        batches.Batch(str(rng.random()), body, batches.content_digest(body), (), 0), site.token
    )
    if rng.random() < 0.3:
        headers[rng.choice([*headers, "Transfer-Encoding", "Content-Length", "Expect", "Cookie", "Host"])] = rng.choice(
            _ODD_HEADERS
        )
    if rng.random() < 0.75:
        return "POST", "/v1/batches", body, headers
    headers["Authorization"] = f"Bearer {rng.choice([site.admin, site.token, 'x'])}"
    words = ("limit", "cursor", "tps_id", "operator", "outcome", "before", "once", "session", "ckSize", "page")
    odd = [str(value)[:2_000].encode("utf-8", "replace").decode() for value in ODD_VALUES]
    query = "&".join(f"{rng.choice(words)}={quote(rng.choice(odd))}" for _ in range(rng.randrange(4)))
    path = rng.choice(_PATHS).replace("ODD", quote(rng.choice(odd)[:100]))
    return rng.choice(("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "BREW")), f"{path}?{query}", b"", headers


def ask(site: Site, request: Request) -> int | None:
    """Return the status of the answer; None if the server closed the connection or sending failed."""
    method, path, body, headers = request
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=15)
    try:
        connection.request(method, path, body, {k: v.encode("latin-1", "replace") for k, v in headers.items()})
        answer = connection.getresponse()
        answer.read(100_000)
        return answer.status
    except TimeoutError:
        return 408  # a body announced and never sent: ours to wait for
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()


def raw(site: Site, data: bytes) -> None:
    """Send bytes that are not HTTP."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", site.port), 5) as connection:
        connection.settimeout(0.2)
        connection.sendall(data)
        connection.recv(100)


def fuzz(site: Site, run: Trial, seconds: float) -> Counter[int | None]:
    """Send garbage for so long, at least a hundred times: no answer is 500 or above, and everything still works."""
    seen: Counter[int | None] = Counter()
    until = time.monotonic() + seconds
    while time.monotonic() < until or sum(seen.values()) < 100:
        if run.random.random() < 0.05:
            raw(site, run.random.randbytes(run.random.randrange(1, 2_000)))
            continue
        request = garbage(run.random, site)
        status = ask(site, request)
        seen[status] += 1
        # with one sender there is nothing to shed, so 503 would be a fault of the collector too
        hold(status is None or status < 500, "server-error", f"{status}: {request!r:.1500}")
    assert site.process is not None
    hold(site.process.poll() is None, "crashed")
    hold(site.get("healthz")["status"] == "ok", "unhealthy")
    hold(b"Traceback" not in site.log.read_bytes(), "traceback", site.log.read_text()[-2_000:])
    return seen


def run_control(folder: Path, patch: str) -> int | None:
    """Send one record without `seq` to a separate collector, with a patch if given; returns the status."""
    record = json.loads(records(1, random.Random(1))[0][1])
    del record["seq"]
    body = gzip.compress(json.dumps(record).encode())
    with Site(folder, patch=patch) as site:
        status, said = post(site, body)
    hold(status < 500, "server-error", f"{status}: {said[:500]!r}")
    return status


@pytest.mark.timeout(0)
@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_garbage(trial: Callable[..., Trial], tmp_path: Path, engine: str) -> None:
    """Random bytes, mutated records, batches, headers and queries on every address: no 500, no crash, no traceback."""
    run = trial(13, f"fuzzing, {engine}", short=1, full=1)
    server = Postgres() if engine == "postgresql" else None
    try:
        if server is not None:
            server.start()
        with Site(tmp_path / "site", None if server is None else server.new_database()) as site:
            seen = fuzz(site, run, FUZZ_S / 2)
    finally:
        if server is not None:
            server.close()
    if server is None:
        assert run_control(tmp_path / "sound", "") == 200
        with run.expect_failure("server-error"):
            run_control(tmp_path / "blind", BLIND)
    count = sum(seen.values())
    assert seen[400] and seen[422], seen  # most of it did reach the code that reads batches
    run.report(0, n=count, answers=" ".join(f"{status}:{n}" for status, n in seen.most_common()))
