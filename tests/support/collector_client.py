"""Make records as a probe writes them, and send them to a collector in this process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine
from starlette.testclient import TestClient

from sigprobe.collector.results import reading
from sigprobe.collector.worker import publishing, summing
from sigprobe.collector.worker.loop import Worker
from sigprobe.protocol import batches
from sigprobe.record.result import (
    Failure,
    Location,
    Network,
    Operator,
    Outcome,
    Result,
    Software,
    Tags,
    Target,
    new_id,
)

STREAM = "0190a5c0-0000-7000-8000-0000000000aa"
PROBE_ID = "0190a5c0-0000-4000-8000-0000000000bb"


def make_result(seq: int = 1, **changes: Any) -> Result:
    """Return a record as a probe stores it; `changes` are fields of `Result`."""
    fields: dict[str, Any] = {
        "id": new_id(),
        "run_id": new_id(),
        "probe_id": PROBE_ID,
        "stream_id": STREAM,
        "seq": seq,
        "kind": "ping",
        "kind_version": 1,
        "target": Target("gateway", "192.0.2.1"),
        "started_at": "2029-02-14T07:05:01.123Z",
        "duration_ms": 2000.0,
        "outcome": Outcome.OK,
        "failure": None,
        "data": {"rtt_median_ms": 62.4, "loss_ratio": 0.0},
        "tags": Tags(
            tps_id="3273011001005",
            location=Location(-6.91474, 107.60981),
            network=Network(operator=Operator("51010", "Telkomsel")),
        ),
        "software": Software("sigprobe", "0.1.0"),
    }
    return Result(**(fields | changes))


def failed_result(code: str = "timeout", **changes: Any) -> Result:
    """Return a record of a check that failed."""
    return make_result(outcome=Outcome.FAILED, failure=Failure(code), **changes)


def batch_of(*lines: bytes | Result) -> batches.Batch:
    """Return a batch of stored lines, valid or not."""
    raw = [line.to_line() if isinstance(line, Result) else line for line in lines]
    return batches.build_batch([(str(n), line) for n, line in enumerate(raw)])


@dataclass
class Collector:
    """An app in this process, its store, a token of each role, and the worker, which works when it is told to."""

    client: TestClient
    engine: Engine
    probe: str
    admin: str
    worker: Worker

    def post(self, batch: batches.Batch, *, token: str | None = None, **headers: str) -> Any:
        """Send a batch as a probe does; `headers` replace the usual ones, `_` means `-`."""
        sent = batches.batch_headers(batch, token if token is not None else self.probe)
        sent.update({name.replace("_", "-"): value for name, value in headers.items()})
        return self.client.post("/v1/batches", content=batch.body, headers=sent)

    def send(self, *lines: bytes | Result) -> dict[str, str]:
        """Send lines in one batch and read the receipt's statuses by id."""
        answer = self.post(batch_of(*lines))
        assert answer.status_code == 200, answer.text
        assert self.worker.settle()
        return {entry["id"]: entry["status"] for entry in answer.json()["results"]}

    def get(self, path: str, **params: Any) -> Any:
        """Read with the admin's token."""
        return self.client.get(path, params=params, headers={"Authorization": f"Bearer {self.admin}"})


def settle(engine: Engine) -> None:
    """Do all that the worker has to do, without its lead: no other worker may run."""
    with engine.connect().execution_options(write=True) as connection:
        while publishing.publish(connection):
            pass
        for step in (summing.add_batches, summing.walk, summing.add_single_rows):
            while step(connection):
                pass


def page_lines(
    engine: Engine, *, after: int = 0, limit: int = 100, tps_id: str | None = None
) -> list[tuple[int, bytes]]:
    """Return the stored lines with their numbers, in the order of readers, once the worker has given them theirs."""
    if engine.dialect.name != "sqlite":
        settle(engine)
    with reading.snapshot(engine) as connection:
        found = reading.read_lines(connection, after=after, limit=limit, tps_id=tps_id)
    return [(line.number, line.line) for line in found]
