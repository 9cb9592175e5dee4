"""Make the results of many devices over some hours, with an outage in them, as a collector receives them."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Engine

from sigprobe.collector.ingest import postgresql_writer, sqlite_writer
from sigprobe.collector.ingest.records import sort_lines
from sigprobe.collector.ingest.rows import NewBatch
from sigprobe.record.result import Failure, Network, Operator, Outcome, Result, Tags, Target, format_time, new_id
from tests.support.collector_client import make_result

OPERATORS = ("51010", "51001", "51011")
BEGAN = datetime(2029, 2, 14, 1, 0, tzinfo=UTC).timestamp()


@dataclass(frozen=True, slots=True)
class Device:
    """One device at one station: it tests every `every_s` seconds and tells when it comes next."""

    number: int
    tps: str
    plmn: str
    every_s: float = 300.0

    @property
    def probe(self) -> str:
        """Its probe ID."""
        return str(uuid.UUID(int=(0x0190A5C000004000800000 << 40) + self.number))

    @property
    def token(self) -> str:
        """The ID of its token."""
        return str(uuid.UUID(int=(0x0190A5C000007000800000 << 40) + self.number))


@dataclass(frozen=True, slots=True)
class Sent:
    """One run as it arrives: its records, when it began, and when it was received."""

    device: Device
    at: float
    received: float
    results: tuple[Result, ...]


Fails = Callable[[Device, float], bool]


def devices(
    count: int, regencies: Sequence[str] = ("3273", "3204", "3374"), operators: Sequence[str] = OPERATORS
) -> list[Device]:
    """Return devices spread over regencies, operators, districts and villages."""
    found = []
    for number in range(count):
        regency = regencies[number % len(regencies)]
        plmn = operators[number // len(regencies) % len(operators)]
        k = number // (len(regencies) * len(operators))
        tps = f"{regency}{1 + k % 6:02}{2001 + k // 6 % 8}{number % 997:03}"
        found.append(Device(number, tps, plmn))
    return found


def fails_in(plmn: str | None, area: str, begins: float, ends: float) -> Fails:
    """Return an outage: each device of an operator (None: of every one) in an area fails."""
    return lambda device, at: plmn in (None, device.plmn) and device.tps.startswith(area) and begins <= at < ends


def never(_device: Device, _at: float) -> bool:
    """No outage."""
    return False


def run_results(device: Device, at: float, bad: bool, *, bps: float | None = None) -> tuple[Result, ...]:
    """Return the records of one run: a service, and the run with its verdict."""
    operator = Operator(device.plmn, None)
    tags = Tags(tps_id=device.tps, network=Network(operator=operator))
    run = new_id(at)
    common = {
        "run_id": run,
        "probe_id": device.probe,
        "stream_id": str(uuid.UUID(int=(0x0190A5C000007000900000 << 40) + device.number)),
        "started_at": format_time(datetime.fromtimestamp(at, UTC)),
        "tags": tags,
    }
    verdict = {"owner": "operator" if bad else "none", "cause": "dead_after_hop" if bad else "healthy"}
    seq = int(at)
    found = [
        make_result(
            seq,
            **common,
            id=new_id(at),
            kind="http",
            target=Target("sirekap", "https://sirekap.example/"),
            outcome=Outcome.FAILED if bad else Outcome.OK,
            failure=Failure("timeout") if bad else None,
            data={} if bad else {"total_ms": 300.0},
        ),
        make_result(
            seq + 2,
            **common,
            id=new_id(at),
            kind="run",
            target=Target("run"),
            data={"verdict": {**verdict, "confidence": 0.9}, "next_contact_s": device.every_s},
        ),
    ]
    if bps is not None and not bad:
        found.insert(0, make_result(seq + 1, **common, id=new_id(at), kind="throughput", data={"download_bps": bps}))
    return tuple(found)


def sent_by(
    some: Sequence[Device],
    hours: float,
    fails: Fails = never,
    *,
    began: float = BEGAN,
    usual: float = 0.02,
    seed: int = 1,
) -> Iterator[Sent]:
    """Yield all runs in the order of receipt; a small share fails at any time."""
    rng = random.Random(seed)
    times = []
    for device in some:
        at = began + rng.uniform(0, device.every_s)
        while at < began + hours * 3600:
            times.append((at + rng.uniform(2, 8), at, device))
            at += device.every_s
    for received, at, device in sorted(times, key=lambda item: item[0]):
        bad = fails(device, at) or rng.random() < usual
        yield Sent(device, at, received, run_results(device, at, bad))


def store_sent(engine: Engine, sent: Sequence[Sent]) -> None:
    """Store runs as if they had been received at their times, each a batch of its own."""
    group = [
        NewBatch(
            sort_lines(result.to_line() for result in one.results).rows,
            f"laptop-{one.device.number}",
            one.device.token,
            datetime.fromtimestamp(one.received, UTC),
        )
        for one in sent
    ]
    writer = sqlite_writer if engine.dialect.name == "sqlite" else postgresql_writer
    for first in range(0, len(group), 200):
        writer.write(engine, group[first : first + 200])
