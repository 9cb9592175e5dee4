"""Whatever answers instead of a collector, and whatever is wrong with the token: nothing is lost, and it is said."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.commands.conftest import PING, Settings
from tests.support.running_site import Run, Site, status
from tests.support.servers.tcp import Peer, page, tcp_server

RECEIPT = "Content-Type: application/vnd.sigprobe.receipt+json"


def whole_request(peer: Peer) -> tuple[dict[str, str], bytes]:
    """Read one request with its body; the headers' names in lower case."""
    head, _end, body = peer.head().partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")[1:]
    headers = {name.lower(): value.strip() for name, _colon, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        piece = peer.sock.recv(65536)
        if not piece:
            break
        body += piece
    return headers, body


def receipt(batch: str, digest: str, *ids: str) -> bytes:
    results = [{"id": one, "status": "accepted"} for one in ids]
    return json.dumps(
        {"receipt": 1, "batch": batch, "digest": digest, "server_time": "2029-02-14T07:05:01.123Z", "results": results}
    ).encode()


def ids_in(body: bytes) -> list[str]:
    import gzip

    return [json.loads(line)["id"] for line in gzip.decompress(body).splitlines()]


def other_batch(headers: dict[str, str], body: bytes) -> bytes:
    text = receipt("0191f2c8-0000-7000-8000-000000000000", headers["content-digest"], *ids_in(body))
    return page(text, "200 OK", RECEIPT)


def other_digest(headers: dict[str, str], body: bytes) -> bytes:
    return page(receipt(headers["idempotency-key"].strip('"'), "sha-256=:AAAA:", *ids_in(body)), "200 OK", RECEIPT)


def other_records(headers: dict[str, str], body: bytes) -> bytes:
    del body
    batch, digest = headers["idempotency-key"].strip('"'), headers["content-digest"]
    return page(receipt(batch, digest, "0191f2c8-0000-7000-8000-000000000001"), "200 OK", RECEIPT)


def half(headers: dict[str, str], body: bytes) -> bytes:
    text = receipt(headers["idempotency-key"].strip('"'), headers["content-digest"], *ids_in(body))
    return page(text[: len(text) // 2], "200 OK", RECEIPT)


def as_created(headers: dict[str, str], body: bytes) -> bytes:
    text = receipt(headers["idempotency-key"].strip('"'), headers["content-digest"], *ids_in(body))
    return page(text, "201 Created", RECEIPT)


def as_json(headers: dict[str, str], body: bytes) -> bytes:
    text = receipt(headers["idempotency-key"].strip('"'), headers["content-digest"], *ids_in(body))
    return page(text, "200 OK", "Content-Type: application/json")


def always(answer: bytes) -> Callable[[dict[str, str], bytes], bytes]:
    return lambda _headers, _body: answer


def problem(status: str) -> bytes:
    code = int(status.split(maxsplit=1)[0])
    text = json.dumps({"sigprobe": 1, "status": code, "title": status, "detail": "no such token"}).encode()
    return page(text, status, "Content-Type: application/problem+json")


LOGIN = b"<html><title>Login</title><form action=/login>Voucher: <input name=v></form></html>"
FALSE_REPLIES: dict[str, tuple[Callable[[dict[str, str], bytes], bytes], str]] = {
    "200 with HTML": (always(page(LOGIN, "200 OK", "Content-Type: text/html")), "SP-SYN-02"),
    "201 with a receipt": (as_created, "SP-SYN-02"),
    "204": (always(page(b"", "204 No Content")), "SP-SYN-02"),
    "302": (always(page(b"", "302 Found", "Location: http://127.0.0.1:9/login")), "SP-SYN-02"),
    "401 of a portal": (always(page(LOGIN, "401 Unauthorized", "Content-Type: text/html")), "SP-SYN-02"),
    "401 of ours": (always(problem("401 Unauthorized")), "SP-SYN-03"),
    "413 of a proxy": (always(page(b"too large", "413 Content Too Large")), "SP-SYN-02"),
    "500": (always(page(b"oops", "500 Internal Server Error")), "SP-SYN-01"),
    "half a JSON": (half, "SP-SYN-02"),
    "a receipt as plain JSON": (as_json, "SP-SYN-02"),
    "a receipt for another batch": (other_batch, "SP-SYN-02"),
    "a receipt for other bytes": (other_digest, "SP-SYN-02"),
    "a receipt for other records": (other_records, "SP-SYN-"),
    "no answer at all": (always(b""), "SP-SYN-01"),
}


@contextmanager
def answering(answer: Callable[[dict[str, str], bytes], bytes]) -> Iterator[tuple[str, list[bytes]]]:
    bodies: list[bytes] = []

    def serve(peer: Peer) -> None:
        headers, body = whole_request(peer)
        if body:
            bodies.append(body)
            peer.send(answer(headers, body))

    with tcp_server(serve) as server:
        yield server.url("/"), bodies


def collector(url: str, token_file: Path | None = None) -> dict[str, object]:
    return {"collectors": [{"url": url, "token_file": None if token_file is None else str(token_file)}]}


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.touch(mode=0o600)
    path.write_text("secret-token-of-the-test\n")
    return path


@pytest.mark.parametrize("name", FALSE_REPLIES)
def test_what_is_no_receipt_acknowledges_nothing(
    name: str, settings: Settings, sigprobe: Run, token_file: Path
) -> None:
    """Exit 4, a sentence with its code in one's own language, everything still pending and nothing set aside."""
    answer, code = FALSE_REPLIES[name]
    with answering(answer) as (url, bodies):
        config = settings(PING, upload=collector(url, token_file))
        kept = sigprobe("test", "--json", "--only", "ping", "--no-upload", "--config", str(config))
        assert json.loads(kept.stdout)["pending"] == 2
        done = sigprobe("upload", "--config", str(config), "--lang", "id")
    assert bodies, "the batch must have been sent"
    assert done.returncode == 4, done.stderr
    assert code in done.stderr
    assert "2 masih menunggu" in done.stdout, "neither acknowledged nor set aside"
    assert "Traceback" not in done.stderr and "secret-token" not in done.stdout + done.stderr


def test_the_control_is_acknowledged(site: Site, settings: Settings, sigprobe: Run) -> None:
    """The same upload to a real collector goes through: the tests above fail for the answer alone."""
    config = settings(PING, upload=collector(site.url, site.token_file))
    sigprobe("test", "-q", "--only", "ping", "--no-upload", "--config", str(config))
    done = sigprobe("upload", "--json", "--config", str(config))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["accepted"], report["duplicate"], report["rejected"], report["pending"]) == (2, 0, 0, 0)
    assert status(sigprobe, config)["last_upload_at"]


def test_a_quiet_upload_that_fails_is_one_line(settings: Settings, sigprobe: Run, token_file: Path) -> None:
    """`upload -q`, as a cron line has it: nothing when all is well, one line when the collector does not answer."""
    config = settings(PING, upload=collector("http://127.0.0.1:9/", token_file))
    done = sigprobe("upload", "-q", "--config", str(config))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    sigprobe("test", "-q", "--only", "ping", "--no-upload", "--config", str(config))
    done = sigprobe("upload", "-q", "--config", str(config))
    assert (done.returncode, done.stdout) == (4, "")
    assert len(done.stderr.splitlines()) == 1 and "SP-SYN-01" in done.stderr


def test_upload_without_a_collector(settings: Settings, sigprobe: Run) -> None:
    """Nowhere to send is a matter of the settings: exit 2, and what to add."""
    config = settings(PING)
    sigprobe("test", "-q", "--config", str(config))
    done = sigprobe("upload", "--config", str(config))
    assert (done.returncode, done.stdout) == (2, "")
    assert "SP-SYN-07" in done.stderr and "upload.collectors" in done.stderr


def test_nothing_pending_needs_neither_network_nor_token(settings: Settings, sigprobe: Run, tmp_path: Path) -> None:
    """An empty queue is done: exit 0 without a connection, even when the token file is not there."""
    with answering(always(b"")) as (url, bodies):
        config = settings(PING, upload=collector(url, tmp_path / "none"))
        done = sigprobe("upload", "--json", "--config", str(config))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["pending"] == 0
    assert bodies == []


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o620])
def test_a_lax_token_file_is_refused(mode: int, settings: Settings, sigprobe: Run, token_file: Path) -> None:
    """A token that others can read or the group can change is not used, and the command to mend it can be pasted."""
    token_file.chmod(mode)
    with answering(always(b"")) as (url, bodies):
        config = settings(PING, upload=collector(url, token_file))
        done = sigprobe("test", "--only", "ping", "--config", str(config))
        assert done.returncode == 0, "measuring goes on"
        assert f"chmod 600 {token_file}" in done.stderr
        done = sigprobe("upload", "--config", str(config))
    assert done.returncode in (2, 4)
    assert f"chmod 600 {token_file}" in done.stderr
    assert bodies == []
    assert status(sigprobe, config)["pending"] == 2


def test_a_group_readable_token_is_fine(site: Site, settings: Settings, sigprobe: Run) -> None:
    """A system install shares the token with its group: 0640 is used."""
    site.token_file.chmod(0o640)
    config = settings(PING, upload=collector(site.url, site.token_file))
    assert json.loads(sigprobe("test", "--json", "--config", str(config)).stdout)["pending"] == 0


def test_a_missing_token(settings: Settings, sigprobe: Run, tmp_path: Path) -> None:
    """A token file that is not there, and none configured at all: a sentence each that names what to do."""
    for file in (tmp_path / "no-token", None):
        config = settings(PING, upload=collector("http://127.0.0.1:9/", file))
        sigprobe("test", "-q", "--only", "ping", "--no-upload", "--config", str(config))
        done = sigprobe("upload", "--config", str(config))
        assert done.returncode in (2, 4), done.stderr
        assert (str(file) if file else "token_file") in done.stderr
        assert sigprobe("config", "check", "--config", str(config)).returncode == 0, "the text alone is right"


def test_a_token_from_the_environment(site: Site, settings: Settings, sigprobe: Run, tmp_path: Path) -> None:
    """SIGPROBE_TOKEN works, with a warning; the service manager's credential works without one."""
    config = settings(PING, upload=collector(site.url))
    done = sigprobe("test", "--json", "--config", str(config), env={"SIGPROBE_TOKEN": site.token})
    assert json.loads(done.stdout)["pending"] == 0
    assert "SIGPROBE_TOKEN" in done.stderr
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "sigprobe-token").write_text(site.token)
    done = sigprobe("test", "--json", "--config", str(config), env={"CREDENTIALS_DIRECTORY": str(credentials)})
    assert json.loads(done.stdout)["pending"] == 0
    assert "SIGPROBE_TOKEN" not in done.stderr
    assert not re.search(re.escape(site.token), done.stdout + done.stderr)


def test_a_refused_token_stops_nothing_but_the_sending(site: Site, settings: Settings, sigprobe: Run) -> None:
    """A token the collector does not know: `test` measures, keeps and says so; a good token sends it all."""
    config = settings(PING, upload=collector(site.url))
    done = sigprobe(
        "test", "--only", "ping", "--lang", "en", "--config", str(config), env={"SIGPROBE_TOKEN": "of-somebody-else"}
    )
    assert done.returncode == 0
    assert "SP-SYN-03" in done.stdout + done.stderr
    assert sigprobe("upload", "--config", str(config), env={"SIGPROBE_TOKEN": "of-somebody-else"}).returncode == 4
    done = sigprobe("upload", "--json", "--config", str(config), env={"SIGPROBE_TOKEN": site.token})
    assert (done.returncode, json.loads(done.stdout)["accepted"]) == (0, 2), done.stderr
