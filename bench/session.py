"""What `sigprobe test` adds to its own checks: wall time beyond the slowest latency check plus throughput, and memory.

Goals: at most 0.3 s beyond start-up, and at most 90 MB at the peak. Exits 1 when one is missed. Start-up is what passes
between the start of the process and that of its first check; beside it stands what `config check` takes, which loads
the settings and no more (`bench/startup.py` judges how soon the first line stands there). The target is a collector on
loopback; nothing leaves this machine.

    python bench/session.py [--n 5]
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

GOAL_S = 0.3
GOAL_MB = 90.0
CONFIG = """probe: {{tps_id: "3273011001005"}}
location: {{source: none}}
buffer: {{path: "{folder}/buffer.db"}}
targets:
  - {{kind: ping, name: device, address: 127.0.0.1, count: 10, interval_ms: 100}}
  - {{kind: http, name: page, url: "{url}healthz"}}
  - {{kind: throughput, name: speed, url: "{url}", max_mb: 20, max_s: 3}}
"""
RUN = [sys.executable, "-m", "sigprobe"]


def free_port() -> int:
    """A TCP port of loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def await_port(port: int) -> None:
    """Wait until somebody listens."""
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError("the collector did not start")


def once(command: list[str], env: dict[str, str]) -> tuple[float, float, str]:
    """Seconds, peak megabytes and stdout of a command."""
    begun = time.perf_counter()
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        text = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return time.perf_counter() - begun, usage.ru_maxrss / 1000, text


def expected_s(results: list[dict[str, Any]]) -> float:
    """Seconds that the checks themselves need: the slowest that run side by side, then throughput."""
    alone = [one["duration_ms"] for one in results if one["kind"] == "throughput"]
    together = [one["duration_ms"] for one in results if one["kind"] != "throughput"]
    return (max(together, default=0) + sum(alone)) / 1000


def main() -> int:
    """Measure and judge."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--n", type=int, default=5)
    count = parser.parse_args().n
    with tempfile.TemporaryDirectory() as folder:
        env = {k: v for k, v in os.environ.items() if not k.startswith(("SIGPROBE_", "XDG_"))} | {"HOME": folder}
        port = free_port()
        serve = [*RUN, "collector", "serve", "--port", str(port), "--database", f"sqlite:///{folder}/collector.db"]
        collector = subprocess.Popen(serve, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            await_port(port)
            config = Path(folder, "config.yaml")
            config.write_text(CONFIG.format(folder=folder, url=f"http://127.0.0.1:{port}/"))
            idle = [*RUN, "config", "check", "--config", str(config)]
            idle_s = statistics.median(once(idle, env)[0] for _ in range(count))
            test = [*RUN, "test", "--no-upload", "--json", "--config", str(config)]
            beyond, starts, peaks = [], [], []
            for number in range(count):
                begun = datetime.now(UTC)
                seconds, peak_mb, text = once(test, env)
                results = json.loads(text)["results"]
                needed = expected_s(results)
                first = min(datetime.fromisoformat(one["started_at"]) for one in results)
                starts.append((first - begun).total_seconds())
                beyond.append(seconds - needed - starts[-1])
                peaks.append(peak_mb)
                print(f"run {number + 1}: {seconds:.2f} s, of it checks {needed:.2f} s; peak {peak_mb:.0f} MB")
        finally:
            collector.terminate()
            collector.wait()
    extra, peak = statistics.median(beyond), max(peaks)
    start_s, load = statistics.median(starts), os.getloadavg()[0]
    print(f"start-up {start_s:.2f} s, config check {idle_s:.2f} s; load average {load:.1f}")
    print(
        f"{'met' if extra <= GOAL_S else 'MISSED':7} beyond start-up ≤ {GOAL_S} s: {extra:+.2f} s (median of {count})"
    )
    print(f"{'met' if peak <= GOAL_MB else 'MISSED':7} peak memory ≤ {GOAL_MB:.0f} MB: {peak:.0f} MB")
    return 0 if extra <= GOAL_S and peak <= GOAL_MB else 1


if __name__ == "__main__":
    sys.exit(main())
