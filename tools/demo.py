"""The main job once, on this machine alone: measure, keep, send; lose the collector, keep; find it again, send.

Everything runs on loopback against real servers that this script starts and stops: a collector, a second one that
only serves speed tests, a small web page and a small DNS server. What it makes lies in `.demo/`.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dns.message
import dns.rrset

HOME = Path(__file__).resolve().parent.parent / ".demo"
PAGE = b"<!doctype html><title>Demo</title><p>rekapitulasi</p>"
READY_S = 30.0


def main() -> int:
    """Run the demo; 0 when the queue is empty at the end."""
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir()
    with ExitStack() as stack:
        web = stack.enter_context(web_page())
        resolver = stack.enter_context(dns_server())
        say("1. A collector, with a token for the probe and one for the people who look")
        probe_token = sigprobe("collector", "token", "create", "--probe", "demo-laptop").splitlines()[-1]
        admin_token = sigprobe("collector", "token", "create", "--admin", "demo-centre").splitlines()[-1]
        (HOME / "token").touch(mode=0o600)
        (HOME / "token").write_text(probe_token + "\n")
        speed = stack.enter_context(collector(free_port(), "--only", "throughput"))
        port = free_port()
        write_config(port, speed, web, resolver)
        # by itself a test also looks at gateway and resolvers; the demo stays on this machine
        here = [word for kind in ("ping", "dns", "http", "throughput") for word in ("--only", kind)]
        with collector(port):
            say("2. sigprobe test (in Indonesian): measured, on disk, sent")
            show("test", "--lang", "id", *here)
        say("3. The collector is gone: sigprobe test measures and keeps")
        show("test", "--lang", "en", *here[:6])
        kept = json.loads(sigprobe("status", "--json"))["pending"]
        print(f"pending {kept}")
        if not kept:
            print("nothing was kept: the demo has failed")
            return 1
        with collector(port) as url:
            say("4. The collector is back: sigprobe upload")
            show("upload")
            pending = json.loads(sigprobe("status", "--json"))["pending"]
            say("5. What the collector holds")
            for record in stored(url, admin_token):
                tags = record["tags"]
                print(
                    f"  {record['started_at']}  TPS {tags['tps_id']}  {record['kind']:<10} "
                    f"{record['target']['name']:<8} {record['outcome']}"
                )
            print(f"Its page, while it runs: {url}")
        print("To run it yourself:")
        print(f"  SIGPROBE_DATABASE={database()} {sys.executable} -m sigprobe collector serve --port {port}")
        print(f"  log in there with the admin token {admin_token}")
        print(f"pending {pending}")
        return 0 if pending == 0 else 1


def say(text: str) -> None:
    """A heading."""
    print(f"\n=== {text}", flush=True)


def database() -> str:
    """The demo's database."""
    return f"sqlite:///{HOME / 'collector.db'}"


def environment() -> dict[str, str]:
    """Everything the demo writes stays in its own folder."""
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("SIGPROBE_", "XDG_"))}
    return keep | {
        "HOME": str(HOME),
        "SIGPROBE_CONFIG": str(HOME / "config.yaml"),
        "SIGPROBE_DATABASE": database(),
        "PYTHONUTF8": "1",
    }


def sigprobe(*arguments: str) -> str:
    """Run a command and return what it printed; a failure ends the demo."""
    command = [sys.executable, "-m", "sigprobe", *arguments]
    done = subprocess.run(command, env=environment(), text=True, capture_output=True, timeout=120, check=False)
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
        raise SystemExit(f"sigprobe {' '.join(arguments)}: exit {done.returncode}")
    return done.stdout


def show(*arguments: str) -> None:
    """Run a command as a person would, on this terminal."""
    print(f"$ sigprobe {' '.join(arguments)}", flush=True)
    command = [sys.executable, "-m", "sigprobe", *arguments]
    code = subprocess.run(command, env=environment(), timeout=180, check=False).returncode
    if code:
        raise SystemExit(f"sigprobe {' '.join(arguments)}: exit {code}")


@contextmanager
def collector(port: int, *options: str) -> Iterator[str]:
    """A collector in a process of its own, stopped by its pid."""
    url = f"http://127.0.0.1:{port}/"
    command = [sys.executable, "-m", "sigprobe", "collector", "serve", "--port", str(port), *options]
    with (HOME / f"collector-{port}.log").open("ab") as log:
        process = subprocess.Popen(command, env=environment(), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        wait_for(process, port)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


def wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until the collector accepts connections."""
    until = time.monotonic() + READY_S
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), 0.5).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit(f"the collector did not start; see {HOME / f'collector-{port}.log'}")


def stored(url: str, token: str) -> list[dict[str, Any]]:
    """All records the collector holds."""
    request = urllib.request.Request(f"{url}v1/results?limit=1000", headers={"Authorization": f"Bearer {token}"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as answer:
        results: list[dict[str, Any]] = json.load(answer)["results"]
        return results


@contextmanager
def web_page() -> Iterator[str]:
    """A small web page."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(PAGE)))
            self.end_headers()
            self.wfile.write(PAGE)

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def dns_server() -> Iterator[str]:
    """A small DNS server that knows one name."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    host, port = server.getsockname()

    def serve() -> None:
        while True:
            try:
                data, client = server.recvfrom(4096)
                if not data:
                    return
                query = dns.message.from_wire(data)
                answer = dns.message.make_response(query)
                answer.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "A", "127.0.0.1"))
                server.sendto(answer.to_wire(), client)
            except OSError:
                return

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"{host}:{port}"
    finally:
        # shutdown wakes recvfrom; close alone would leave the thread in it
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        server.close()


def free_port() -> int:
    """A TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def write_config(port: int, speed: str, web: str, resolver: str) -> None:
    """The settings of the demo's probe."""
    (HOME / "config.yaml").write_text(
        f"""language: id
probe: {{tps_id: "3273011001005", election_id: "demo", operator: "51010"}}
location: {{source: fixed, fixed: {{lat: -6.91474, lon: 107.60981}}}}
targets:
  - {{kind: ping, name: device, address: 127.0.0.1, count: 10, interval_ms: 50}}
  - {{kind: dns, name: kpu, hostname: kpu.demo, resolvers: ["{resolver}"]}}
  - {{kind: http, name: sirekap, url: "{web}", expect_text: rekapitulasi}}
  - {{kind: throughput, name: center, engine: http, url: "{speed}", max_mb: 10, max_s: 3}}
upload:
  collectors:
    - {{url: "http://127.0.0.1:{port}/", token_file: "{HOME / "token"}"}}
"""
    )


if __name__ == "__main__":
    sys.exit(main())
