"""Promise 7: one poison record cannot block the queue."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest

from sigprobe.buffer import State, Verdicts
from sigprobe.protocol import batches
from sigprobe.record.result import new_id
from sigprobe.upload import Collector, Upload
from tests.support.collector_client import make_result
from tests.support.taken_away import taken_away
from tests.trials.faults.cutting_proxy import Proxy
from tests.trials.faults.fault_site import Site, drain_until_empty, hold_once, queue, records, upload
from tests.trials.faults.trial import SOAK, Trial, hold

RECORDS: Final = 1_000

Poison = Callable[[random.Random], tuple[str, bytes]]

# each makes an (id, line) pair that cannot be taken: for WHOLE the collector refuses the batch it is in, for SINGLE the
# record alone, and UNSENT are found damaged by the queue itself and never sent


def _line_of(change: Callable[[bytes], bytes]) -> tuple[str, bytes]:
    result = make_result(1)
    return result.id, change(result.to_line())


def _cut_off(_: random.Random) -> tuple[str, bytes]:
    return _line_of(lambda line: line[:-1])


def _no_number(_: random.Random) -> tuple[str, bytes]:
    return _line_of(lambda line: line.replace(b'"seq":1', b'"seq":NaN'))


def _infinite(_: random.Random) -> tuple[str, bytes]:
    return _line_of(lambda line: line.replace(b'"duration_ms":2000.0', b'"duration_ms":Infinity'))


def _not_utf8(_: random.Random) -> tuple[str, bytes]:
    return _line_of(lambda line: line.replace(b"gateway", b"\xff\xfe"))


def _too_long(rng: random.Random) -> tuple[str, bytes]:
    return _line_of(lambda line: line[:-1] + b',"more":"' + rng.randbytes(40_000).hex().encode() + b'"}')


def _bad_seq(_: random.Random) -> tuple[str, bytes]:
    return _line_of(lambda line: line.replace(b'"seq":1', b'"seq":0'))


def _bad_time(_: random.Random) -> tuple[str, bytes]:
    result = make_result(1, started_at="yesterday")
    return result.id, result.to_line()


def _odd_id(_: random.Random) -> tuple[str, bytes]:
    result = make_result(1, id="not-a-uuid-" + new_id())
    return result.id, result.to_line()


WHOLE: Final = (_no_number, _infinite, _too_long)
SINGLE: Final = (_bad_seq, _bad_time, _odd_id)
UNSENT: Final = (_cut_off, _not_utf8)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Provide a running collector."""
    with Site(tmp_path / "site") as site:
        yield site


def drain_with(run: Trial, site: Site, folder: Path, bad: Sequence[Poison], count: int = RECORDS) -> int:
    """Upload a queue of good records with these bad ones at random places. Returns the number of requests.

    Holds: all good ones accepted, each bad one set aside with a reason, and no more requests than halving needs.
    """
    good = records(count - len(bad), run.random)
    poison = [make(run.random) for make in bad]
    mixed = good + poison
    run.random.shuffle(mixed)
    with queue(folder) as buffer, Proxy(site.port) as proxy:
        before = site.stored()
        buffer.take_in(mixed)
        reports = drain_until_empty(buffer, Collector(proxy.url, site.token), most=3)
        hold(len(reports) == 1, "not-in-one-drain", str(len(reports)))
        hold_once([name for name, _ in good], site.stored() - before)
        aside = {row.id: row.reason or "" for row in buffer.rows(State.REJECTED, State.DAMAGED)}
        hold(aside.keys() == {name for name, _ in poison}, "wrong-ones-set-aside", f"{len(aside)} of {len(poison)}")
        hold(all(aside.values()), "no-reason", str(aside))
        most = 10 + 2 * len(poison) * (math.ceil(math.log2(count)) + 1)
        hold(proxy.exchanges <= most, "too-many-requests", f"{proxy.exchanges}, at most {most}")
        return proxy.exchanges


def test_one_in_a_thousand(trial: Callable[..., Trial], site: Site, tmp_path: Path) -> None:
    """One record that spoils its batch: found by halving, set aside with its reason, all others accepted."""
    run = trial(7, "one poison record in 1,000", short=2, full=40)
    requests = [drain_with(run, site, tmp_path / f"{n}", [run.random.choice(WHOLE)]) for n in range(run.n)]
    # without knowing its own refusals from a portal's, a probe sends the same batch for ever
    with run.expect_failure("never-empty"), taken_away(batches, "read_problem", lambda *_: None):
        drain_with(run, site, tmp_path / "control", [_no_number])
    run.report(0, most_requests=max(requests))


def test_one_in_ten(trial: Callable[..., Trial], site: Site, tmp_path: Path) -> None:
    """A tenth of the queue is bad in seven ways: all good ones accepted, each bad one kept with its reason."""
    run = trial(7, "one record in ten is poison", short=1, full=20)
    count = RECORDS if SOAK else 200
    requests = []
    for n in range(run.n):
        bad = [run.random.choice(WHOLE + SINGLE + UNSENT) for _ in range(count // 10)]
        requests.append(drain_with(run, site, tmp_path / f"{n}", bad, count))
    run.report(0, records=count, most_requests=max(requests))


def _condemn(drain: Upload, collector: Collector, *, said: bool) -> bool:
    """Quarantine each refused record, as a probe without further checks would."""
    aside = [(row.id, "refused") for row in drain._refused.of(collector.url)]
    drain.buffer.settle(Verdicts(rejected=aside), collector.url)
    drain._refused.release(collector.url)
    return True


def _behind_a_gateway(run: Trial, site: Site, folder: Path) -> None:
    """Send through a gateway that loses the digest, then past it; one record is poison all the while.

    Holds: nothing is set aside by the gateway's fault, few requests are made, and without it all good ones arrive.
    """
    good = records(run.random.randrange(2, 400), run.random)
    bad = run.random.choice(WHOLE)(run.random)
    mixed = [*good, bad]
    run.random.shuffle(mixed)
    with queue(folder) as buffer, Proxy(site.port, drop=b"content-digest") as proxy:
        before = site.stored()
        buffer.take_in(mixed)
        collector = Collector(proxy.url, site.token)
        for turn in range(3):
            report = upload(buffer, collector)
            hold(not list(buffer.rows(State.REJECTED)), "good-ones-set-aside", str(buffer.stats()))
            hold(report.stopped == "collector_refuses", "wrong-code", str(report))
            hold(report.pending == len(mixed), "lost", str(report))
            hold(proxy.exchanges <= 25 * (turn + 1), "too-many-requests", str(proxy.exchanges))
        proxy.drop = None
        hold(len(drain_until_empty(buffer, collector, most=3)) == 1, "not-in-one-drain")
        hold_once([name for name, _ in good], site.stored() - before)
        hold([row.id for row in buffer.rows(State.REJECTED)] == [bad[0]], "wrong-ones-set-aside")


def test_a_gateway_that_loses_a_header_condemns_nothing(
    trial: Callable[..., Trial], site: Site, tmp_path: Path
) -> None:
    """A refusal of everything is no verdict on any record: all stay, and go once the way is whole again."""
    run = trial(7, "a gateway that loses the digest", short=3, full=40)
    for n in range(run.n):
        _behind_a_gateway(run, site, tmp_path / f"{n}")
    # without a look at what else the collector takes, each refusal is taken for the record's own fault
    with run.expect_failure("good-ones-set-aside"), taken_away(Upload, "_leave_out", _condemn):
        _behind_a_gateway(run, site, tmp_path / "control")
    run.report(0)
