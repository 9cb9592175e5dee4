"""The whole way: a real probe process, a real collector process, and what is stored in between."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.running_site import Run, Site, status, write_config


def test_a_result_goes_the_whole_way(site: Site, tmp_path: Path, sigprobe: Run) -> None:
    """What `test` measured and kept is what the collector stores, byte for byte, each record once."""
    config = write_config(tmp_path, site.url, site.token_file, site.url)

    done = sigprobe("test", "--json", "--config", str(config))

    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [r["target"]["name"] for r in document["results"]] == ["device", "page", "center", "closed", "path"]
    assert [r["outcome"] for r in document["results"]] == ["ok", "ok", "ok", "failed", "failed"]
    assert document["results"][3]["failure"]["code"] == "refused"
    assert document["results"][4]["failure"]["code"] in {"no_reference", "no_network"}, "nothing beyond is configured"
    assert document["saved"] == 6
    assert document["pending"] == 0
    kept = sigprobe("results", "--ndjson", "--config", str(config)).stdout.splitlines()
    assert len(kept) == 6
    held = site.stored()
    assert sorted(json.dumps(json.loads(line), sort_keys=True) for line in kept) == sorted(
        json.dumps(record, sort_keys=True) for record in held
    )
    for record in held:
        assert record["tags"]["tps_id"] == "3273011001005"
        assert record["tags"]["location"]["lat"] == -6.91474
        assert record["tags"]["location"]["source"] == "fixed"
    assert sorted(record["seq"] for record in held) == [1, 2, 3, 4, 5, 6]
    assert {record["run_id"] for record in held} == {document["run_id"]}
    assert held[-1]["kind"] in {"run", "ping", "http", "throughput", "path"}
    assert sum(record["kind"] == "run" for record in held) == 1


def test_with_the_collector_gone_everything_is_kept_and_sent_later(site: Site, tmp_path: Path, sigprobe: Run) -> None:
    """A lost collector costs nothing but time: exit 0 from test, 4 from upload, then all of it arrives."""
    config = write_config(tmp_path, site.url, site.token_file, site.url)
    site.stop()

    done = sigprobe("test", "--json", "--only", "ping", "--config", str(config))

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["pending"] == 2
    assert sigprobe("upload", "--config", str(config)).returncode == 4
    assert status(sigprobe, config)["pending"] == 2
    site.start()
    done = sigprobe("upload", "--json", "--config", str(config))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["accepted"], report["duplicate"], report["pending"]) == (2, 0, 0)
    assert len(site.stored()) == 2
    assert sigprobe("upload", "--config", str(config)).returncode == 0


@contextmanager
def dropping_proxy(upstream: int) -> Iterator[tuple[int, list[int]]]:
    """A proxy on loopback that carries the first request to the collector and swallows its reply."""
    listener = socket.create_server(("127.0.0.1", 0))
    seen: list[int] = []

    def serve() -> None:
        while True:
            try:
                client, _address = listener.accept()
            except OSError:
                return
            with client, suppress(OSError, http.client.HTTPException):
                carry(client)

    def carry(client: socket.socket) -> None:
        client.settimeout(10)
        request = b""
        while b"\r\n\r\n" not in request:
            request += client.recv(65536)
        head, _end, body = request.partition(b"\r\n\r\n")
        length = int(next(line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-l")))
        while len(body) < length:
            body += client.recv(65536)
        with socket.create_connection(("127.0.0.1", upstream), 10) as server:
            server.sendall(head.replace(b"keep-alive", b"close") + b"\r\n\r\n" + body)
            reply = b""
            while b"\r\n\r\n" not in reply or b'"results"' not in reply:
                part = server.recv(65536)
                if not part:
                    break
                reply += part
        seen.append(len(reply))
        if len(seen) > 1:
            client.sendall(reply)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1], seen
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def test_a_lost_reply_doubles_nothing(site: Site, tmp_path: Path, sigprobe: Run) -> None:
    """The collector commits, its reply is lost, the probe sends again: the row count does not change."""
    with dropping_proxy(site.port) as (port, seen):
        config = write_config(tmp_path, f"http://127.0.0.1:{port}/", site.token_file, site.url)
        done = sigprobe("test", "--json", "--no-upload", "--only", "ping", "--config", str(config))
        assert json.loads(done.stdout)["pending"] == 2

        done = sigprobe("upload", "--json", "--config", str(config))

    assert done.returncode == 0, done.stderr
    assert len(seen) == 2, "the first reply must have been dropped"
    report = json.loads(done.stdout)
    assert (report["accepted"], report["duplicate"], report["pending"]) == (0, 2, 0)
    assert len(site.stored()) == 2
