"""Uploads behind a real nginx, which by default keeps a body until it is whole and then sends it on at once."""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from sigprobe.measure.kind import Measured
from sigprobe.measure.throughput import http_engine, kind
from sigprobe.measure.throughput.options import Options
from sigprobe.net.limits import Context, Deadline
from tests.support.link_emulator import Link, Way, link
from tests.support.netns import MARKS
from tests.support.servers.nginx import nginx
from tests.support.servers.speedtests import collector as endpoints

DEFAULT = ""
LARGE = "client_max_body_size 0;"
AS_SENT = "client_max_body_size 0; proxy_request_buffering off;"


def upload_slowly(url: str, session: str, pieces: int) -> None:
    """Post one body in pieces of 64 KiB, one every 30 ms."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), 10) as sock:
        head = f"POST /backend/empty?session={session} HTTP/1.1\r\nHost: x\r\nContent-Length: {pieces * 65_536}\r\n\r\n"
        sock.sendall(head.encode())
        for _ in range(pieces):
            sock.sendall(b"x" * 65_536)
            time.sleep(0.03)
        assert sock.recv(12) == b"HTTP/1.1 200"


@pytest.mark.process
@pytest.mark.parametrize(("lines", "buffered"), [(LARGE, True), (AS_SENT, False), (None, False)])
def test_the_server_says_whether_a_body_came_as_it_was_sent(tmp_path: Path, lines: str | None, buffered: bool) -> None:
    """A body that took half a second: behind nginx's own way it arrives in one burst, else as it was sent."""
    session = str(uuid.uuid4())
    with endpoints() as url:
        if lines is None:
            upload_slowly(url, session, 14)
        else:
            with nginx(url, tmp_path / "nginx", lines) as front:
                upload_slowly(front, session, 14)
        report = requests.get(f"{url}backend/received", params={"session": session}, timeout=10).json()
    assert report["bytes"] == 14 * 65_536
    assert report["buffered"] is buffered, report
    assert (report["elapsed_s"] > 0.3) is not buffered


@pytest.mark.parametrize(("lines", "counted_by"), [(DEFAULT, "proxy"), (LARGE, "proxy"), (AS_SENT, "server")])
class TestOverALink:
    """A probe behind a link of 8 Mbit/s, and nginx before the collector at its far end."""

    pytestmark = MARKS

    def test_no_upload_is_wrong_unmarked(
        self, lines: str, counted_by: str, collector: Callable[[Link], str], tmp_path: Path
    ) -> None:
        """The rate is the link's, or there is none; `server` stands only where the server saw it arrive."""
        data = self.measure(lines, collector, tmp_path)
        assert data["upload_counted_by"] == counted_by, data
        assert data["upload_bps"] == pytest.approx(8e6 * 0.95, rel=0.12), data

    def measure(self, lines: str, collector: Callable[[Link], str], tmp_path: Path) -> dict[str, Any]:
        """Measure an upload over the link, through nginx with these lines."""

        def run() -> Measured:
            chosen = Options(name="x", url=front, direction="upload", max_mb=12, max_s=6)
            return kind.measure(chosen, Context(Deadline.after(chosen.timeout_s())))

        way = Way(delay_ms=10, rate_bps=8e6, queue_bytes=60_000)
        with link(up=way, down=way) as wire:
            url = collector(wire)
            with nginx(url, tmp_path / "nginx", lines, host=wire.far_address, within=wire.far) as front:
                found: dict[str, Any] = wire.near.call(run).data
        return found

    def test_without_the_look_at_its_times_a_proxy_passes_unmarked(
        self,
        lines: str,
        counted_by: str,
        collector: Callable[[Link], str],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The control: believed as it is, the server's count says nothing of the proxy before it."""
        # the measurement runs in a fork of this process
        monkeypatch.setattr(http_engine, "_is_held_back", lambda *_: False)
        marked = self.measure(lines, collector, tmp_path)["upload_counted_by"]
        assert (marked == counted_by) is (counted_by == "server"), marked
