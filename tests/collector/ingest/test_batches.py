"""`POST /v1/batches`: what is acknowledged is stored, everything else is refused in words of ours."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest

from sigprobe.collector import store
from sigprobe.collector.access import queries as access_queries
from sigprobe.collector.access.token_check import TokenCheck
from sigprobe.collector.ingest.admission import UNPROVEN_PER_GROUP, Gate
from sigprobe.collector.ingest.body import has_failures
from sigprobe.collector.results import queries as result_queries
from sigprobe.collector.web.client_address import Client
from sigprobe.collector.web.problems import ProblemError
from sigprobe.collector.web.retry_after import RetryAfter
from sigprobe.protocol import batches
from sigprobe.record.result import Tags
from tests.support.collector_client import Collector, batch_of, failed_result, make_result, page_lines


def problem(answer: object) -> tuple[int, str]:
    """Status and title of an error; it must say that it is ours."""
    status = answer.status_code  # type: ignore[attr-defined]
    read = batches.read_problem(status, answer.headers["content-type"], answer.content)  # type: ignore[attr-defined]
    assert read is not None, answer.text  # type: ignore[attr-defined]
    return status, read.title


def remade(body: bytes) -> batches.Batch:
    """A batch whose body is exactly these bytes."""
    return batches.Batch("b-1", body, batches.content_digest(body), (), 0)


def test_receipt(collector: Collector) -> None:
    """The receipt passes the probe's own check, names each record, and the stored lines are the sent bytes."""
    results = [make_result(1), failed_result(seq=2), make_result(3, kind="run")]
    batch = batches.build_batch([(r.id, r.to_line()) for r in results])
    answer = collector.post(batch)
    receipt = batches.read_receipt(answer.status_code, answer.headers["content-type"], answer.content, batch)
    assert [(a.id, a.status) for a in receipt.results] == [(r.id, "accepted") for r in results]
    assert receipt.server_time is not None
    assert [line for _, line in page_lines(collector.engine)] == [r.to_line() for r in results]
    again = collector.post(batch)
    assert {a["status"] for a in again.json()["results"]} == {"duplicate"}


@pytest.mark.parametrize(
    ("asked", "packed"),
    [
        ("gzip, deflate", True),
        ("br;q=1.0, GZIP;q=0.5", True),
        ("", False),
        ("identity", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("x-gzip-like", False),
    ],
)
def test_a_receipt_is_packed_for_whoever_takes_it(collector: Collector, asked: str, packed: bool) -> None:
    """The ids come back in a third of their bytes to a probe that takes gzip, as they are to any other."""
    batch = batches.build_batch([(r.id, r.to_line()) for r in map(make_result, range(1, 101))])
    answer = collector.post(batch, Accept_Encoding=asked)
    assert (answer.headers.get("content-encoding") == "gzip") == packed
    assert answer.headers["vary"] == "Accept-Encoding"
    crossed = int(answer.headers["content-length"])
    assert crossed < len(answer.content) / 2 if packed else crossed == len(answer.content)
    receipt = batches.read_receipt(answer.status_code, answer.headers["content-type"], answer.content, batch)
    assert {a.status for a in receipt.results} == {"accepted"}


def test_conflict_is_kept_apart(collector: Collector) -> None:
    """Other bytes under a stored id are a conflict with a reason, and the first stay."""
    first = make_result()
    collector.send(first)
    answer = collector.post(batch_of(make_result(id=first.id, data={}), make_result(2)))
    statuses = [(a["status"], "reason" in a) for a in answer.json()["results"]]
    assert statuses == [("conflict", True), ("accepted", False)]


def test_one_id_twice_in_a_batch(collector: Collector) -> None:
    """Same bytes count once; other bytes are a conflict, so that the second line is not lost without a word."""
    same, first = make_result(1), make_result(2)
    other = make_result(3, id=first.id)
    statuses = collector.send(same, same, first, other)
    assert statuses == {same.id: "accepted", first.id: "conflict"}
    assert [line for _, line in page_lines(collector.engine)] == [same.to_line(), first.to_line()]


def test_the_future_is_kept(collector: Collector) -> None:
    """Unknown fields, kinds, outcomes and a higher schema are stored unchanged and accepted."""
    record = make_result().to_dict() | {"schema": 7, "kind": "video", "outcome": "mixed", "extra": {"x": [1]}}
    line = json.dumps(record).encode()
    assert list(collector.send(line).values()) == ["accepted"]
    assert page_lines(collector.engine)[0][1] == line


def hostile(**changes: object) -> bytes:
    return json.dumps(make_result().to_dict() | changes).encode()


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (hostile(kind="a\0b", tags={"tps_id": "\0" * 50, "site": "\ud800"}), "accepted"),
        (hostile(tags={"tps_id": "x" * 50_000, "network": {"operator": {"plmn": "9" * 9000}}}), "accepted"),
        (hostile(tags={"location": {"lat": 10**400, "lon": True}, "network": [], "clock": None}), "accepted"),
        (hostile(tags={"location": {"lat": "1", "lon": [2]}}, data={"verdict": 3}, kind="run"), "accepted"),
        (hostile(kind_version=10**30, schema=10**30), "accepted"),
        (hostile(kind_version="two", failure={"code": "x" * 9000}), "accepted"),
        (hostile(lat=1).replace(b'"lat": -6.91474', b'"lat": 1e999'), "accepted"),
        (hostile(data=[]), "rejected"),
        (hostile(schema=True), "rejected"),
        (hostile(seq=2**63), "rejected"),
        (hostile(started_at="yesterday"), "rejected"),
        (hostile(probe_id="0190a5c0-0000-4000-8000-0000000000bb\n"), "rejected"),
        (hostile(id="laptop's own"), "rejected"),
        (hostile(tags={"tps_id": 3273011001005}), "rejected"),
    ],
)
def test_hostile_records(make_collector: Callable[..., Collector], database: str, line: bytes, status: str) -> None:
    """No value in a record is ever an internal error, on either engine: it is stored as it is, or rejected."""
    collector = make_collector(store.open_store(database))
    good = make_result(2)
    statuses = collector.send(line, good)
    assert statuses == {json.loads(line)["id"]: status, good.id: "accepted"}
    stored = [kept for _, kept in page_lines(collector.engine)]
    assert stored == [*([line] if status == "accepted" else []), good.to_line()]


@pytest.mark.parametrize(
    "line",
    [
        b"not json",
        b"\xff\xfe{}",
        b"[]",
        b"{}",
        b'{"id": 7}',
        b'{"id": ""}',
        b'{"id": "\\ud800"}',
        b'{"id": "a", "x": "\xff"}',
        b'{"id": "' + b"x" * 200 + b'"}',
        b'{"id": "a", "x": NaN}',
        b'{"id": "a", "x": ' + b"9" * 5000 + b"}",
        b"[" * 30_000,
        b'{"id": "a", "x": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    ],
)
def test_a_line_that_cannot_be_named(collector: Collector, line: bytes) -> None:
    """A line without a usable id refuses the batch whole, so that the probe halves it; nothing is stored."""
    answer = collector.post(batch_of(make_result(), line))
    assert problem(answer)[0] == 422
    assert answer.json()["detail"] == "line 2"
    assert page_lines(collector.engine) == []


def test_plain_body_and_empty_lines(collector: Collector) -> None:
    """A body without gzip, with CRLF and empty lines and without a last line end, is read all the same."""
    one, two = make_result(1), make_result(2)
    batch = remade(one.to_line() + b"\n\n\n" + two.to_line())
    for encoding in ("identity", ""):
        answer = collector.post(batch, Content_Encoding=encoding)
        assert {a["id"] for a in answer.json()["results"]} == {one.id, two.id}
    assert collector.post(remade(b""), Content_Encoding="identity").json()["results"] == []


def test_several_gzip_members(collector: Collector) -> None:
    """A body of several gzip members is one stream of lines."""
    one, two = make_result(1), make_result(2)
    raw = one.to_line() + b"\n" + two.to_line() + b"\n"
    batch = remade(gzip.compress(raw[:700]) + gzip.compress(b"") + gzip.compress(raw[700:]))
    assert len(collector.post(batch).json()["results"]) == 2


GOOD = gzip.compress(make_result().to_line() + b"\n")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (GOOD[:-1], 400),
        (GOOD[: len(GOOD) // 2], 400),
        (GOOD + b"garbage", 400),
        (GOOD + b"\0" * 8, 400),
        (b"", 400),
        (b"plain text", 400),
        (zlib.compress(b"zlib, not gzip"), 400),
        (GOOD[:-5] + b"\0\0\0\0\0", 400),
        (gzip.compress(b"") * 1001, 400),
        (gzip.compress(b"x" * 70_000), 413),
        (gzip.compress(b"\n" * 8_000_000), 413),
        (gzip.compress(b"{}\n" * 5001), 422),  # the first line is refused before the last is counted
        (b"\0" * (batches.MAX_COMPRESSED_BYTES + 1), 413),
    ],
    ids=range(13),  # the bytes of a gzip hold its hour, and a test's name must not
)
def test_bad_bodies(collector: Collector, body: bytes, status: int) -> None:
    """Cut off, padded, foreign and oversized bodies are refused, and nothing of them is stored."""
    assert problem(collector.post(remade(body)))[0] == status
    assert page_lines(collector.engine) == []


def test_limits_to_the_record_and_the_byte(collector: Collector) -> None:
    """5,000 records and 64 KiB lines pass, one more of either does not."""
    lines = [make_result(n + 1).to_line() for n in range(batches.MAX_RECORDS)]
    assert set(collector.send(*lines).values()) == {"accepted"}
    assert problem(collector.post(batch_of(*lines, make_result().to_line()))) == (413, "too many records")
    record = make_result().to_dict()
    short = len(json.dumps(record | {"pad": ""}).encode())
    line = json.dumps(record | {"pad": "x" * (batches.MAX_LINE_BYTES - short)}).encode()
    assert len(line) == batches.MAX_LINE_BYTES
    assert list(collector.send(line).values()) == ["accepted"]
    longer = line.replace(b'"pad": "', b'"pad": "x')
    assert problem(collector.post(batch_of(longer, make_result(2)))) == (413, "a record is too long")


def test_one_small_repetitive_record_is_no_bomb(collector: Collector) -> None:
    """The ratio limit leaves room for a single record that happens to shrink more than a hundredfold."""
    line = json.dumps(make_result().to_dict() | {"pad": "x" * 60_000}).encode()
    batch = batch_of(line)
    assert len(line) / len(batch.body) > 80
    assert list(collector.send(line).values()) == ["accepted"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content_Digest": ""}, 400),
        ({"Content_Digest": "sha-256=:AAAA:"}, 400),
        ({"Content_Digest": "sha-256=:not base64:"}, 400),
        ({"Content_Digest": "sha-512=:AAAA:"}, 400),
        ({"Idempotency_Key": ""}, 400),
        ({"Idempotency_Key": "two words"}, 400),
        ({"Content_Encoding": "br"}, 415),
        ({"Authorization": ""}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Bearer " + "x" * 5000}, 401),
        ({"Authorization": "Basic YTpi"}, 401),
    ],
)
def test_bad_headers(collector: Collector, headers: dict[str, str], status: int) -> None:
    """A missing or wrong digest, key or token is refused, and nothing is stored."""
    assert problem(collector.post(batch_of(make_result()), **headers))[0] == status
    assert page_lines(collector.engine) == []


def test_echo_of_structured_headers(collector: Collector) -> None:
    """The key is echoed without its quotes, the digest exactly as sent, beside other algorithms too."""
    batch = batch_of(make_result())
    digest = f"sha-512=:AAAA:, {batch.digest}"
    answer = collector.post(batch, Idempotency_Key=f'"{batch.id}"', Content_Digest=digest)
    assert (answer.json()["batch"], answer.json()["digest"]) == (batch.id, digest)


def test_token_comes_before_size(collector: Collector) -> None:
    """A stranger learns nothing about limits: a huge body without a token is 401."""
    assert problem(collector.post(remade(b"\0" * (batches.MAX_COMPRESSED_BYTES + 1)), token="wrong"))[0] == 401


def test_roles(collector: Collector) -> None:
    """An administrator's token does not send, a probe's token does not read."""
    assert problem(collector.post(batch_of(make_result()), token=collector.admin))[0] == 403
    answer = collector.client.get("/v1/results", headers={"Authorization": f"Bearer {collector.probe}"})
    assert problem(answer)[0] == 403


def test_revoked_token(collector: Collector) -> None:
    """A revoked token is refused within 60 seconds, however often it was used just before."""
    now = 1000.0
    checks = TokenCheck(collector.engine, clock=lambda: now)
    assert checks.find(collector.probe) is not None
    found = TokenCheck(collector.engine).find(collector.probe)
    assert found is not None
    assert access_queries.revoke_token(collector.engine, found.name)
    now += 59
    assert checks.find(collector.probe) is None
    assert problem(collector.post(batch_of(make_result())))[0] == 401


def test_new_token_after_a_wrong_one(collector: Collector) -> None:
    """A flood of wrong tokens is remembered for seconds only, and a new token works at once."""
    now = 1000.0
    checks = TokenCheck(collector.engine, clock=lambda: now)
    assert checks.find("not yet") is None
    secret = access_queries.create_token(collector.engine, "laptop-9", access_queries.PROBE)
    found = checks.find(secret)
    assert found is not None
    assert found.name == "laptop-9"


def test_sheds_before_the_body(make_collector: Callable[..., Collector]) -> None:
    """Without room the answer is 503 with Retry-After, before token and body are looked at."""
    full = make_collector(max_in_flight=0)
    answer = full.post(batch_of(make_result()), token="wrong")
    assert problem(answer) == (503, "the collector is busy")
    assert 5 <= int(answer.headers["retry-after"]) <= 30
    assert problem(make_collector(max_body_bytes=0).post(batch_of(make_result())))[0] == 503


def test_gate_counts_places_and_bytes() -> None:
    """Places, bytes that came, and a token's share are limits, and each is given back."""
    waits = RetryAfter(uniform=lambda _low, _high: 7)
    gate = Gate(max_in_flight=3, max_bytes=100, max_storing=1, max_per_token=1, retry_after=waits)
    with gate.admit() as first, gate.admit() as second:
        gate.hold(first, 60)
        with pytest.raises(ProblemError) as caught:
            gate.hold(second, 50)
        assert caught.value.headers == {"Retry-After": "7", "Connection": "close"}
        gate.hold(second, 40)
        with pytest.raises(ProblemError), gate.admit():
            pass
        gate.claim(first, "a")
        with pytest.raises(ProblemError) as caught:
            gate.claim(second, "a")
        assert caught.value.status == 429
        gate.claim(second, "b")
    assert (gate.in_flight, gate.held_bytes, gate.storing, gate.shed) == (0, 0, 0, 3)


SIX, FOUR = Client("2001:db8::1", "2001:db8::/64", False), Client("192.0.2.1", "192.0.2.1", False)


@pytest.mark.parametrize(("near", "most"), [(SIX, 8), (FOUR, 32)])
def test_a_network_has_its_share(near: Client, most: int) -> None:
    """One /64, or one IPv4 address, takes its part of places and bytes, whatever tokens it has; others have theirs."""
    gate = Gate(max_in_flight=64, max_bytes=640, max_storing=1, max_per_token=8)
    with ExitStack() as held:
        for number in range(most):
            place = held.enter_context(gate.admit(near))
            gate.claim(place, f"token-{number}")
            gate.hold(place, 10)
        with pytest.raises(ProblemError) as caught, gate.admit(near):
            pass
        assert caught.value.status == 429 and int(caught.value.headers["Retry-After"]) >= 5
        with pytest.raises(ProblemError) as caught:
            gate.hold(place, 10)
        assert (caught.value.status, caught.value.headers["Connection"]) == (429, "close")
        for other in (Client("2001:db8:0:1::1", "2001:db8:0:1::/64", False), Client("192.0.2.2", "192.0.2.2", False)):
            gate.hold(held.enter_context(gate.admit(other)), 10)
        for _ in range(10):  # this machine, where a proxy may be
            held.enter_context(gate.admit(Client("127.0.0.1", "127.0.0.1", True)))
    with gate.admit(near) as place:
        gate.hold(place, 10)
    assert (gate.in_flight, gate.held_bytes, gate._groups, gate._group_bytes) == (0, 0, {}, {})


def test_unchecked_tokens_of_one_network_are_few() -> None:
    """Batches whose token is not looked up yet cannot fill a network's share: a carrier's customers are behind it."""
    gate = Gate(max_in_flight=1024, max_bytes=1000, max_storing=1)
    with ExitStack() as held:
        places = [held.enter_context(gate.admit(FOUR)) for _ in range(UNPROVEN_PER_GROUP)]
        with pytest.raises(ProblemError), gate.admit(FOUR):
            pass
        gate.claim(places[0], "a")
        held.enter_context(gate.admit(FOUR))


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_failed_checks_are_seen_in_a_small_body(pack: Callable[[bytes], bytes]) -> None:
    """They go before others while batches wait; a large or broken body is not looked into."""
    good, bad = make_result().to_line() + b"\n", failed_result().to_line() + b"\n"
    assert has_failures(pack(good + bad))
    assert not has_failures(pack(good))
    assert not has_failures(bad * 1000)
    assert not has_failures(gzip.compress(bad)[:20])


def test_database_away(collector: Collector) -> None:
    """A database that fails is 503 with Retry-After, never an acknowledgement and never a fault of the batch."""
    collector.post(batch_of(make_result()))
    with collector.engine.execution_options(write=True).begin() as connection:
        connection.exec_driver_sql("ALTER TABLE results RENAME TO away")
    answer = collector.post(batch_of(make_result()))
    assert problem(answer)[0] == 503
    assert 5 <= int(answer.headers["retry-after"]) <= 30
    assert "results" not in answer.text


def test_plain_http_beyond_loopback(make_collector: Callable[..., Collector]) -> None:
    """Without TLS on an open address, neither tokens nor results nor pages pass; health and speed test do."""
    collector = make_collector(plain_public=True, throughput="open")
    assert problem(collector.post(batch_of(make_result())))[0] == 403
    assert problem(collector.get("/v1/results"))[0] == 403
    for path in ("/", "/login", "/login?once=x", "/results/x", "/static/style.css"):
        assert problem(collector.client.get(path))[0] == 403
    assert collector.client.get("/healthz").status_code == 200
    assert collector.client.get("/backend/getIP").status_code == 200


def test_halves(make_collector: Callable[..., Collector]) -> None:
    """`--only` leaves the other half out."""
    ingest = make_collector(only="ingest")
    assert ingest.client.get("/backend/getIP").status_code == 404
    assert ingest.post(batch_of(make_result())).status_code == 200
    speed = make_collector(only="throughput")
    assert speed.client.get("/backend/getIP").status_code == 200
    assert problem(speed.post(batch_of(make_result())))[0] == 404


def test_throughput_token(make_collector: Callable[..., Collector]) -> None:
    """With `--throughput token` any token in use opens the speed test, and nothing else does."""
    collector = make_collector(throughput="token")
    for token, status in ((collector.probe, 200), (collector.admin, 200), ("wrong", 401)):
        answer = collector.client.get("/backend/garbage?ckSize=1", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == status


def test_late_results_keep_their_own_time(collector: Collector) -> None:
    """What the collector knows of the time stands beside the probe's own, never over it."""
    result = make_result(started_at="1970-01-01T00:00:00Z", tags=Tags(site="kpu-kota-bandung"))
    collector.send(result)
    (stored,) = result_queries.list_newest(collector.engine, result_queries.Filters(tps_id="kpu-kota-bandung"))
    assert stored.started_at == datetime(1970, 1, 1, tzinfo=UTC)
    assert stored.received_at.year > 2000
