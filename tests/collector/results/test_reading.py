"""What the collector gives back: results by cursor, health, metrics, its own description."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from sigprobe.protocol import batches
from tests.support.collector_client import Collector, batch_of, make_result


def test_pages_through_everything_once(collector: Collector) -> None:
    """Following `next` gives every record once, oldest received first, exactly as it was sent."""
    results = [make_result(n + 1) for n in range(7)]
    for result in results:
        collector.send(result)
    seen: list[Any] = []
    cursor = None
    pages = 0
    while True:
        answer = collector.get("/v1/results", limit=3, **({"cursor": cursor} if cursor else {}))
        assert answer.status_code == 200
        seen += answer.json()["results"]
        pages += 1
        cursor = answer.json()["next"]
        if cursor is None:
            break
        assert cursor.replace("-", "").replace("_", "").isalnum()
    assert pages == 3
    assert seen == [r.to_dict() for r in results]


def test_a_full_last_page_has_no_next(collector: Collector) -> None:
    """`next` is null when the page ends with the last record, and the default page holds 100."""
    collector.send(*(make_result(n + 1) for n in range(100)))
    answer = collector.get("/v1/results").json()
    assert (len(answer["results"]), answer["next"]) == (100, None)
    collector.send(make_result(101))
    assert collector.get("/v1/results").json()["next"] is not None


def test_by_tps(collector: Collector) -> None:
    """`tps_id` leaves only that polling station's records."""
    collector.send(make_result())
    assert len(collector.get("/v1/results", tps_id="3273011001005").json()["results"]) == 1
    assert collector.get("/v1/results", tps_id="3273011001006").json() == {"results": [], "next": None}
    assert collector.get("/v1/results", tps_id="a\0b").json()["results"] == []


@pytest.mark.parametrize(
    "params",
    [
        {"limit": 0},
        {"limit": 1001},
        {"limit": "x"},
        {"cursor": "!"},
        {"cursor": "AAAA"},
        {"cursor": "é"},
        {"tps_id": "x" * 999},
    ],
)
def test_bad_parameters(collector: Collector, params: dict[str, Any]) -> None:
    """A parameter out of range is a 422 of ours, never a guess."""
    answer = collector.get("/v1/results", **params)
    assert answer.status_code == 422
    assert batches.read_problem(422, answer.headers["content-type"], answer.content) is not None


def test_results_want_a_token(collector: Collector) -> None:
    """Without an administrator's token nothing is read."""
    assert collector.client.get("/v1/results").status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/v1/batches", 405),
        ("DELETE", "/v1/results", 405),
        ("GET", "/static/../app.py", 404),
    ],
)
def test_every_error_is_ours(collector: Collector, method: str, path: str, status: int) -> None:
    """The framework's own errors carry our mark too, so that a probe never takes them for a portal's."""
    answer = collector.client.request(method, path)
    read = batches.read_problem(answer.status_code, answer.headers["content-type"], answer.content)
    assert read is not None
    assert read.status == status


def test_health_and_description_are_open(collector: Collector) -> None:
    """Health and the OpenAPI document need no token; the document names our answers; no page loads foreign code."""
    assert collector.client.get("/healthz").json()["status"] == "ok"
    document = collector.client.get("/openapi.json").json()
    answers = document["paths"]["/v1/batches"]["post"]["responses"]
    assert batches.RECEIPT_TYPE in answers["200"]["content"]
    assert batches.PROBLEM_TYPE in answers["413"]["content"]
    assert {"Problem", "Receipt"} <= set(document["components"]["schemas"])
    assert {"/v1/results", "/healthz"} <= set(document["paths"])
    for path in ("/docs", "/redoc"):
        assert collector.client.get(path).status_code == 404


def test_readiness_says_when_nothing_can_be_stored(collector: Collector) -> None:
    """Readiness is 503 when a write fails, and tells why; health is about the process and stays 200."""
    assert collector.client.get("/readyz").status_code == 200, "the control"
    with collector.engine.execution_options(write=True).begin() as connection:
        connection.exec_driver_sql("DROP TABLE receive_order")
    assert collector.post(batch_of(make_result())).status_code == 503
    answer = collector.client.get("/readyz")
    assert answer.status_code == 503
    assert "SQLITE_ERROR" in answer.json()["detail"]
    assert collector.client.get("/healthz").status_code == 200


def test_metrics(make_collector: Callable[..., Collector]) -> None:
    """Metrics are open to loopback, want a token from elsewhere, and always behind a proxy."""
    near = make_collector()
    near.send(make_result())
    near.post(batch_of(b"not json"))
    text = near.client.get("/metrics").text
    assert 'sigprobe_records_total{status="accepted"} 1' in text
    assert 'sigprobe_batches_total{status="422"} 1' in text
    assert "sigprobe_receive_number 1" in text
    far = make_collector(client_host="192.0.2.7")
    assert far.client.get("/metrics").status_code == 401
    assert far.get("/metrics").status_code == 200
    proxied = make_collector(behind_proxy=True)
    assert proxied.client.get("/metrics", headers={"X-Forwarded-For": "127.0.0.1"}).status_code == 401
    plain = make_collector(plain_public=True, client_host="192.0.2.7")
    assert plain.get("/metrics").status_code == 403


def test_metrics_are_well_formed(collector: Collector) -> None:
    """Each sample follows its HELP and TYPE lines, and each value is a number."""
    collector.send(make_result())
    name = ""
    for line in collector.client.get("/metrics").text.splitlines():
        if line.startswith("# "):
            name = line.split()[2]
        else:
            assert line.startswith(name)
            float(line.rpartition(" ")[2])


def test_security_headers(collector: Collector) -> None:
    """Pages and answers forbid foreign code, framing, sniffing and referrers."""
    for path in ("/login", "/healthz", "/nothing", "/static/style.css"):
        headers = collector.client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


def test_stored_bytes_come_back_unchanged(collector: Collector) -> None:
    """A record with odd spacing, escapes and an unknown number format comes back byte for byte."""
    line = (
        json.dumps(make_result().to_dict(), indent=None, separators=(" , ", " : "))
        .encode()
        .replace(b"62.4", b"6.240E1")
    )
    collector.send(line)
    assert line in collector.get("/v1/results").content
