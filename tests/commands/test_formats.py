"""What programs read from `sigprobe test`: the three formats, and what never stands in them."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.commands.conftest import CLOSED, PING, Settings
from tests.support.running_site import Run, Site
from tests.support.servers.dnsserver import dns_server, records
from tests.support.servers.tcp import http_server, page

ONLY = ("--only", "ping", "--only", "http")
ANSI = re.compile(r"\x1b\[")


@contextmanager
def all_kinds(site: Site, settings: Settings, **keys: Any) -> Iterator[Path]:
    """Settings with every kind, each once healthy and once failing, against servers of this test."""
    with (
        dns_server(records("kpu.test. 300 IN A 192.0.2.1")) as names,
        dns_server(records(rcode="SERVFAIL")) as sick,
        http_server(page(b"down", "503 Service Unavailable")) as broken,
    ):
        throughput = {"kind": "throughput", "engine": "http", "max_mb": 1, "max_s": 1, "streams": 1}
        yield settings(
            {**throughput, "name": "speed", "url": site.url},
            PING,
            {"kind": "dns", "name": "names", "hostname": "kpu.test", "resolvers": [names.address]},
            {"kind": "dns", "name": "sick", "hostname": "kpu.test", "resolvers": [sick.address]},
            {"kind": "http", "name": "page", "url": f"{site.url}healthz"},
            {"kind": "http", "name": "down", "url": broken.url("/?key=secret")},
            CLOSED,
            {**throughput, "name": "no-speed", "url": "http://127.0.0.1:9/"},
            upload={"collectors": [{"url": site.url, "token_file": str(site.token_file)}]},
            **keys,
        )


def test_json_is_one_document_of_the_published_shape(site: Site, settings: Settings, sigprobe: Run) -> None:
    """`--json`: the promised keys, results in config order without the run record, each valid by the schema."""
    schema = sigprobe("config", "schema", "result")
    validator = jsonschema.Draft202012Validator(json.loads(schema.stdout))
    with all_kinds(site, settings) as config:
        done = sigprobe("test", "--json", "--config", str(config))

        assert done.returncode == 0, done.stderr
        document = json.loads(done.stdout)
        assert list(document) == ["schema", "run_id", "verdict", "results", "data_used_bytes", "saved", "pending"]
        names = [result["target"]["name"] for result in document["results"]]
        assert names == ["speed", "device", "names", "sick", "page", "down", "closed", "no-speed", "path"]
        outcomes = {result["target"]["name"]: result["outcome"] for result in document["results"]}
        assert {name for name, outcome in outcomes.items() if outcome == "ok"} == {"speed", "device", "names", "page"}
        assert (document["saved"], document["pending"]) == (10, 0), (
            "nine results, the path among them, and the run record"
        )
        assert 500_000 < document["data_used_bytes"] <= 1_100_000, "max_mb, and little beside it"
        kept = [
            json.loads(line) for line in sigprobe("results", "--ndjson", "--config", str(config)).stdout.splitlines()
        ]
        assert [record for record in kept if record["kind"] != "run"] == sorted(
            document["results"], key=lambda record: record["seq"]
        )
        skipped = sigprobe("test", "--json", "--max-data", "0", "--no-upload", "--config", str(config))
    left_out = json.loads(skipped.stdout)["results"]
    assert {r["outcome"] for r in left_out} == {"skipped"}, [r["outcome"] for r in left_out]
    assert {r["failure"]["code"] for r in left_out} == {"data_budget"}
    for record in (*kept, *left_out):
        validator.validate(record)
        assert "secret" not in json.dumps(record["target"])
        if record["outcome"] in ("failed", "skipped"):
            assert record["failure"]["code"]
    assert {record["kind"] for record in kept} == {"ping", "dns", "http", "throughput", "path", "run"}
    assert not ANSI.search(done.stdout + done.stderr)


def test_ndjson_prints_what_is_on_disk(settings: Settings, sigprobe: Run) -> None:
    """`--ndjson`: each line is the stored record byte for byte, and the run record is the last."""
    config = settings(PING, CLOSED)

    done = sigprobe("test", "--ndjson", *ONLY, "--config", str(config))

    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines == sigprobe("results", "--ndjson", "--config", str(config)).stdout.splitlines()
    assert [json.loads(line)["kind"] for line in lines][-1] == "run"
    assert [json.loads(line)["seq"] for line in lines] == [1, 2, 3]


@pytest.mark.parametrize(("dialect", "delimiter"), [("plain", ","), ("excel-id", ";")])
def test_csv_holds_the_same_records(dialect: str, delimiter: str, settings: Settings, sigprobe: Run) -> None:
    """`--csv`: a header and a row a record, run record last; `excel-id` has a BOM, semicolons and a decimal comma."""
    config = settings(PING, CLOSED)

    done = sigprobe(
        "test", "--csv", *ONLY, "--csv-dialect", dialect, "--config", str(config), env={"SIGPROBE_LANG": "id"}
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("\ufeff") is (dialect == "excel-id")
    rows = list(csv.DictReader(io.StringIO(done.stdout.removeprefix("\ufeff")), delimiter=delimiter))
    assert [row["kind"] for row in rows] == ["ping", "http", "run"]
    assert [row["outcome"] for row in rows] == ["ok", "failed", "ok"]
    assert ("," in rows[0]["duration_ms"]) is (dialect == "excel-id")
    assert rows[0]["tps_id"] == ('="3273011001005"' if dialect == "excel-id" else "3273011001005")
    again = sigprobe("results", "--csv", "--csv-dialect", dialect, "--config", str(config)).stdout
    assert sorted(again.splitlines()) == sorted(done.stdout.splitlines())


def shape(value: Any, key: str = "") -> Any:
    """A document with everything that differs between two runs taken out: ids, times, measured numbers, details."""
    if isinstance(value, dict):
        return {name: shape(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner, key) for inner in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        return "number"
    if key in ("id", "run_id", "probe_id", "stream_id", "boot_id", "evidence", "started_at"):
        return key
    return value


def test_json_knows_no_language(settings: Settings, sigprobe: Run) -> None:
    """The documents of both languages are the same but for ids, times and measured numbers; what people read is not."""
    config = settings(PING, CLOSED)
    runs = [sigprobe("test", "--json", *ONLY, "--lang", lang, "--config", str(config)) for lang in ("id", "en")]
    indonesian, english = (shape(json.loads(done.stdout)) for done in runs)
    assert indonesian == english
    assert runs[0].stderr != runs[1].stderr
    assert sigprobe("status", "--json", "--lang", "id", "--config", str(config)).stdout.isascii()
