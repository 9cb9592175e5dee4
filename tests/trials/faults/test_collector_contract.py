"""Promise 13: every endpoint does what `/openapi.json` documents, for any parameters."""

from __future__ import annotations

import http.client
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import jsonschema
import pytest

from sigprobe.protocol import batches
from tests.trials.faults.fault_site import SILENT, Site, records
from tests.trials.faults.trial import Trial, hold

_METHODS: Final = ("get", "head", "post", "put", "patch", "delete", "options")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Provide a running collector."""
    with Site(tmp_path / "site") as site:
        yield site


def value(rng: random.Random, schema: dict[str, Any]) -> str:
    """Return a value for a parameter: valid, just invalid, or of another kind."""
    if rng.random() < 0.2:
        return rng.choice(("", "\0", "%", "null", "é" * 50, "1e9", "-1", "[]", "x" * 5_000, " 1", "１"))
    options = [option for option in schema.get("anyOf", [schema]) if option.get("type") != "null"]
    chosen = rng.choice(options)
    if schema.get("maximum") == 100 and rng.random() < 0.9:
        return "1"  # MiB of test data: what is sent is always the same
    if "enum" in chosen:
        return str(rng.choice(chosen["enum"]))
    if chosen.get("type") == "integer":
        low, high = chosen.get("minimum", -(2**63)), chosen.get("maximum", 2**63)
        return str(rng.choice((low, high, low - 1, high + 1, rng.randint(low, high), 10**30)))
    if chosen.get("type") == "number":
        return str(rng.choice((0, -1.5, 1e308, "nan", "inf", rng.random())))
    if chosen.get("type") == "boolean":
        return rng.choice(("true", "false", "1", "maybe"))
    length = rng.choice((0, 1, 20, chosen.get("maxLength", 100), chosen.get("maxLength", 100) + 1))
    return "".join(chr(rng.choice((rng.randrange(32, 127), rng.randrange(160, 0xD800)))) for _ in range(length))


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Return (method, path, operation) of every documented endpoint."""
    return [
        (method.upper(), path, item[method])
        for path, item in document["paths"].items()
        for method in _METHODS
        if method in item
    ]


Request = tuple[str, bytes, dict[str, str]]


def draw(site: Site, rng: random.Random, path: str, operation: dict[str, Any]) -> Request:
    """Return a request with random parameters: its target, body and headers."""
    query, headers = [], {}
    for parameter in operation.get("parameters", []):
        if not parameter.get("required") and rng.random() < 0.4:
            continue
        found = value(rng, parameter.get("schema", {}))
        if parameter["in"] == "query":
            query.append(f"{quote(parameter['name'])}={quote(found, safe='')}")
        elif parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", quote(found, safe="") or "-")
        elif parameter["in"] == "header":
            headers[parameter["name"]] = "".join(c for c in found if " " <= c <= "~")
    body = b""
    if "requestBody" in operation:
        batch = batches.build_batch(records(rng.randrange(3), rng))
        body = batch.body
        if rng.random() < 0.5:
            headers = batches.batch_headers(batch, None) | (headers if rng.random() < 0.3 else {})
    token = rng.choice((site.admin, site.token, None))
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return f"{path}?{'&'.join(query)}", body, headers


def hold_to_the_word(
    site: Site, document: dict[str, Any], method: str, operation: dict[str, Any], request: Request
) -> int:
    """Send a request: status and media type are documented, and JSON matches its schema."""
    target, body, headers = request
    asked = f"{method} {target}"
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=15)
    try:
        connection.request(method, target, body, headers)
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    hold(answer.status < 500, "server-error", f"{answer.status}: {asked:.500}")
    documented = operation["responses"].get(str(answer.status))
    hold(documented is not None, "undocumented-status", f"{answer.status}: {asked:.500} {text[:200]!r}")
    content = (documented or {}).get("content", {})
    media = batches.media_type(answer.headers["Content-Type"])
    hold(not content or not text or media in content, "undocumented-type", f"{media}: {asked:.500}")
    schema = content.get(media, {}).get("schema")
    if schema and media.endswith("json"):
        whole = {**schema, "components": document["components"]}
        try:
            jsonschema.validate(json.loads(text), whole)
        except (ValueError, jsonschema.ValidationError) as error:
            hold(False, "not-as-described", f"{asked:.300}: {error!s:.500}")
    return answer.status


def test_every_address_keeps_its_word(trial: Callable[..., Trial], site: Site, tmp_path: Path) -> None:
    """Random parameters on every documented address: a documented status, media type and shape, never a 500."""
    run = trial(13, "documented answers", short=15, full=3_000)
    document = site.get("openapi.json")
    found = operations(document)
    seen: Counter[int] = Counter()
    for _ in range(run.n):
        for method, path, operation in found:
            request = draw(site, run.random, path, operation)
            seen[hold_to_the_word(site, document, method, operation, request)] += 1
    operation = document["paths"]["/v1/results"]["get"]
    target = "/v1/results?cursor=wrong"
    request = (target, b"", {"Authorization": f"Bearer {site.admin}"})
    assert hold_to_the_word(site, document, "GET", operation, request) == 422
    with run.expect_failure("server-error"), Site(tmp_path / "silent", patch=SILENT) as silent:
        request = (target, b"", {"Authorization": f"Bearer {silent.admin}"})
        hold_to_the_word(silent, document, "GET", operation, request)
    count = sum(seen.values())
    run.report(0, n=count, addresses=len(found), answers=" ".join(f"{s}:{n}" for s, n in seen.most_common()))
