"""Promise 17: a month offline drains over 2G, with 30 % of the connections cut, at 1.5 times the bytes at most."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from sigprobe.upload import Backoff, Collector, Upload, batch_size, post
from tests.trials.faults.cutting_proxy import SIDES, Cut, Proxy
from tests.trials.faults.fault_site import Site, fill, hold_once, queue
from tests.trials.faults.trial import SOAK, Trial, hold

RECORDS: Final = 23_040 if SOAK else 2_000
"""768 records a day for 30 days; the short form drains less than three."""
FASTER: Final = 1.0 if SOAK else 30.0
"""In the short form the link and the drain's own time both run so much faster: what it decides stays the same."""
RATE_BPS: Final = 20_000 * FASTER
CUT: Final = 0.3
MOST: Final = 1.5


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Provide a running collector."""
    with Site(tmp_path / "site") as site:
        yield site


def drain_over(
    run: Trial, site: Site, folder: Path, share: float, count: int = RECORDS, most: int = batch_size.LARGEST_BATCH
) -> tuple[int, int]:
    """Drain a full queue over the slow link with this share of exchanges cut; the bytes on the wire, and the cuts.

    `most` is the largest batch, which a drain takes from its `Pace`.
    """

    chosen: set[int] = set()

    def plan(number: int) -> Cut | None:
        if number % 10 == 0:
            # three of every ten, so that a short form has its share as a month has
            chosen.update(run.random.sample(range(number, number + 10), round(share * 10)))
        if number not in chosen:
            return None
        return Cut(run.random.choice(SIDES), share=run.random.random(), reset=run.random.random() < 0.5)

    def clock() -> float:
        return time.monotonic() * FASTER

    def send(channel: Any, url: str, body: bytes, headers: Any, timeout_s: float, *rest: Any) -> Any:
        return post(channel, url, body, headers, timeout_s / FASTER, *rest)

    with queue(folder) as buffer, Proxy(site.port, plan, rate_bps=RATE_BPS) as proxy:
        before = site.stored()
        ids = fill(buffer, count, run.random)
        collectors = [Collector(proxy.url, site.token)]
        started = clock()
        drains = 0
        while buffer.pending():
            hold(drains < 1_000, "never-empty", f"{buffer.pending()} left")
            backoff = Backoff(folder / "backoff.json")
            pace = batch_size.Pace(min(batch_size.FIRST_BATCH, most), most=most)
            Upload(buffer, collectors, backoff, clock=clock, send=send, pace=pace).run()
            hold(pace.most <= most, "larger-batches", f"{pace}")
            drains += 1
        hold_once(ids, site.stored() - before)
        print(
            f"{share:.0%} cut: {proxy.total_bytes / count:.0f} B a record, {proxy.exchanges} exchanges in {drains} "
            f"drains, {proxy.cuts} cut, {(clock() - started) / 3600:.2f} h",
            flush=True,
        )
        return proxy.total_bytes, proxy.cuts


@pytest.mark.timeout(0)
@pytest.mark.beside
def test_a_month_over_2g(trial: Callable[..., Trial], site: Site, tmp_path: Path) -> None:
    """The whole queue arrives, each record once, and cuts cost at most half as much again as a clean drain."""
    run = trial(17, "30 days over 2G", short=1, full=1)
    clean, _ = drain_over(run, site, tmp_path / "clean", 0.0)
    cut, cuts = drain_over(run, site, tmp_path / "cut", CUT)
    ratio = cut / clean
    print(f"{cut} bytes with {cuts} cuts against {clean} without: {ratio:.2f}")
    hold(ratio <= MOST, "too-many-bytes", f"{ratio:.2f}")
    with run.expect_failure("too-many-bytes"):
        # batches that stay small, as cautious as can be, cost more by themselves than all the cuts may
        cautious, _ = drain_over(run, site, tmp_path / "cautious", CUT, RECORDS // 10, most=5)
        hold(cautious * 10 / clean <= MOST, "too-many-bytes")
    run.report(0, n=RECORDS, ratio=round(ratio, 2), cuts=cuts, rate_bps=round(RATE_BPS))
