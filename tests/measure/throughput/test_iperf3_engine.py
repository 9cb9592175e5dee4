"""Engine `iperf3`: the real program against a real server on loopback, and what it says when there is none."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter, ValidationError

from sigprobe.measure.kind import Measured
from sigprobe.measure.throughput import iperf3, kind
from sigprobe.net.limits import Context, DataBudget, Deadline
from sigprobe.record.result import Outcome
from sigprobe.words.codes import CODES

SCHEMA = Draft202012Validator(TypeAdapter(kind.ThroughputData).json_schema())


def check(url: str, context: Context | None = None, **options: Any) -> Measured:
    """Run one check, and hold its data to the published shape and its codes to the table."""
    chosen = kind.Options(name="x", engine="iperf3", url=url, **{"max_mb": 20, "max_s": 1, **options})
    measured = kind.measure(chosen, context or Context(Deadline.after(10)))
    SCHEMA.validate(dict(measured.data))
    assert measured.failure is None or measured.failure.code in CODES
    return measured


@pytest.fixture
def server(spawn: Callable[..., subprocess.Popen[str]], free_port: Callable[[], int]) -> str:
    """A running iperf3 server: its host:port."""
    port = free_port()
    spawn(["iperf3", "-s", "-B", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL)
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.02)
    # iperf3 takes that first connection for a client, and needs a moment to forget it
    time.sleep(0.3)
    return f"127.0.0.1:{port}"


@pytest.mark.system("iperf3", "iperf3")
def test_both_directions_with_their_bytes(server: str) -> None:
    """Both rates, counted at the server; never more bytes than allowed; engine and server are named."""
    context = Context(Deadline.after(10))
    measured = check(server, context, max_s=5)
    data = measured.data
    assert measured.outcome is Outcome.OK, measured.failure
    assert data["download_bps"] > 50e6 and data["upload_bps"] > 50e6
    assert (data["engine"], data["server"], data["upload_counted_by"]) == ("iperf3", server, "server")
    assert data["ended"] == "data_cap"
    assert 5_000_000 < data["bytes_received"] + data["bytes_sent"] <= 20_000_000
    assert context.budget.used_bytes == data["bytes_received"] + data["bytes_sent"]


@pytest.mark.system("iperf3", "iperf3")
def test_its_time_is_held_and_what_was_seen_counts(server: str) -> None:
    """With more bytes allowed than fit into the time it is interrupted then, and its numbers are kept."""
    start = time.monotonic()
    measured = check(server, max_mb=10_000, max_s=0.6, direction="download", streams=1)
    assert time.monotonic() - start < 3
    assert measured.outcome is Outcome.OK, measured.failure
    assert measured.data["ended"] == "time_cap"
    assert measured.data["download_bps"] > 50e6
    assert measured.data["upload_bps"] is None


@pytest.mark.system("iperf3", "iperf3")
def test_the_run_s_budget_and_a_stop_are_obeyed(server: str) -> None:
    """What the run has left bounds it; a stop ends it at once and leaves no process behind."""
    context = Context(Deadline.after(10), budget=DataBudget(2_000_000))
    data = check(server, context, max_s=5).data
    assert data["bytes_received"] + data["bytes_sent"] <= 2_000_000
    stop = threading.Event()
    timer = threading.Timer(0.3, stop.set)
    timer.start()
    start = time.monotonic()
    measured = check(server, Context(Deadline.after(10), stop=stop), max_mb=10_000, max_s=9)
    assert time.monotonic() - start < 3
    timer.join()
    assert (measured.outcome, measured.failure and measured.failure.code) == (Outcome.SKIPPED, "interrupted")


@pytest.mark.system("iperf3", "iperf3")
def test_failures_have_codes(free_port: Callable[[], int]) -> None:
    """Nobody there, a name that does not exist, a server that is none: each with its own code and no speed."""
    refused = check(f"127.0.0.1:{free_port()}")
    assert refused.failure is not None and refused.failure.code == "refused"
    assert refused.data["download_bps"] is None and refused.data["download_failure"] == "refused"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        late = check(f"127.0.0.1:{silent.getsockname()[1]}", max_s=0.5, direction="upload")
    assert late.failure is not None and late.failure.code == "timeout"


def test_a_missing_program_is_named() -> None:
    """Without iperf3 on the device the check fails and says what to install."""
    measured = iperf3.measure(
        kind.empty_data("iperf3"),
        Context(Deadline.after(1)),
        url="127.0.0.1:1",
        direction="both",
        streams=None,
        max_bytes=10**6,
        max_s=1,
        which=lambda _: None,
    )
    assert (measured.outcome, measured.failure and measured.failure.code) == (Outcome.FAILED, "program_missing")


@pytest.mark.parametrize(
    "url", ["", "http://x.example/", "iperf3://u:p@x.example", "-R", "x.example:port", "x.example/a"]
)
def test_what_is_no_host_and_port_is_refused(url: str) -> None:
    """The settings say so before anything runs; nothing can be smuggled in as an option."""
    with pytest.raises(ValidationError):
        kind.Options(name="x", engine="iperf3", url=url)


def test_host_and_port_forms() -> None:
    """Bare host, host:port, IPv6 in brackets, and with the scheme."""
    assert iperf3.host_port("x.example") == ("x.example", 5201)
    assert iperf3.host_port("x.example:80") == ("x.example", 80)
    assert iperf3.host_port("iperf3://[::1]:7/") == ("::1", 7)
