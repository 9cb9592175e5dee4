"""The tools that `accuracy.py` compares, each run on one emulated link: a dict of figures for each run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median, median_grouped
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import sigprobe.measure.throughput.http_engine  # noqa: F401 - so that a long run measures with one state of the code
from sigprobe.measure.ping import kind as ping
from sigprobe.measure.throughput import kind as throughput
from sigprobe.net.limits import Context, Deadline
from tests.support.link_emulator import Link, Way, link

ROOT = Path(__file__).parent.parent
PORT = 8470
Row = dict[str, Any]


@dataclass(frozen=True)
class Point:
    """One link. The queue holds what the link carries in a round trip, in a tenth of a second, or 30 kB."""

    rate_mbit: float
    rtt_ms: float
    congestion: str
    loss: float = 0.0

    def way(self) -> Way:
        """The same in each direction."""
        bits = self.rate_mbit * 1e6
        queue = max(bits * self.rtt_ms / 8e3, bits * 0.1 / 8, 30_000)
        return Way(delay_ms=self.rtt_ms / 2, rate_bps=bits, loss=self.loss, queue_bytes=round(queue))

    def text(self) -> str:
        """As in `--only`: rate, round trip, congestion control and, where there is any, loss."""
        return f"{self.rate_mbit:g}/{self.rtt_ms:g}/{self.congestion}" + (f"/{self.loss:g}" if self.loss else "")


MATRIX = [Point(rate, rtt, cc) for rate in (1, 5, 20, 100, 300) for rtt in (20, 100, 300) for cc in ("bbr", "cubic")]
LOSSY = [Point(rate, rtt, cc, 0.01) for rate in (5, 20, 100) for rtt in (20, 60) for cc in ("bbr", "cubic")]


@contextmanager
def running(link_: Link, *, only_ours: bool = False) -> Iterator[None]:
    """The far end's servers: the collector, and unless `only_ours` iperf3 and the one for speedtest-cli."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        python, far = sys.executable, link_.far_address
        hosts = Path("/etc/netns", link_.near.name)
        hosts.mkdir(parents=True)
        stack.callback(shutil.rmtree, hosts, ignore_errors=True)
        (hosts / "hosts").write_text(f"127.0.0.1 localhost\n{far} www.speedtest.net\n")
        serve = [python, "-m", "sigprobe", "collector", "serve", "--host", far, "--port", str(PORT)]
        serve += ["--throughput", "open", "--throughput-daily-mb", "1000000"]
        serve += ["--database", f"sqlite:///{folder}/collector.db"]
        commands = [serve, ["iperf3", "-s"], [python, str(ROOT / "bench" / "speedtest_server.py"), far]]
        for command in commands[: 1 if only_ours else None]:
            process = subprocess.Popen(
                link_.far.command(*command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT
            )
            stack.callback(process.wait)
            stack.callback(process.terminate)
        for port in (PORT,) if only_ours else (PORT, 5201, 80):
            _await_port(link_, port)
        yield


def _await_port(wire: Link, port: int) -> None:
    for _ in range(100):
        if f":{port} " in wire.far.run("ss", "-ltnH").stdout:
            return
        time.sleep(0.2)
    raise RuntimeError(f"no server on port {port}")


@contextmanager
def at(point: Point, seed: int = 1) -> Iterator[Link]:
    """The point's link with its servers."""
    with link(up=point.way(), down=point.way(), congestion=point.congestion, seed=seed) as wire, running(wire):
        yield wire


def wire_bytes(wire: Link) -> int:
    """Bytes that have crossed the link both ways."""
    return sum(cell["passed_bytes"] for ways in wire.counts().values() for cell in ways.values())


def timed(wire: Link, run: Callable[[Link], Row]) -> Row:
    """A run with its seconds, its bytes on the link, and how busy the machine and the relay were."""
    before, cpu_s, start = wire_bytes(wire), wire.cpu_s(), time.monotonic()
    row = run(wire)
    seconds = time.monotonic() - start
    busy = (wire.cpu_s() - cpu_s) / seconds
    # what was already under way still crosses the link, and the user still pays for it
    total = wire_bytes(wire)
    while True:
        time.sleep(0.7)
        now = wire_bytes(wire)
        if now - total < 2000:
            break
        total = now
    return {
        **row,
        "seconds": round(seconds, 2),
        "wire_bytes": now - before,
        "relay_cpu": round(busy, 2),
        "load": round(os.getloadavg()[0], 1),
    }


def ours(wire: Link, **options: Any) -> Row:
    """Engine `http` with its defaults, against the collector."""

    def run() -> Row:
        chosen = throughput.Options(name="x", url=f"http://{wire.far_address}:{PORT}/", **options)
        measured = throughput.measure(chosen, Context(Deadline.after(chosen.timeout_s())))
        failure = measured.failure
        return {**measured.data, "failure": failure and f"{failure.code}: {failure.detail}"}

    return {**wire.near.call(run), "tool": "sigprobe"}


def iperf3(wire: Link, seconds: int, streams: int) -> Row:
    """The reference: so many streams for so long, each way, the first two seconds left out."""
    row: Row = {"tool": "iperf3", "streams": streams, "reference_s": seconds}
    for way, flag in (("download", ["-R"]), ("upload", [])):
        command = ["iperf3", "-c", wire.far_address, "-J", "-t", str(seconds), "-O", "2", "-P", str(streams), *flag]
        for _ in range(3):
            with suppress(RuntimeError, subprocess.TimeoutExpired):
                end = json.loads(wire.near.run(*command, timeout=seconds + 40).stdout)["end"]
                row[f"{way}_bps"] = round(end["sum_received"]["bits_per_second"])
                break
            time.sleep(1)
    return row


def speedtest_cli(wire: Link) -> Row:
    """The package's own command with its defaults."""
    done = wire.near.run(sys.executable, "-m", "speedtest", "--json", check=False, timeout=180)
    if done.returncode:
        return {"tool": "speedtest-cli", "failure": done.stderr.strip()[-200:]}
    found = json.loads(done.stdout)
    return {
        "tool": "speedtest-cli",
        "download_bps": round(found["download"]),
        "upload_bps": round(found["upload"]),
        "bytes_received": found["bytes_received"],
        "bytes_sent": found["bytes_sent"],
    }


def curl(wire: Link, seconds: int) -> Row:
    """One connection each way for so long: what a script without a tool would do."""
    url = f"http://{wire.far_address}:{PORT}/backend"
    common = ["curl", "-s", "-o", "/dev/null", "--max-time", str(seconds)]
    row: Row = {"tool": "curl"}
    down = wire.near.run(*common, "-w", "%{speed_download}", f"{url}/garbage?ckSize=100", check=False)
    row["download_bps"] = round(float(down.stdout) * 8)
    with tempfile.NamedTemporaryFile() as big:
        big.truncate(1 << 30)
        up = wire.near.run(*common, "-w", "%{speed_upload}", "-T", big.name, "-X", "POST", f"{url}/empty", check=False)
    row["upload_bps"] = round(float(up.stdout) * 8)
    return row


# --- latency ------------------------------------------------------------------------------------------------


def ping_ours(wire: Link | None, address: str, count: int, interval_ms: int) -> Row:
    """Our own ping, on this machine (no link) or in the near namespace."""

    def run() -> Row:
        options = ping.Options(kind="ping", name="x", address=address, count=count, interval_ms=interval_ms)
        data = ping.measure(options, Context(Deadline.after(options.timeout_s()))).data
        names = ("rtt_median_ms", "sent", "received", "loss_ratio", "jitter_ms")
        return {name: data[name] for name in names}

    return {"tool": "sigprobe", **(wire.near.call(run) if wire else run())}


def _run(wire: Link | None, *command: str) -> subprocess.CompletedProcess[str]:
    if wire is not None:
        return wire.near.run(*command, check=False, timeout=200)
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)


def printed_median(words: Sequence[str]) -> float | None:
    """The median of printed times, finer than they are printed.

    Above 10 ms ping and fping print tenths, which is as much as the goal allows in all: the median is placed within
    its tenth by how many times lie below and above it.
    """
    if not words:
        return None
    width = 10.0 ** -min(len(word.partition(".")[2]) for word in words)
    return round(median_grouped([float(word) for word in words], width), 4)


def ping_iputils(wire: Link | None, address: str, count: int, interval_ms: int) -> Row:
    """iputils-ping, its own median made from its lines."""
    done = _run(wire, "ping", "-n", "-c", str(count), "-i", str(interval_ms / 1000), address)
    times = [line.split("time=")[1].split(" ")[0] for line in done.stdout.splitlines() if "time=" in line]
    return {"tool": "ping", "rtt_median_ms": printed_median(times), "sent": count, "received": len(times)}


def ping_fping(wire: Link | None, address: str, count: int, interval_ms: int) -> Row:
    """fping with every time printed."""
    command = ["fping", "-q", "-C", str(count), "-p", str(interval_ms), "-t", "1000", address]
    words = _run(wire, *command).stderr.strip().rpartition(" : ")[2].split()
    times = [word for word in words if word != "-"]
    return {"tool": "fping", "rtt_median_ms": printed_median(times), "sent": count, "received": len(times)}


def ping_blackbox(wire: Link | None, address: str, count: int, interval_ms: int) -> Row | None:
    """prometheus-blackbox-exporter's icmp probe, asked `count` times; None where it is not installed."""
    exporter = shutil.which("prometheus-blackbox-exporter")
    if exporter is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "config.yml")
        config.write_text("modules: {icmp: {prober: icmp, timeout: 3s, icmp: {preferred_ip_protocol: ip4}}}\n")
        command = [exporter, f"--config.file={config}", "--web.listen-address=127.0.0.1:9115"]
        process = subprocess.Popen(
            wire.near.command(*command) if wire else command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            time.sleep(1)
            times = []
            for _ in range(count):
                text = _run(wire, "curl", "-s", f"http://127.0.0.1:9115/probe?module=icmp&target={address}").stdout
                times += [
                    float(line.split()[-1]) * 1000
                    for line in text.splitlines()
                    if line.startswith("probe_icmp_duration_seconds{") and 'phase="rtt"' in line
                ]
                time.sleep(interval_ms / 1000)
        finally:
            process.terminate()
            process.wait()
    got = [value for value in times if value > 0]
    return {"tool": "blackbox", "rtt_median_ms": median(got) if got else None, "sent": count, "received": len(got)}
