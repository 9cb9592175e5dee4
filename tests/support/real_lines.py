"""Make stored lines as real tests of loopback write them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.collector_process import started
from tests.support.requirements import ROOT


def real_lines(config: str, runs: int, *options: str) -> list[bytes]:
    """Run `sigprobe test` so often beside a collector, and return the records' lines.

    `config` is the text of the settings, with `{folder}` for their directory and `{url}` for the collector.
    """
    with tempfile.TemporaryDirectory(prefix="sigprobe-lines-") as folder:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("SIGPROBE_", "XDG_"))} | {
            "HOME": folder
        }
        run = [sys.executable, "-m", "sigprobe"]
        process = subprocess.Popen(
            [*run, "collector", "serve", "--port", "0", "--database", f"sqlite:///{folder}/collector.db"],
            env=environment,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        found: list[bytes] = []
        try:
            path = Path(folder, "config.yaml")
            path.write_text(config.format(folder=folder, url=started(process).url))
            test = [*run, "-qq", "test", "--no-upload", "--ndjson", *options, "--config", str(path)]
            for _ in range(runs):
                text = subprocess.run(test, env=environment, cwd=ROOT, stdout=subprocess.PIPE, check=False).stdout
                found += [line for line in text.splitlines() if b'"probe_id"' in line]
        finally:
            process.terminate()
            process.wait(30)
        return found
