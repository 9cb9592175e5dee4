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
        ("", '\n{"level":"warn","error":"x"}\n'),
        ('{"level":"warn","error":"x"}\n', ""),
        ("", '\n{"msg":"x","start":1,"end":2}\n'),
        ('{"msg":"x","start":"a","end":"b"}\n', '\n{"msg":"x","start":{},"end":{}}\n'),
        ("", '\n{"msg":"x","start":{},"end":{},"intervals":[],"error":"x"}\n'),
        ("", '\n{"intervals":[]} {"end":{}} {"start":{}}'),
        ("12:00:01 wrapper: ", ' {"msg":"x","start":{"at":1},"end":{"at":2}} done'),
        ("\ufeff", "\niperf Done.\n"),
        ("\x1b[0m", "\x00\x00"),
        ("[ 5] local 10.0.0.1 {x: 1} connected\n", "iperf3: interrupt - the client has terminated\n"),
    ],
)
def test_noise_around_the_report(tmp_path: Path, before: str, behind: str) -> None:
    """Warnings and the words of wrappers do not hide the report."""
    measured = run(tmp_path, before + json.dumps(REPORT, indent=2) + behind)
    assert (measured.outcome, measured.data["upload_bps"]) == (Outcome.OK, 64_000_000)


@pytest.mark.parametrize(
    "noise",
    [
        "warning: the socket buffer is smaller than asked",
        '{"level":"warn","error":"x"}',
        '{"msg":"x","start":1,"end":2}',
        "WARNING: {not json}",
        "",
    ],
)
def test_noise_between_the_lines_of_the_report(tmp_path: Path, noise: str) -> None:
    """A warning after any line of the report is passed over."""
    lines = json.dumps(REPORT, indent="\t").splitlines()
    for at in range(len(lines) + 1):
        found = iperf3.find_document("\n".join([*lines[:at], noise, *lines[at:]]))
        assert found == REPORT, f"{noise!r} before line {at}"
    measured = run(tmp_path, "\n".join([*lines[:5], noise, *lines[5:]]))
    assert (measured.outcome, measured.data["upload_bps"]) == (Outcome.OK, 64_000_000)


def test_of_two_reports_the_last_counts(tmp_path: Path) -> None:
    """A wrapper that tries again: what came last is the result, also where it is a failure."""
    busy = {"start": {"connected": [], "version": "iperf 3.16"}, "intervals": [], "end": {}, "error": "server is busy"}
    again = run(tmp_path, json.dumps(busy) + "\n" + json.dumps(REPORT))
    assert (again.outcome, again.data["upload_bps"]) == (Outcome.OK, 64_000_000)
    last = run(tmp_path, json.dumps(REPORT) + "\n" + json.dumps(busy))
    assert last.failure is not None and last.failure.code == "server_busy"


def test_a_report_of_a_failure_with_noise_behind_it(tmp_path: Path) -> None:
    """The cause is the one of iperf3, not the one of the noise."""
    busy = {"start": {"connected": [], "version": "iperf 3.16"}, "intervals": [], "end": {}, "error": "server is busy"}
    measured = run(tmp_path, json.dumps(busy) + '\n{"level":"warn","error":"x"}\n')
    assert measured.failure is not None and measured.failure.code == "server_busy"


@pytest.mark.parametrize(
    "output",
    ['{"msg":"x","start":1,"end":2}', "", "no report", "{", "[1, 2]", '{"level": "info"}', "{" * 30_000, "\x00" * 100],
)
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
    ("stated", "bps"),
    [(9e11, 64_000_000), (1, 64_000_000), (65.5e6, 64_000_000), (64.3e6, 64_300_000), (63.9e6, 63_900_000)],
)
def test_a_rate_that_contradicts_its_bytes_and_seconds(tmp_path: Path, stated: float, bps: int) -> None:
    """4 MB in 0.5 s are 64 Mbit/s, whatever is stated beyond rounding."""
    report = json.loads(json.dumps(REPORT))
    report["end"]["sum_received"]["bits_per_second"] = stated
    measured = run(tmp_path, json.dumps(report))
    assert (measured.outcome, measured.data["upload_bps"]) == (Outcome.OK, bps)


@pytest.mark.parametrize("part", ["sum_received", "sum_sent", "interval"])
@pytest.mark.parametrize("absurd", [2**64 - 1, 9e11, 10**11, 21_000_000, -1, "3", None, [], True])
@pytest.mark.parametrize("stated", [64e6, 9e11])
def test_absurd_bytes_are_neither_used_nor_counted(tmp_path: Path, part: str, absurd: Any, stated: float) -> None:
    """One count far beyond the others is not believed: not as bytes used, not as a rate."""
    report = json.loads(json.dumps(REPORT))
    (report["intervals"][0]["sum"] if part == "interval" else report["end"][part])["bytes"] = absurd
    report["end"]["sum_received"]["bits_per_second"] = stated
    measured = run(tmp_path, json.dumps(report))
    assert measured.outcome is Outcome.OK, measured.failure
    assert (measured.data["upload_bps"], measured.data["bytes_sent"]) == (64_000_000, 4_000_000)


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
