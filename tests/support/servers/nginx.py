"""Run a real nginx in front of a server on loopback."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import survivors
from tests.support.netns import Namespace
from tests.support.requirements import needs

CONFIG = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{
        listen {host}:{port};
        {lines}
        location / {{ proxy_http_version 1.1; proxy_set_header X-Forwarded-For $remote_addr; proxy_pass {url}; }}
    }}
}}
"""


@contextmanager
def nginx(
    url: str, folder: Path, lines: str = "", *, host: str = "127.0.0.1", within: Namespace | None = None
) -> Iterator[str]:
    """Forward everything to `url`; `lines` are added to the server's block. Provides the address of nginx."""
    program = needs("nginx", "nginx")
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    config = folder / "nginx.conf"
    config.write_text(CONFIG.format(folder=folder, host=host, port=port, lines=lines, url=url.rstrip("/")))
    command = [program, "-e", str(folder / "error.log"), "-c", str(config)]
    process = subprocess.Popen(
        command if within is None else within.command(*command), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        end = time.monotonic() + 10
        while not (folder / "pid").exists():  # it is written once nginx listens
            if process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"nginx did not start: {(folder / 'error.log').read_text()}")
            time.sleep(0.02)
        yield f"http://{host}:{port}/"
    finally:
        survivors.end(process)
