"""Processes on one PostgreSQL behind a round-robin balancer answer as one process does.

The control of each: the same two processes, each with books of its own, as before.
"""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
import requests

from tests.support.collector_client import batch_of, make_result
from tests.support.collector_process import run, serve
from tests.support.postgres import Postgres, running
from tests.support.round_robin import PROCESS, RoundRobin, round_robin
from tests.support.survivors import spawning

pytestmark = [pytest.mark.process]

ALONE = """
import sigprobe.collector.app, sigprobe.collector.access.queries, sigprobe.collector.access.token_check
sigprobe.collector.app._books = lambda *_: None
sigprobe.collector.access.queries.note_wrong_try = lambda *_: (1, 0.0)
sigprobe.collector.access.token_check.KNOWN_S = 1e6
"""
QUICK = """
import sigprobe.collector.access.token_check
sigprobe.collector.access.token_check.KNOWN_S = 0.5
"""
PIECE = 65_536


@pytest.fixture(scope="module", params=[True, False], ids=["shared", "control: each for itself"])
def together(
    request: pytest.FixtureRequest, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RoundRobin, bool]]:
    """Two processes behind nginx, and whether they share."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("round-robin") / "nginx"
    patch = QUICK if request.param else ALONE
    with round_robin(folder, port, postgres.new_database(), "--throughput-daily-mb", "4", patch=patch) as front:
        yield front, request.param


def begin(url: str, token: str | None, length: int, session: str | None = None) -> socket.socket:
    """Open an upload; its body is still to come."""
    where = urlsplit(url)
    sock = socket.create_connection((where.hostname, where.port), 60)
    query = "" if session is None else f"?session={session}"
    bearer = "" if token is None else f"Authorization: Bearer {token}\r\n"
    head = f"POST /backend/empty{query} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{bearer}\r\n"
    sock.sendall(head.encode())
    return sock


def received(front: RoundRobin, session: str, token: str) -> int:
    """The bytes of a session, as the next process tells them; on a busy machine another may be late with its part."""
    end = time.monotonic() + 60
    while (answer := front.get(f"backend/received?session={session}", token)).status_code == 503:
        assert time.monotonic() < end, answer.text
    return int(answer.json()["bytes"])


def status(sock: socket.socket) -> int:
    """The status of an answer."""
    return int(sock.recv(12).split(b" ")[1])


def test_an_upload_over_several_processes_is_counted_whole(together: tuple[RoundRobin, bool]) -> None:
    """Four streams over two processes: whichever is asked tells all bytes, and one timeline of them."""
    front, shared = together
    token, session = front.token(), str(uuid.uuid4())
    whole = 4 * 8 * PIECE  # half of the day's bytes
    with ExitStack() as stack:
        streams = [stack.enter_context(begin(front.url, token, 8 * PIECE, session)) for _ in range(4)]
        for _ in range(8):
            for stream in streams:
                stream.sendall(bytes(PIECE))
            time.sleep(0.02)
        assert [status(stream) for stream in streams] == [200] * 4
    answers = [front.get(f"backend/received?session={session}", token) for _ in range(4)]
    assert len({answer.headers[PROCESS] for answer in answers}) == 2, "both processes are asked"
    reports = [answer.json() for answer in answers]
    assert [report["bytes"] for report in reports] == [whole if shared else whole // 2] * 4, reports
    for report in reports:
        samples = report["samples"]
        assert samples == sorted(samples) and samples[0][0] == 0 and samples[-1][1] == report["bytes"]
        assert [total for _, total in samples] == sorted(total for _, total in samples)


def test_a_cut_upload_is_counted_until_then(together: tuple[RoundRobin, bool]) -> None:
    """Our probe cuts its streams, and asks at once: a process that still reads says what it has until now."""
    front, shared = together
    token, session = front.token(), str(uuid.uuid4())
    with ExitStack() as stack:
        streams = [stack.enter_context(begin(front.url, token, 10**9, session)) for _ in range(2)]
        for stream in streams:
            stream.sendall(bytes(4 * PIECE))
        end = time.monotonic() + 60
        counts: set[int] = set()
        while 8 * PIECE not in counts and time.monotonic() < end:
            counts.add(received(front, session, token))
            if not shared and 4 * PIECE in counts:
                break
    assert max(counts) == (8 if shared else 4) * PIECE
    for _ in range(2):
        assert received(front, session, token) == max(counts)


def test_the_day_s_bytes_are_those_of_one(together: tuple[RoundRobin, bool]) -> None:
    """Of 4 MB a token gets three blocks of a MiB, wherever it asks; the next is refused until the day is over."""
    front, shared = together
    token = front.token()
    found = [front.get("backend/garbage?ckSize=1", token) for _ in range(8)]
    assert [answer.status_code for answer in found] == ([200] * 3 + [429] * 5 if shared else [200] * 6 + [429] * 2)
    assert 86_000 < int(found[-1].headers["Retry-After"]) <= 86_400 or not shared


def test_places_are_those_of_one(together: tuple[RoundRobin, bool]) -> None:
    """A client has eight streams at once over all processes; one that ends makes room in another process, too."""
    front, shared = together
    token = front.token()
    with ExitStack() as stack:
        streams = [stack.enter_context(begin(front.url, token, 2)) for _ in range(8)]
        for stream in streams:
            stream.sendall(b"x")
        end = time.monotonic() + 60
        while "sigprobe" not in front.get("backend/empty", token).headers and time.monotonic() < end:
            ninth = stack.enter_context(begin(front.url, token, 1))
            ninth.sendall(b"x")
            if status(ninth) == 429 or not shared:
                break
        else:
            raise AssertionError("a ninth stream was always admitted")
        if not shared:
            return
        streams[0].sendall(b"x")
        assert status(streams[0]) == 200
        for _ in range(2):  # one at each process
            again = stack.enter_context(begin(front.url, token, 1))
            again.sendall(b"x")
            assert status(again) == 200


def test_wrong_sign_ins_are_counted_together(together: tuple[RoundRobin, bool]) -> None:
    """The tenth wrong token of an address gets 429, whichever processes the first nine came to."""
    front, shared = together
    found = [
        requests.post(
            front.url + "login", data={"token": "wrong"}, headers={"X-Client": "192.0.2.77"}, timeout=60
        ).status_code
        for _ in range(12)
    ]
    assert found == ([401] * 9 + [429] * 3 if shared else [401] * 12)


def test_a_session_of_one_process_is_known_to_the_other(together: tuple[RoundRobin, bool]) -> None:
    """Who has signed in at one process sees the page at each, and is signed out at each."""
    front, _ = together
    with requests.Session() as browser:
        answer = browser.post(
            front.url + "login", data={"token": front.token("admin")}, allow_redirects=False, timeout=60
        )
        cookie = answer.headers["Set-Cookie"].partition(";")[0]
        pages = [front.get("", headers={"Cookie": cookie}, allow_redirects=False) for _ in range(2)]
        assert [page.status_code for page in pages] == [200, 200]
        requests.post(front.url + "logout", headers={"Cookie": cookie}, allow_redirects=False, timeout=60)
        pages = [front.get("", headers={"Cookie": cookie}, allow_redirects=False) for _ in range(2)]
        assert [page.status_code for page in pages] == [303, 303]


def test_a_revoked_token_is_refused_by_each(together: tuple[RoundRobin, bool]) -> None:
    """Each process asks anew when what it knows is too old; here after half a second in place of 20."""
    front, shared = together
    token = front.token()

    def sent() -> list[int]:
        return [server.post(batch_of(make_result()), token).status_code for server in front.servers]

    assert sent() == [200, 200]
    assert run("token", "revoke", f"probe-{front._tokens}", database=front.database).returncode == 0
    end = time.monotonic() + 60
    while shared and sent() != [401, 401]:
        assert time.monotonic() < end, "a revoked token goes on working"
        time.sleep(0.1)
    assert sent() == ([401, 401] if shared else [200, 200])


def test_without_its_database_nothing_is_reported_or_granted(tmp_path_factory: pytest.TempPathFactory) -> None:
    """One process's count would be too low: it is withheld, and the speed test refused, until the database is back."""
    with running() as server, spawning() as spawn:
        # open on loopback: no token is looked up, so the books alone decide
        one = serve(spawn, server.new_database())
        session = str(uuid.uuid4())
        with begin(one.url, None, 2 * PIECE, session) as stream:
            stream.sendall(bytes(PIECE))
            path = one.url + f"backend/received?session={session}"
            end = time.monotonic() + 60
            while requests.get(path, timeout=60).json().get("bytes") != PIECE:
                assert time.monotonic() < end
            server.stop("immediate")
            away = requests.get(path, timeout=60)
            with begin(one.url, None, 1, str(uuid.uuid4())) as other:
                other.sendall(b"x")
                refused = status(other)
            # what runs goes on, and is counted
            stream.sendall(bytes(PIECE))
            assert status(stream) == 200
        assert (away.status_code, refused) == (503, 503)
        assert int(away.headers["Retry-After"]) > 0 and away.json()["sigprobe"] == 1
        # without limits and without a session there is nothing to keep
        assert requests.get(one.url + "backend/garbage?bytes=1000", timeout=60).status_code == 200
        server.start()
        end = time.monotonic() + 60
        while (again := requests.get(path, timeout=60)).status_code != 200:
            assert time.monotonic() < end, again.text
            time.sleep(0.2)
        assert again.json()["bytes"] == 2 * PIECE, "the crash emptied the table, and the process wrote it anew"


def test_the_part_of_a_killed_process_is_missed(postgres: Postgres) -> None:
    """A process that was killed cannot say what it had: then no figure is given, rather than one that is too low."""
    database = postgres.new_database()
    with spawning() as spawn:
        one, other = serve(spawn, database), serve(spawn, database)
        session = str(uuid.uuid4())
        path = f"backend/received?session={session}"
        with begin(one.url, None, 10**9, session) as first, begin(other.url, None, 10**9, session) as second:
            for stream in (first, second):
                stream.sendall(bytes(PIECE))
            end = time.monotonic() + 60
            while requests.get(other.url + path, timeout=60).json().get("bytes") != 2 * PIECE:
                assert time.monotonic() < end
            one.process.kill()
            one.process.wait(20)
            missed = requests.get(other.url + path, timeout=60)
        assert missed.status_code == 503 and int(missed.headers["Retry-After"]) > 0
