"""Reports of iperf3 as they come in the field: with noise around them, and with numbers that cannot be true."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sigprobe.measure.kind import Measured
from sigprobe.measure.throughput import iperf3, kind
from sigprobe.net.limits import Context, Deadline
from sigprobe.record.result import Outcome

pytestmark = pytest.mark.process

REPORT: dict[str, Any] = {
    "start": {},
    "intervals": [{"sum": {"start": 0, "end": 0.5, "bytes": 4_000_000}}],
    "end": {
        "streams": [{"sender": {"min_rtt": 2000, "mean_rtt": 3000}}],
        "sum_sent": {"bytes": 4_000_000, "retransmits": 3, "seconds": 0.5, "bits_per_second": 64e6},
        "sum_received": {"bytes": 4_000_000, "seconds": 0.5, "bits_per_second": 64e6},
    },
}


def run(tmp_path: Path, output: str) -> Measured:
    """Run the engine with a program that prints this and ends."""
    said, program = tmp_path / "said", tmp_path / "iperf3"
    said.write_text(output, encoding="utf-8", errors="surrogateescape")
    program.write_text(f"#!/bin/sh\ncat {said}\n")
    program.chmod(0o755)
    return iperf3.measure(
        kind.empty_data("iperf3"),
        Context(Deadline.after(10)),
        url="192.0.2.1",
        direction="upload",
        streams=1,
        max_bytes=10**7,
        max_s=5,
        which=lambda _: str(program),
    )


@pytest.mark.parametrize(
    ("before", "behind"),
    [
        ("", ""),
        ("warning: this system does not seem to support IPv6 - trying IPv4\n", ""),
        ("WARNING: {not json}\n", ""),
        ("{\n", "\n}"),
        ('{"level":"info","msg":"wrapper started"}\n', '{"level":"info","msg":"done"}\n'),
        ("\ufeff", "\niperf Done.\n"),
        ("\x1b[0m", "\x00\x00"),
        ("[ 5] local 10.0.0.1 {x: 1} connected\n", "iperf3: interrupt - the client has terminated\n"),
    ],
)
def test_noise_around_the_report(tmp_path: Path, before: str, behind: str) -> None:
    """Warnings and the words of wrappers do not hide the report."""
    measured = run(tmp_path, before + json.dumps(REPORT, indent=2) + behind)
    assert (measured.outcome, measured.data["upload_bps"]) == (Outcome.OK, 64_000_000)


@pytest.mark.parametrize("output", ["", "no report", "{", "[1, 2]", '{"level": "info"}', "{" * 30_000, "\x00" * 100])
def test_noise_without_a_report(tmp_path: Path, output: str) -> None:
    """That is a named failure, and never an exception."""
    measured = run(tmp_path, output)
    assert measured.failure is not None and measured.failure.code == "bad_response"


@pytest.mark.parametrize(
    "absurd",
    ["18446744073709551615", "1.8e19", "-1", "NaN", "nan", "-nan", "inf", "-Infinity", '"3"', "true", "[]", "null"],
)
def test_absurd_counters_are_null(tmp_path: Path, absurd: str) -> None:
    """What wrapped around or is no number is not recorded; the rate comes from bytes and seconds."""
    report = json.loads(json.dumps(REPORT))
    mark = 123456789
    report["end"]["sum_sent"].update(retransmits=mark, bytes=mark)
    report["end"]["sum_received"]["bits_per_second"] = mark
    report["end"]["streams"][0]["sender"].update(min_rtt=mark, mean_rtt=mark)
    report["intervals"].append({"sum": {"end": mark, "bytes": mark}})
    measured = run(tmp_path, json.dumps(report).replace(str(mark), absurd))
    data = measured.data
    assert measured.outcome is Outcome.OK
    assert data["upload_bps"] == 64_000_000
    assert (data["retransmits"], data["idle_rtt_ms"], data["loaded_rtt_ms"]) == (None, None, None)
    assert data["bytes_sent"] == 4_000_000


@pytest.mark.parametrize(
    "report", ['{"end": 5}', '{"intervals": 7}', '{"end": {"sum_sent": [], "streams": {}}}', '{"intervals": [1]}']
)
def test_parts_of_another_shape(tmp_path: Path, report: str) -> None:
    """A report whose parts are no objects has no rate, and breaks nothing."""
    measured = run(tmp_path, report)
    assert measured.outcome is Outcome.FAILED
    assert measured.data["upload_bps"] is None


@pytest.mark.parametrize(
    ("sent_s", "interval_s", "bps"), [(0.05, 0.1, 640_000_000), (0, 0.1, 320_000_000), (None, 0.1, 320_000_000)]
)
def test_a_test_of_an_instant_is_computed_from_what_is_told(
    tmp_path: Path, sent_s: float | None, interval_s: float, bps: int
) -> None:
    """A peer that counted bytes and no time: the sender's seconds decide, or else those of the intervals."""
    report = json.loads(json.dumps(REPORT))
    report["end"]["sum_received"].update(seconds=0, bits_per_second=0)
    report["end"]["sum_sent"].update(seconds=sent_s)
    report["intervals"] = [{"sum": {"start": 0, "end": interval_s, "bytes": 4_000_000}}]
    measured = run(tmp_path, json.dumps(report))
    assert (measured.outcome, measured.data["upload_bps"]) == (Outcome.OK, bps)


def test_too_short_to_tell_is_not_called_slow(tmp_path: Path) -> None:
    """4 MB within no time at all: no rate, with a reason of its own."""
    report = json.loads(json.dumps(REPORT))
    report["end"]["sum_received"].update(seconds=0, bits_per_second=0)
    report["end"]["sum_sent"].update(seconds=0, bits_per_second=0)
    report["intervals"] = []
    measured = run(tmp_path, json.dumps(report))
    assert measured.failure is not None and measured.failure.code == "too_short"
    assert (measured.data["upload_bps"], measured.data["upload_failure"]) == (None, "too_short")
