"""How long sigprobe takes to begin, against a bare interpreter measured in the same run.

Goals: `--version` at most 10 times a bare interpreter, `--help` 15 times, the first line of `test` 30 times. Also
named: what `--version` must not load. Exits 1 when a goal is missed. The package is compiled to bytecode first, as
`pip install` leaves it.

    python bench/startup.py [--n 15]
"""

from __future__ import annotations

import argparse
import compileall
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CONFIG = """probe: {tps_id: "3273011001005"}
location: {source: none}
targets:
  - {kind: ping, name: device, address: 127.0.0.1, count: 2, interval_ms: 10}
  - {kind: dns, name: name, hostname: localhost.test, resolvers: ["127.0.0.1:9"], timeout_ms: 200}
  - {kind: http, name: page, url: "http://127.0.0.1:9/"}
  - {kind: throughput, name: speed, url: "http://127.0.0.1:9/"}
"""
FORBIDDEN = ("requests", "dns", "rich", "icmplib", "speedtest", "pydantic", "typer", "sigprobe.measure")


def once(command: list[str], env: dict[str, str], *, first_line: bool = False) -> float:
    """Milliseconds until a command ends, or until its first line on stderr."""
    begun = time.perf_counter()
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        if first_line:
            process.stderr.readline()
            taken = time.perf_counter() - begun
            process.stderr.read()
            return taken * 1000
        process.stderr.read()
        process.wait()
    return (time.perf_counter() - begun) * 1000


def main() -> int:
    """Measure and judge."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--n", type=int, default=15)
    count = parser.parse_args().n
    missed = 0
    compileall.compile_dir(Path(__file__).parents[1] / "sigprobe", quiet=1)
    with tempfile.TemporaryDirectory() as folder:
        env = {k: v for k, v in os.environ.items() if not k.startswith(("SIGPROBE_", "XDG_"))} | {"HOME": folder}
        (Path(folder) / "config.yaml").write_text(CONFIG)
        run = [sys.executable, "-m", "sigprobe"]
        test = [*run, "test", "--no-upload", "--config", f"{folder}/config.yaml"]
        commands = {
            "bare": ([sys.executable, "-c", "pass"], False, None),
            "--version": ([*run, "--version"], False, 10),
            "--help": ([*run, "--help"], False, 15),
            "first line of test": (test, True, 30),
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(count):
            # taken in turn, so that a noisy moment meets all of them
            for name, (command, first, _goal) in commands.items():
                times[name].append(once(command, env, first_line=first))
        bare = statistics.median(times["bare"])
        print(f"bare interpreter {bare:.1f} ms (median of {count})")
        for name, (_command, _first, goal) in commands.items():
            if goal is None:
                continue
            median = statistics.median(times[name])
            good = median <= goal * bare
            missed += not good
            word = "ok" if good else "MISSED"
            print(f"{name:<20} {median:7.1f} ms  {median / bare:5.1f} x  goal <= {goal} x  {word}")
        probe = (
            "import sys, sigprobe.cli; sys.argv=['sigprobe','--version']\n"
            "try: sigprobe.cli.main()\nexcept SystemExit: pass\n"
            f"print([m for m in {FORBIDDEN!r} if m in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", probe], env=env, capture_output=True, text=True, check=True)
        loaded = done.stdout.splitlines()[-1]
        missed += loaded != "[]"
        print(f"--version loads of {', '.join(FORBIDDEN)}: {loaded}  goal []  {'ok' if loaded == '[]' else 'MISSED'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
