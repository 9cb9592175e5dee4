"""The collector behind a real nginx with TLS, with the file in `deploy/nginx/` as it is but for paths and ports."""

from __future__ import annotations

import re
import socket
import ssl
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
import trustme

from sigprobe.protocol import batches
from tests.support.collector_client import batch_of, make_result
from tests.support.collector_process import Server, Spawn, new_token, serve
from tests.support.requirements import ROOT, needs

FILE = ROOT / "deploy" / "nginx" / "sigprobe.conf"
AS_SENT = "proxy_request_buffering off;"


class Front:
    """nginx before a collector."""

    def __init__(self, port: int, root: Path, server: Server, tokens: dict[str, str]) -> None:
        self.port, self.root, self.server, self.tokens = port, root, server, tokens
        self.url = f"https://localhost:{port}/"
        self.session = requests.Session()
        self.session.trust_env = False  # it would choose other certificates
        self.session.verify = str(root)

    def upload_slowly(self, session: str) -> None:
        """Post one body in pieces of 64 KiB, one every 30 ms."""
        context = ssl.create_default_context(cafile=str(self.root))
        with (
            socket.create_connection(("localhost", self.port), 30) as raw,
            context.wrap_socket(raw, server_hostname="localhost") as sock,
        ):
            head = f"POST /backend/empty?session={session} HTTP/1.1\r\nHost: localhost\r\n"
            sock.sendall(
                f"{head}Content-Length: {14 * 65_536}\r\nAuthorization: Bearer {self.tokens['probe']}\r\n\r\n".encode()
            )
            for _ in range(14):
                sock.sendall(b"x" * 65_536)
                time.sleep(0.03)
            assert sock.recv(12) == b"HTTP/1.1 200"


@pytest.fixture
def make_front(spawn: Spawn, tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Callable[..., Front]]:
    """Return what starts both."""
    program = needs("nginx", "nginx")
    folder = tmp_path / "nginx"
    folder.mkdir()
    authority = trustme.CA()
    leaf = authority.issue_cert("localhost")
    leaf.cert_chain_pems[0].write_to_path(folder / "fullchain.pem")
    leaf.private_key_pem.write_to_path(folder / "privkey.pem")
    authority.cert_pem.write_to_path(folder / "root.pem")

    def make(change: Callable[[str], str] = lambda text: text) -> Front:
        database = f"sqlite:///{tmp_path}/collector.db"
        tokens = {role: new_token(role, role, database) for role in ("probe", "admin")}
        server = serve(spawn, database, "--behind-proxy")
        port = free_port()
        text = change(FILE.read_text(encoding="utf-8"))
        text = text.replace("/etc/ssl/sigprobe/", f"{folder}/").replace(
            "listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"
        )
        text = re.sub(r"listen \[::\]:443 ssl;", "", text)
        text = re.sub(r"server 127\.0\.0\.1:8471[^;]*;", "", text)
        text = text.replace("127.0.0.1:8470", server.url.removeprefix("http://").rstrip("/"))
        (folder / "site.conf").write_text(text)
        temporary = " ".join(
            f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (folder / "nginx.conf").write_text(
            f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log; events {{}}\n"
            f"http {{ access_log off; {temporary} include {folder}/site.conf; }}\n"
        )
        process = spawn([program, "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf"])
        end = time.monotonic() + 30
        while not (folder / "pid").exists():  # it is written once nginx listens
            assert process.poll() is None and time.monotonic() < end, (folder / "error.log").read_text()
            time.sleep(0.02)
        return Front(port, folder / "root.pem", server, tokens)

    yield make


def test_everything_passes_and_nothing_is_forged(make_front: Callable[..., Front]) -> None:
    """Batches, pages with secure cookies, readiness; a client's own forwarded address is thrown away."""
    front = make_front()
    batch = batch_of(make_result())
    sent = front.session.post(
        front.url + batches.BATCH_PATH,
        data=batch.body,
        headers=batches.batch_headers(batch, front.tokens["probe"]),
        timeout=60,
    )
    assert sent.json()["results"][0]["status"] == "accepted"
    signed_in = front.session.post(
        front.url + "login", data={"token": front.tokens["admin"]}, timeout=60, allow_redirects=False
    )
    assert signed_in.status_code == 303 and "Secure" in signed_in.headers["Set-Cookie"]
    assert "3273011001005" in front.session.get(front.url, timeout=60).text
    missing = front.session.get(front.url + "nowhere", headers={"Accept": "text/html"}, timeout=60)
    assert missing.status_code == 404 and "text/html" in missing.headers["Content-Type"]
    assert front.session.get(front.url + "readyz", timeout=60).status_code == 200
    forged = front.session.get(front.url + "backend/getIP", headers={"X-Forwarded-For": "203.0.113.9"}, timeout=60)
    assert forged.json()["processedString"] == "127.0.0.1"
    # nginx speaks for all: what it asks is not from this machine
    assert front.session.get(front.url + "metrics", timeout=60).status_code == 401


@pytest.mark.parametrize("as_sent", [True, False], ids=["as it is", "control: nginx's own way"])
def test_uploads_of_the_speed_test_arrive_as_they_are_sent(make_front: Callable[..., Front], as_sent: bool) -> None:
    """Without its one line nginx keeps each body until it is whole, and the report says so."""
    assert AS_SENT in FILE.read_text(encoding="utf-8")
    front = make_front((lambda text: text) if as_sent else (lambda text: text.replace(AS_SENT, "")))
    session = str(uuid.uuid4())
    front.upload_slowly(session)
    report = front.session.get(
        front.url + "backend/received",
        params={"session": session},
        headers={"Authorization": f"Bearer {front.tokens['probe']}"},
        timeout=60,
    ).json()
    assert report["bytes"] == 14 * 65_536
    assert report["buffered"] is not as_sent, report
