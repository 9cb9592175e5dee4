"""`web` and `video` in a whole run: alone after the others, within the budget, on the screen and in the files."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.commands.conftest import PING, Settings
from tests.support.running_site import Run, Site
from tests.support.servers.tcp import Peer, http_server, page, tcp_server

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = Draft202012Validator(json.loads((ROOT / "docs/schema/result.json").read_text(encoding="utf-8")))
VIDEO = {"kind": "video", "name": "film", "media_s": 4, "buffer_s": 2}


def run_test(sigprobe: Run, config: Path, *arguments: str) -> list[dict[str, Any]]:
    done = sigprobe("test", "--json", "--no-upload", "--config", str(config), *arguments)
    assert done.returncode == 0, done.stderr
    results: list[dict[str, Any]] = json.loads(done.stdout)["results"]
    for record in results:
        SCHEMA.validate(record)
    return results


def test_they_run_alone_after_the_latency_checks(site: Site, settings: Settings, sigprobe: Run) -> None:
    """Neither begins before the pings have ended, nor while the other runs; both are kept and say what they used."""
    body = b"<img src=/a><img src=/b>"

    def answer(peer: Peer) -> None:
        # by path: on a device with a network, the check of the path asks this server, too
        first = peer.head().startswith(b"GET / ")
        peer.send(page(body, "200 OK", "Content-Type: text/html") if first else page(b"x" * 1000))

    with tcp_server(answer) as server:
        config = settings({"kind": "web", "name": "front", "url": server.url("/")}, {**VIDEO, "url": site.url}, PING)
        results = run_test(sigprobe, config)
    by_name = {record["target"]["name"]: record for record in results}
    assert by_name["front"]["outcome"] == by_name["film"]["outcome"] == "ok"
    assert by_name["front"]["data"]["resources_fetched"] == 2
    assert by_name["film"]["data"]["media_s"] == 4.0
    ping = next(record for record in results if record["kind"] == "ping")
    assert ping["started_at"] < by_name["front"]["started_at"] < by_name["film"]["started_at"]
    rows = list(csv.DictReader(io.StringIO(sigprobe("results", "--csv", "--config", str(config)).stdout)))
    film = next(row for row in rows if row["target"] == "film")
    assert float(film["start_delay_ms"]) == by_name["film"]["data"]["start_delay_ms"]
    assert film["stalls"] == "0"
    assert next(row for row in rows if row["target"] == "front")["resources_fetched"] == "2"


def test_failed_and_left_out_ones_fit_the_published_schema(settings: Settings, sigprobe: Run) -> None:
    """A refused page and a refused video are failures; with no data left both are `skipped`, with the reason."""
    closed = "http://127.0.0.1:9/"
    config = settings({"kind": "web", "name": "front", "url": closed}, {**VIDEO, "url": closed})
    refused = [r for r in run_test(sigprobe, config) if r["kind"] in ("web", "video")]
    assert [(r["outcome"], r["failure"]["code"]) for r in refused] == [("failed", "refused")] * 2
    skipped = [r for r in run_test(sigprobe, config, "--max-data", "0") if r["kind"] in ("web", "video")]
    assert [(r["outcome"], r["failure"]["code"]) for r in skipped] == [("skipped", "data_budget")] * 2


def test_max_data_is_a_hard_cap_for_a_video(site: Site, settings: Settings, sigprobe: Run) -> None:
    """`--max-data` below what the video would take: it plays what fits, ends with the cap, and does not pass it."""
    config = settings({**VIDEO, "url": site.url, "media_s": 60})
    film = next(r for r in run_test(sigprobe, config, "--only", "video", "--max-data", "2") if r["kind"] == "video")
    data = film["data"]
    assert (film["outcome"], data["ended"]) == ("ok", "data_cap")
    assert 0 < data["bytes_received"] + data["headers_bytes"] + data["bytes_sent"] <= 2_000_000


@pytest.mark.parametrize(
    ("lang", "words"),
    [("en", ("Whole page", "Video start", "Video stalls")), ("id", ("Halaman utuh", "Mulai video", "Video tersendat"))],
)
def test_the_screen_has_a_row_for_each(
    site: Site, settings: Settings, sigprobe: Run, lang: str, words: tuple[str, ...]
) -> None:
    """A person sees the time of the whole page, when the video starts, and how much of it stands still."""
    with http_server(page(b"<img src=/a>", "200 OK", "Content-Type: text/html"), page(b"x")) as server:
        config = settings({"kind": "web", "name": "front", "url": server.url("/")}, {**VIDEO, "url": site.url})
        done = sigprobe("test", "--no-upload", "--lang", lang, "--config", str(config))
    assert done.returncode == 0, done.stderr
    for word in words:
        assert word in done.stdout
