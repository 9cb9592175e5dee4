"""A device that read late read in bursts: its rates are the means of the whole transfer, as lower bounds."""

from __future__ import annotations

from typing import Any

import pytest

from sigprobe.measure.kind import Measured
from sigprobe.measure.throughput import kind
from sigprobe.measure.throughput.options import Options
from sigprobe.net.limits import Context, Deadline
from sigprobe.net.processor import Mark, ProcessorWatch
from sigprobe.record.result import Outcome, Processor, is_at_least

OPTIONS = Options(kind="throughput", name="speed", url="http://127.0.0.1:9/")
BURSTY = {
    "engine": "http",
    "download_bps": 140_000_000, "download_ci_bps": [1, 2], "download_s": 2.0, "bytes_received": 4_000_000,
    "upload_bps": None, "upload_ci_bps": None, "upload_s": 1.0, "bytes_sent": 0,
}  # fmt: skip


class Watch(ProcessorWatch):
    """A watch that has seen what the test says."""

    def __init__(self, busy: bool | None) -> None:
        super().__init__()
        self.busy = busy

    def since(self, mark: Mark) -> Processor | None:
        return None if self.busy is None else Processor(self.busy)


def measured(monkeypatch: pytest.MonkeyPatch, watch: ProcessorWatch | None) -> dict[str, Any]:
    """Return the data of a test whose engine saw `BURSTY`."""
    monkeypatch.setattr(kind, "_measure", lambda *_: Measured(Outcome.OK, dict(BURSTY)))
    return dict(kind.measure(OPTIONS, Context(Deadline.after(5), processor=watch)).data)


def test_a_busy_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """16 Mbit/s of the whole transfer, not the 140 of a burst; without an interval; a missing rate stays missing."""
    data = measured(monkeypatch, Watch(True))
    assert (data["download_bps"], data["download_ci_bps"], data["device_busy"]) == (16_000_000, None, True)
    assert data["upload_bps"] is None
    assert is_at_least(data, "download_bps")


@pytest.mark.parametrize("watch", [Watch(False), Watch(None), None])
def test_any_other_device(monkeypatch: pytest.MonkeyPatch, watch: Watch | None) -> None:
    """The engine's own numbers stay."""
    data = measured(monkeypatch, watch)
    assert data == {**BURSTY, "device_busy": False if watch is not None and watch.busy is False else None}
    assert not is_at_least(data, "download_bps")
