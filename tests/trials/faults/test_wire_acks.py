"""Promise 5: only a verified receipt is an ack."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from sigprobe import cli
from sigprobe.buffer import Buffer, State
from sigprobe.protocol import batches
from sigprobe.upload import Collector
from tests.support.taken_away import taken_away
from tests.trials.faults.fake_collectors import FALSE_REPLIES, FalseServer, Sent, honest
from tests.trials.faults.fault_site import fill, queue, upload
from tests.trials.faults.trial import Trial, hold


def removed(buffer: Buffer, ids: list[str]) -> int:
    """Return how many of these rows are no longer pending."""
    return sum(row.id in set(ids) for row in buffer.rows(State.ACKED, State.REJECTED, State.CARRIED, State.DAMAGED))


def hold_nothing_removed(buffer: Buffer, server: FalseServer, ids: list[str]) -> None:
    """Hold that two uploads to a server with a false reply settle nothing, and did reach it."""
    for _ in range(2):
        report = upload(buffer, Collector(server.url, "secret"))
        hold(report.stopped is not None, "success-claimed", str(report))
    hold(server.seen, "never-asked")
    hold(removed(buffer, ids) == 0, "acked-without-receipt", f"{removed(buffer, ids)} of {len(ids)}")


def test_no_false_reply_acknowledges_anything(trial: Callable[..., Trial], tmp_path: Path) -> None:
    """Twelve answers that are near to a receipt and are none: no row leaves the queue."""
    run = trial(5, "fake acks", short=24, full=2_400)
    assert len(FALSE_REPLIES) == 12
    with queue(tmp_path / "queue") as buffer:
        ids: list[str] = []
        for number in range(run.n):
            name, false_reply = list(FALSE_REPLIES.items())[number % len(FALSE_REPLIES)]
            if number % len(FALSE_REPLIES) == 0:
                ids += fill(buffer, run.random.randint(1, 3), run.random)
            with FalseServer(false_reply) as server:
                hold_nothing_removed(buffer, server, ids)
            print(f"{name}: kept {len(ids)}", end="; ")
        with FalseServer(honest) as server:
            # the same server telling the truth: the queue was able to be emptied all the time
            assert upload(buffer, Collector(server.url, "secret")).stopped is None
        assert removed(buffer, ids) == len(ids)

        ids = fill(buffer, 3, run.random)
        control = run.expect_failure("acked-without-receipt")
        with control, FalseServer(FALSE_REPLIES["portal 200"]) as server, taken_away(batches, "read_receipt", trusting):
            assert upload(buffer, Collector(server.url, "secret")).stopped is None
            hold(removed(buffer, ids) == 0, "acked-without-receipt")
    run.report(0)


def trusting(status: int, _type: str | None, _body: bytes, batch: batches.Batch) -> batches.Receipt:
    """Accept any 200 as a receipt, as a careless client does."""
    if status != 200:
        raise batches.NotAReceiptError(str(status))
    return batches.Receipt(
        batch.id, batch.digest, None, tuple(batches.Answer(name, batches.ACCEPTED) for name in batch.ids)
    )


def write_config(folder: Path, url: str) -> Path:
    """Write settings with this collector and a correct token file."""
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text("secret")
    path = folder / "config.yaml"
    path.write_text(
        "probe: {site: test}\nlocation: {source: none}\n"
        "targets: [{kind: ping, name: device, address: 127.0.0.1}]\n"
        f"buffer: {{path: {folder / 'queue' / 'buffer.db'}}}\n"
        f'upload: {{collectors: [{{url: "{url}", token_file: "{token}"}}]}}\n'
    )
    return path


def test_upload_says_that_nothing_was_acknowledged(
    trial: Callable[..., Trial], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`sigprobe upload` ends with 4 at every false_reply, and all rows still wait."""
    run = trial(5, "fake acks, command line", short=12, full=120)
    with queue(tmp_path / "queue") as buffer:
        ids = fill(buffer, 3, run.random)
    for number in range(run.n):
        name, false_reply = list(FALSE_REPLIES.items())[number % len(FALSE_REPLIES)]
        with FalseServer(false_reply) as server:
            # an earlier batch, for the false_reply that repeats what it said of one
            server.seen.append(Sent(str(uuid.uuid4()), "", tuple(ids), ""))
            capsys.readouterr()
            code = cli.run(["upload", "--json", "--config", str(write_config(tmp_path, server.url))])
            said = capsys.readouterr()
            assert len(server.seen) > 1, said.err
        hold(code == 4, "exit-code", f"{name}: {code} {said.err}")
        hold(json.loads(said.out)["pending"] == len(ids), "acked-without-receipt", name)
    with queue(tmp_path / "queue") as buffer:
        hold(removed(buffer, ids) == 0, "acked-without-receipt")
    run.report(0)
