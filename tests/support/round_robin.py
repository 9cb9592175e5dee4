"""Run several collectors on one PostgreSQL behind a real nginx that shares requests out in turn."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from tests.support.collector_process import Server, new_token, serve
from tests.support.requirements import needs
from tests.support.survivors import spawning

PROCESS = "X-Process"
"""Names the process that answered."""


class RoundRobin:
    """The balancer and what is behind it. `X-Client` of a request is the address that its client seems to have."""

    def __init__(self, url: str, servers: Sequence[Server], database: str) -> None:
        self.url, self.servers, self.database = url, servers, database
        self._tokens = 0

    def token(self, role: str = "probe") -> str:
        """Return a new token."""
        self._tokens += 1
        return new_token(role, f"{role}-{self._tokens}", self.database)

    def get(self, path: str, token: str | None = None, **options: Any) -> requests.Response:
        """Send a GET to the next process."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return requests.get(self.url + path, headers=headers | options.pop("headers", {}), timeout=60, **options)


@contextmanager
def round_robin(
    folder: Path, port: int, database: str, *args: str, patch: str = "", processes: int = 2
) -> Iterator[RoundRobin]:
    """Start the processes and nginx before them. `patch` is Python code that takes a protection away in each."""
    program = needs("nginx", "nginx")
    folder.mkdir()
    with spawning() as spawn:
        servers = [serve(spawn, database, "--behind-proxy", *args, patch=patch) for _ in range(processes)]
        behind = " ".join(f"server {one.url.removeprefix('http://').rstrip('/')};" for one in servers)
        temporary = " ".join(
            f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (folder / "nginx.conf").write_text(
            f"""daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log; events {{}}
            http {{
                access_log off; {temporary}
                upstream collectors {{ {behind} }}
                server {{
                    listen 127.0.0.1:{port};
                    location / {{
                        proxy_pass http://collectors; proxy_http_version 1.1; proxy_set_header Connection "";
                        proxy_set_header X-Forwarded-For $http_x_client;
                        client_max_body_size 0; proxy_request_buffering off; proxy_buffering off;
                        proxy_next_upstream off;
                        add_header {PROCESS} $upstream_addr always;
                    }}
                }}
            }}
            """,
            encoding="utf-8",
        )
        process = spawn([program, "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf"])
        end = time.monotonic() + 60
        while not (folder / "pid").exists():  # it is written once nginx listens
            assert process.poll() is None and time.monotonic() < end, (folder / "error.log").read_text()
            time.sleep(0.02)
        yield RoundRobin(f"http://127.0.0.1:{port}/", servers, database)
