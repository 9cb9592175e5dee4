"""Promise 13, tested by schemathesis: requests that `/openapi.json` allows, and others."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.support.requirements import ROOT, missing
from tests.trials.faults.fault_site import SILENT, Site
from tests.trials.faults.trial import Trial, hold

PROGRAM: Final = ROOT / ".venv-schemathesis" / "bin" / "schemathesis"
"""In an environment of its own: what it wants of other libraries is nothing the collector's users should get."""

CHECKS: Final = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
"""Not that whatever the schema forbids is refused: LibreSpeed's clients put into a query what they like."""

HOOKS: Final = """
import json
import schemathesis

@schemathesis.serializer("application/x-ndjson")
def lines(context, value):
    return value if isinstance(value, bytes) else json.dumps(value).encode()
"""


def hold_to_the_schema(
    site: Site, folder: Path, token: str, seed: int, examples: int, *only: str, phases: str = ""
) -> int:
    """Let schemathesis test every endpoint, or `only` these; returns the number of its cases."""
    (folder / "sigprobe_hooks.py").write_text(HOOKS)
    chosen = [option for path in only for option in ("--include-path", path)]
    done = subprocess.run(
        [
            *(str(PROGRAM), "run", f"{site.url}openapi.json", "--header", f"Authorization: Bearer {token}"),
            *("--checks", CHECKS, "--max-examples", str(examples), "--seed", str(seed), "--no-color"),
            *("--request-timeout", "20", "--continue-on-failure", *chosen, *(["--phases", phases] if phases else [])),
        ],
        cwd=folder,
        env={**os.environ, "SCHEMATHESIS_HOOKS": "sigprobe_hooks", "PYTHONPATH": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    text = done.stdout + done.stderr
    hold("Server error" not in text, "server-error", text[-3000:])
    hold(done.returncode == 0, "contract", text[-3000:])
    found = re.search(r"([\d,]+) generated", text)
    hold(found is not None, "nothing-tried", text[-3000:])
    return int(found[1].replace(",", "")) if found else 0


@pytest.mark.timeout(0)
def test_schemathesis_finds_no_fault(trial: Callable[..., Trial], tmp_path: Path) -> None:
    """On every documented address, as a probe and as the centre: no 500, only what is documented."""
    if not PROGRAM.exists():
        missing(
            "schemathesis is not installed",
            "python3 -m venv .venv-schemathesis && .venv-schemathesis/bin/pip install 'schemathesis==4.32.5'",
        )
    run = trial(13, "schemathesis", short=3, full=300)
    with Site(tmp_path / "site") as site:
        cases = hold_to_the_schema(site, tmp_path, site.admin, run.seed, run.n)
        cases += hold_to_the_schema(site, tmp_path, site.token, run.seed, run.n, "/v1/batches")
        hold(b"Traceback" not in site.log.read_bytes(), "traceback", site.log.read_text()[-2000:])
    with run.expect_failure("server-error"), Site(tmp_path / "silent", patch=SILENT) as silent:
        # its phase `coverage` sets each parameter once, whatever the seed
        hold_to_the_schema(silent, tmp_path, silent.admin, 1, 1, "/v1/results", phases="coverage")
    run.report(0, n=cases)
