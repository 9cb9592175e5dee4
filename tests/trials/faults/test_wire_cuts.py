"""Promise 6: each record is stored once, wherever the connection breaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from sigprobe.buffer import State
from sigprobe.upload import Collector
from tests.trials.faults.cutting_proxy import SIDES, Cut, Proxy, Side, only
from tests.trials.faults.fault_site import Site, drain_until_empty, fill, hold_once, queue, upload
from tests.trials.faults.trial import SOAK, Trial, hold

STRIDE: Final = 1 if SOAK else 83

FORGETFUL: Final = """
from dataclasses import replace
from sigprobe.collector.ingest import queries as ingest_queries
from sigprobe.protocol.batches import ACCEPTED
from sigprobe.record.result import new_id
kept = ingest_queries.store_batches
def forgetful(engine, group):
    kept(engine, [replace(batch, rows=[replace(row, id=new_id()) for row in batch.rows]) for batch in group])
    return [{row.id: ACCEPTED for row in batch.rows} for batch in group]
ingest_queries.store_batches = forgetful
"""
"""A collector that does not know an id again: what it is sent twice it keeps twice."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Provide a running collector."""
    with Site(tmp_path / "site") as site:
        yield site


def cut_everywhere(run: Trial, site: Site, folder: Path, cuts: Iterator[Cut | None]) -> tuple[list[str], int]:
    """Upload once per cut of the first exchange; the next is complete. Returns the ids and the number of cuts."""
    ids: list[str] = []
    with queue(folder) as buffer, Proxy(site.port) as proxy:
        collector = Collector(proxy.url, site.token)
        for cut in cuts:
            proxy.plan = only(proxy.exchanges, cut)
            ids += fill(buffer, run.random.randint(1, 4), run.random)
            drain_until_empty(buffer, collector)
        acked = [row.id for row in buffer.rows(State.ACKED)]
        hold(sorted(acked) == sorted(ids), "not-acked", f"{len(acked)} of {len(ids)}")
        return ids, proxy.cuts


def test_cut_at_every_byte(trial: Callable[..., Trial], site: Site, tmp_path: Path) -> None:
    """The connection ends after each byte of a request and of its reply, once by FIN and once by RST."""
    run = trial(6, "cut at every byte", short=1, full=1)
    with queue(tmp_path / "length") as buffer, Proxy(site.port) as proxy:
        lengths_ids = fill(buffer, 2, run.random)
        upload(buffer, Collector(proxy.url, site.token))
        lengths: dict[Side, int] = {"request": proxy.lengths["request"] + 200, "reply": proxy.lengths["reply"] + 200}
    places = [
        Cut(side, byte, reset=reset)
        for side in SIDES
        for byte in range(0, lengths[side], STRIDE)
        for reset in (False, True)
    ]
    ids, cuts = cut_everywhere(run, site, tmp_path / "queue", iter(places))
    hold(cuts == len(places), "not-cut", f"{cuts} of {len(places)}")
    hold_once(lengths_ids + ids, site.stored())
    with run.expect_failure("duplicate"), Site(tmp_path / "forgetful", patch=FORGETFUL) as forgetful:
        late = [Cut("reply", byte) for byte in (0, 60, 200)]
        ids, _ = cut_everywhere(run, forgetful, tmp_path / "again", iter(late))
        hold_once(ids, forgetful.stored())
    run.report(0, n=cuts, stride=STRIDE)


def test_cut_at_random(trial: Callable[..., Trial], site: Site, tmp_path: Path) -> None:
    """Batches of all sizes over a line on which one exchange in two is cut somewhere: 0 lost, 0 twice."""
    run = trial(6, "cut at random", short=30, full=5_000)

    def plan(_: int) -> Cut | None:
        if run.random.random() < 0.5:
            return None
        return Cut(run.random.choice(SIDES), share=run.random.random(), reset=run.random.random() < 0.5)

    ids: list[str] = []
    with queue(tmp_path / "queue") as buffer, Proxy(site.port, plan) as proxy:
        collector = Collector(proxy.url, site.token)
        while proxy.cuts < run.n:
            ids += fill(buffer, round(10 ** run.random.uniform(0, 2.5)), run.random)
            drain_until_empty(buffer, collector)
        # what has been acknowledged may have had to make room by now
        counts = buffer.stats()
        left = counts.pending + counts.rejected + counts.carried + counts.damaged
        hold(counts.acked and not left, "not-acked", f"{left} of {len(ids)}")
    hold_once(ids, site.stored())
    run.report(0, n=proxy.cuts, records=len(ids), exchanges=proxy.exchanges)
