"""What a run may use: per run, day, month and interface; what is left out says so, and sending is never held back."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sigprobe.buffer import Buffer
from sigprobe.runs.data_budget import Limits, allowance, day_of, month_of
from tests.support.netns import namespace
from tests.support.running_site import Run
from tests.support.stand_in_collector import put, standin

DAY = "2029-02-14"
USED = {(DAY, "wwan0"): 3_000_000, (DAY, "wlan0"): 1_000_000, ("2029-02-01", "wwan0"): 90_000_000}


def used(prefix: str, interface: str | None) -> int:
    return sum(n for (day, name), n in USED.items() if day.startswith(prefix) and interface in (None, name))


@pytest.mark.parametrize(
    ("everywhere", "here", "asked", "left"),
    [
        (Limits(), None, None, None),
        (Limits(), Limits(), None, None),
        (Limits(per_run_mb=20), None, None, 20_000_000),
        (Limits(per_run_mb=20), None, 50_000_000, 50_000_000),
        (Limits(per_day_mb=10), None, None, 6_000_000),
        (Limits(per_day_mb=10), None, 50_000_000, 6_000_000),
        (Limits(per_day_mb=3), None, None, 0),
        (Limits(per_month_mb=100), None, None, 6_000_000),
        (Limits(per_day_mb=10), Limits(per_day_mb=4), None, 1_000_000),
        (Limits(per_day_mb=10), Limits(per_month_mb=95), None, 2_000_000),
        (Limits(), Limits(per_run_mb=5), None, 5_000_000),
        (Limits(per_run_mb=0), None, None, 0),
    ],
)
def test_the_tightest_limit_holds(everywhere: Limits, here: Limits | None, asked: int | None, left: int | None) -> None:
    """Day and month bind whatever was asked for, an interface's own limits count its own bytes alone."""
    assert allowance(DAY, used, everywhere, "wwan0", here, asked) == left


def settings(folder: Path, collector: str, budget: dict[str, Any]) -> Path:
    """A ping of this device, a page that nobody may ask for, and the collector."""
    (folder / "token").write_text("t" * 43)
    (folder / "token").chmod(0o600)
    document = {
        "probe": {"tps_id": "3273011001005"},
        "location": {"source": "none"},
        "buffer": {"path": str(folder / "queue" / "buffer.db")},
        "upload": {"collectors": [{"url": collector, "token_file": str(folder / "token")}]},
        "data_budget": budget,
        "targets": [
            {"kind": "ping", "name": "device", "address": "127.0.0.1", "count": 2, "interval_ms": 10},
            {"kind": "throughput", "name": "speed", "engine": "http", "url": "http://127.0.0.1:9/"},
        ],
    }
    (path := folder / "config.yaml").write_text(json.dumps(document))
    return path


def outcomes(done: Any) -> list[tuple[str, str | None]]:
    assert done.returncode == 0, done.stderr
    return [(r["outcome"], (r["failure"] or {}).get("code")) for r in json.loads(done.stdout)["results"][:2]]


def test_a_used_up_day_leaves_out_what_is_heavy_and_still_sends(tmp_path: Path, sigprobe: Run) -> None:
    """The day's limit holds over runs, `status` shows it, and a backlog goes up all the same and is counted."""
    with standin() as server:
        config = settings(tmp_path, server.url, {"per_day_mb": 10})
        today = day_of(datetime.now(UTC))
        with Buffer(tmp_path / "queue" / "buffer.db") as queue:
            queue.add_usage(today, "", 10_000_000)
            put(queue, 5)
        before = 10_000_000
        done = sigprobe("test", "--json", "--only", "ping", "--only", "throughput", "--config", str(config))
        assert outcomes(done)[1] == ("skipped", "data_budget")
        assert json.loads(done.stdout)["pending"] == 0
        assert sum(server.sizes) == 8
        body = sum(len(sent.body) for sent in server.seen)
    shown = json.loads(sigprobe("status", "--json", "--config", str(config)).stdout)
    assert shown["data_used_today_bytes"] > before + body
    assert shown["data_used_month_bytes"] == shown["data_used_today_bytes"]
    assert "10 MB" in sigprobe("status", "--config", str(config)).stdout


@pytest.fixture
def on_sim(tmp_path: Path) -> Any:
    """A namespace whose way out is an interface called `sim0`."""
    with namespace("budget") as space:
        space.ip("link", "add", "sim0", "type", "veth", "peer", "name", "sim1")
        space.ip("addr", "add", "10.9.8.7/24", "dev", "sim0")
        for end in ("sim0", "sim1"):
            space.ip("link", "set", end, "up")
        space.ip("route", "add", "default", "via", "10.9.8.1")
        yield space


@pytest.mark.root
@pytest.mark.system("ip", "iproute2")
@pytest.mark.parametrize(("counted_on", "left_out"), [("sim0", True), ("wlan0", False)])
def test_an_interface_has_a_limit_of_its_own(
    tmp_path: Path, on_sim: Any, command: Callable[..., Any], counted_on: str, left_out: bool
) -> None:
    """What was used over Wi-Fi does not empty the SIM's package, and what was used over the SIM does."""
    config = settings(tmp_path, "http://127.0.0.1:9/", {"interfaces": {"sim0": {"per_day_mb": 5}}})
    with Buffer(tmp_path / "queue" / "buffer.db") as queue:
        queue.add_usage(day_of(datetime.now(UTC)), counted_on, 5_000_000)
        before = queue.usage(month_of(day_of(datetime.now(UTC))), "sim0")
    done = command(
        on_sim, "test", "--json", "--no-upload", "--only", "ping", "--only", "throughput", "--config", str(config)
    )
    assert (outcomes(done)[1] == ("skipped", "data_budget")) == left_out
    with Buffer(tmp_path / "queue" / "buffer.db") as queue:
        assert queue.usage(month_of(day_of(datetime.now(UTC))), "sim0") > before or left_out, "a run is counted"


@pytest.fixture
def command() -> Callable[..., Any]:
    """Run the command line inside a namespace."""

    def run(space: Any, *words: str) -> Any:
        return space.run(sys.executable, "-m", "sigprobe", *words, check=False, timeout=120)

    return run
