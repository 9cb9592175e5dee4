"""The collector's speed-test endpoints, over real sockets, with an ordinary HTTP client."""

from __future__ import annotations

import http.client
import json
import time
import uuid
from contextlib import closing
from urllib.parse import urlsplit

import pytest
import requests

from sigprobe.collector.speedtest.api import MIB
from tests.support.servers.speedtests import collector, settings

SESSION = "0b6b2f0e-58a2-4d6e-9a53-0d6f1a6f7c11"


def test_garbage_is_as_long_as_asked_and_cannot_be_compressed() -> None:
    """`ckSize` MiB of bytes that no zip makes smaller, 4 when nothing sensible is asked, never more than 100."""
    import zlib

    with collector() as url, requests.Session() as client:
        two = client.get(url + "backend/garbage?ckSize=2")
        assert len(two.content) == 2 * MIB
        assert len(zlib.compress(two.content[:MIB])) >= MIB
        assert two.headers["Content-Type"] == "application/octet-stream"
        assert two.headers["Cache-Control"] == "no-store, no-transform"
        for query in ("", "?ckSize=0", "?ckSize=-1", "?ckSize=lots"):
            assert len(client.get(url + "backend/garbage.php" + query).content) == 4 * MIB
        with client.get(url + "backend/garbage?ckSize=5000", stream=True) as most:
            assert int(most.headers["Content-Length"]) == 100 * MIB


def test_librespeed_names_and_cors() -> None:
    """LibreSpeed's clients find every endpoint with and without .php, from another origin, preflight included."""
    with collector() as url, requests.Session() as client:
        for name in ("empty", "empty.php"):
            for answer in (client.get(url + "backend/" + name), client.post(url + "backend/" + name, data=b"x" * 9)):
                assert (answer.status_code, answer.content) == (200, b"")
                assert answer.headers["Connection"] == "keep-alive"
                assert answer.headers["Access-Control-Allow-Origin"] == "*"
        for name in ("getIP", "getIP.php"):
            answer = client.get(url + f"backend/{name}?isp=true&distance=km")
            assert answer.json() == {"processedString": "127.0.0.1", "rawIspInfo": ""}
        for name in ("garbage", "empty", "getIP.php"):
            answer = client.options(url + "backend/" + name)
            assert answer.status_code in (200, 204)
            assert "Content-Encoding, Content-Type" in answer.headers["Access-Control-Allow-Headers"]
            assert "POST" in answer.headers["Access-Control-Allow-Methods"]


def test_received_counts_what_arrived_even_when_the_upload_is_cut() -> None:
    """Bytes count as they stream in: an upload that announced more and was cut still shows what came."""
    with collector() as url:
        where = urlsplit(url)
        with closing(http.client.HTTPConnection(where.hostname or "", where.port, timeout=5)) as cut:
            cut.putrequest("POST", f"/backend/empty?session={SESSION}")
            cut.putheader("Content-Length", "5000000")
            cut.endheaders()
            cut.send(b"x" * 1_000_000)
            report = wait_for(url, 1_000_000)
        assert report["session"] == SESSION
        assert report["samples"][-1][1] == 1_000_000
        assert report["elapsed_s"] >= 0
        requests.post(url + f"backend/empty?session={SESSION}", data=b"x" * 500_000, timeout=5)
        assert wait_for(url, 1_500_000)["bytes"] == 1_500_000
        other = requests.get(url + f"backend/received?session={uuid.uuid4()}", timeout=5).json()
        assert (other["bytes"], other["elapsed_s"], other["samples"]) == (0, None, [])
        assert requests.get(url + "backend/received?session=../x", timeout=5).status_code == 400


def wait_for(url: str, count: int) -> dict[str, object]:
    """The session's report once `count` bytes are in it."""
    until = time.monotonic() + 5
    while True:
        report: dict[str, object] = requests.get(url + f"backend/received?session={SESSION}", timeout=5).json()
        if report["bytes"] == count or time.monotonic() > until:
            return report


def test_token_mode_wants_a_token_for_everything_but_the_preflight() -> None:
    """Without the right token there is no byte of data, and the refusal says that it is ours."""
    with collector(settings(mode="token")) as url:
        for name in ("garbage", "empty", "received"):
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic right"}):
                answer = requests.get(url + "backend/" + name, headers=headers, timeout=5)
                assert answer.status_code == 401
                assert answer.headers["Content-Type"] == "application/problem+json"
                assert json.loads(answer.content)["sigprobe"] == 1
        right = {"Authorization": "Bearer right"}
        assert requests.get(url + "backend/garbage?ckSize=1", headers=right, timeout=5).status_code == 200
        assert requests.options(url + "backend/garbage", timeout=5).status_code == 204


def test_off_means_not_there() -> None:
    """In mode off no endpoint exists."""
    with collector(settings(mode="off")) as url:
        assert requests.get(url + "backend/empty", timeout=5).status_code == 404


def test_an_address_has_its_daily_allowance() -> None:
    """What an address has used counts in both directions; over it comes 429 with Retry-After, others go on."""
    with collector(settings(daily_mb=5), address_of=lambda r: r.headers.get("x-test", "192.0.2.1")) as url:
        assert len(requests.get(url + "backend/garbage?ckSize=2", timeout=5).content) == 2 * MIB
        assert requests.post(url + "backend/empty", data=b"x" * 1_000_000, timeout=5).status_code == 200
        # of the 1.9 MB that are left, one whole block may still be sent
        assert len(requests.get(url + "backend/garbage?ckSize=100", timeout=5).content) == MIB
        for answer in (
            requests.get(url + "backend/garbage?ckSize=1", timeout=5),
            requests.post(url + "backend/empty", data=b"x" * 1_000_000, timeout=5),
        ):
            assert answer.status_code == 429
            assert 1 <= int(answer.headers["Retry-After"]) <= 86_400
            assert answer.json()["sigprobe"] == 1
        other = requests.get(url + "backend/garbage?ckSize=1", headers={"x-test": "192.0.2.2"}, timeout=5)
        assert other.status_code == 200


def test_none_a_day_refuses_everybody_but_loopback() -> None:
    """`daily_mb` 0 is no data for addresses from outside; the machine itself has no limit."""
    outside = collector(settings(daily_mb=0), address_of=lambda _: "2001:db8::7")
    with outside as url, collector(settings(daily_mb=0)) as own:
        assert requests.get(url + "backend/garbage", timeout=5).status_code == 429
        assert requests.get(own + "backend/garbage?ckSize=1", timeout=5).status_code == 200


@pytest.mark.parametrize("header", ["192.0.2.9", "10.0.0.1, 192.0.2.9"])
def test_behind_a_proxy_the_last_forwarded_address_counts(header: str) -> None:
    """A client cannot choose its own address by sending the header itself; loopback is nothing special there."""
    with collector(settings(daily_mb=2, behind_proxy=True)) as url:
        forwarded = {"X-Forwarded-For": header}
        assert requests.get(url + "backend/garbage?ckSize=1", headers=forwarded, timeout=5).status_code == 200
        again = {"X-Forwarded-For": "203.0.113.5, 192.0.2.9"}
        assert requests.get(url + "backend/garbage?ckSize=1", headers=again, timeout=5).status_code == 429
        ip = requests.get(url + "backend/getIP", headers=forwarded, timeout=5).json()
        assert ip["processedString"] == "192.0.2.9"
        assert requests.get(url + "backend/garbage?ckSize=1", timeout=5).status_code == 200
        assert requests.get(url + "backend/garbage?ckSize=1", timeout=5).status_code == 429


def test_an_address_has_eight_connections() -> None:
    """The ninth stream at once is refused, and a place is free again when one has left."""
    with collector(address_of=lambda _: "192.0.2.1") as url:
        where = urlsplit(url)
        held = []
        for _ in range(8):
            one = http.client.HTTPConnection(where.hostname or "", where.port, timeout=5)
            one.request("GET", "/backend/garbage?ckSize=50")
            assert one.getresponse().status == 200
            held.append(one)
        assert requests.get(url + "backend/garbage", timeout=5).status_code == 429
        assert requests.get(url + "backend/getIP", timeout=5).status_code == 200
        for one in held:
            one.sock.close()
            one.close()
        until = time.monotonic() + 5
        while requests.get(url + "backend/garbage?ckSize=1", timeout=5).status_code != 200:
            assert time.monotonic() < until


def test_two_tokens_behind_one_address_have_their_own_share() -> None:
    """Limits go by token where there is one: one client's use leaves another of the same address its own."""
    with collector(settings(daily_mb=2), address_of=lambda _: "192.0.2.1") as url:

        def fetch(token: str | None) -> int:
            head = {} if token is None else {"Authorization": f"Bearer {token}"}
            return requests.get(f"{url}backend/garbage?ckSize=1", headers=head, timeout=10).status_code

        assert [fetch("right-1"), fetch("right-1")] == [200, 429]
        assert fetch("right-2") == 200
        assert [fetch(None), fetch(None)] == [200, 429], "without a token the address counts"
        assert fetch("wrong") == 401


def test_no_token_passes_in_the_clear() -> None:
    """Where others can read what passes, a token is refused, the right one too; without one the test is open."""
    with collector(settings(plain_public=True)) as url:
        head = {"Authorization": "Bearer right"}
        assert requests.get(f"{url}backend/garbage?ckSize=1", headers=head, timeout=10).status_code == 403
        assert requests.get(f"{url}backend/garbage?ckSize=1", timeout=10).status_code == 200
