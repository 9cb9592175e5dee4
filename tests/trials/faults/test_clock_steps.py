"""Promise 10, for measurements: a wrong clock never makes a round trip absurd, and its offset is learned."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sigprobe.buffer import Buffer
from sigprobe.measure.ping.kind import Options, measure
from sigprobe.net.limits import Context, Deadline
from sigprobe.record.result import format_time
from sigprobe.upload import Backoff, Collector, Report, Upload
from tests.support.records import record
from tests.support.stand_in_collector import Sent, receipt, standin
from tests.support.taken_away import taken_away
from tests.trials.faults.trial import Trial, hold

YEAR_S: Final = 365.25 * 86400
LOOPBACK_MS: Final = 1000.0
"""No round trip on this device takes as long, however busy it is; each step of the clock is far larger."""


class Stepped:
    """A clock that jumps by years after a number of reads."""

    def __init__(self, steps: list[float], reads: int) -> None:
        self._steps = steps
        self._reads = reads
        self._read = 0

    def __call__(self) -> float:
        self._read += 1
        return time.time() + self._steps[self._read // self._reads % len(self._steps)]


def hold_sane(wall: Callable[[], float], clock: Callable[[], float] = time.monotonic) -> int:
    """Ping this device while the clock jumps; all answers arrive with plausible times. Returns their number."""
    options = Options(kind="ping", name="device", address="127.0.0.1", count=20, interval_ms=10)
    # a wide limit on the clock that is under test ends nothing early
    done = measure(options, Context(Deadline.after(30)), clock=clock, wall=wall)
    rtts = done.data["rtts_ms"]
    hold(all(rtt is not None and 0 < rtt < LOOPBACK_MS for rtt in rtts), "absurd", str(rtts))
    hold(done.data["received"] == len(rtts) == 20, "absurd", f"{done.failure} {done.data['received']} of 20")
    return len(rtts)


def test_setting_the_clock_changes_no_round_trip(trial: Callable[..., Trial]) -> None:
    """While packets fly the wall clock jumps years to and fro: every round trip stays positive and small."""
    t = trial(10, "clock set while packets fly", short=5, full=200)
    answers = 0
    for _ in range(t.n):
        steps = [t.random.uniform(-20, 20) * YEAR_S for _ in range(4)]
        with t.attempt():
            answers += hold_sane(Stepped(steps, reads=t.random.randint(1, 9)))
    with t.expect_failure("absurd"):  # spans from the wall clock, as anybody would without a monotonic one
        clock = Stepped([0.0, 3600.0], reads=15)
        hold_sane(time.time, clock)
    t.report(round_trips=answers)


def hold_known(folder: Path, wrong_s: float, way_out_s: float, way_back_s: float) -> float:
    """Learn a clock's offset from one upload: within half the round trip and a second. Returns the error in seconds."""

    def answer(sent: Sent) -> bytes:
        time.sleep(way_out_s)
        stamped = receipt(sent, when=format_time(datetime.now(UTC)))
        time.sleep(way_back_s)
        return stamped

    with Buffer(folder / "b.db") as buffer, standin(answer) as server:
        buffer.put(record())
        upload = Upload(buffer, [Collector(server.url, "t" * 43)], Backoff(folder / "backoff.json"))
        upload.now = lambda: time.time() + wrong_s
        begun = time.monotonic()
        report = upload.run()
        took = time.monotonic() - begun
    assert report.accepted == 1 and report.clock_offset_ms is not None, report
    error = abs(report.clock_offset_ms / 1000 + wrong_s)
    hold(error <= took / 2 + 1.0, "offset", f"{error:.3f} s in a round trip of {took:.3f} s")
    return error


def test_the_offset_is_known_within_half_the_round_trip(tmp_path: Path, trial: Callable[..., Trial]) -> None:
    """Clocks up to 20 years off, over links slow in one direction only: within half a round trip and a second."""
    t = trial(10, "offset learnt from a receipt", short=5, full=200)
    worst = 0.0
    for number in range(t.n):
        (home := tmp_path / f"n{number}").mkdir()
        ways = [t.random.uniform(0, 0.6), t.random.uniform(0, 0.05)]
        t.random.shuffle(ways)
        with t.attempt():
            error = hold_known(home, t.random.uniform(-20, 20) * YEAR_S, *ways)
            # what the wire's milliseconds and this device cost, not what is promised
            worst = max(worst, error - sum(ways) / 2)
    (home := tmp_path / "control").mkdir()
    learn = Report.learn_time

    def no_way(self: Report, got: Any, _span: float, at: Any, boot: Any) -> Any:
        """Treat the server's time as the time of sending, as if the request took no time."""
        return learn(self, got, 0.0, at, boot)

    with t.expect_failure("offset"), taken_away(Report, "learn_time", no_way):
        hold_known(home, 0.0, 2.5, 0.0)
    t.report(worst_beyond_half_s=round(worst, 3))
