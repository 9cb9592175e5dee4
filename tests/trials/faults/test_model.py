"""Promise 4: nothing expires by age or by tries. A model of the queue against the queue, with every accident."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import seed as hypothesis_seed
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Engine, delete

from sigprobe.buffer import Buffer, State, Verdicts
from sigprobe.buffer.page_recovery import PageRecovery
from sigprobe.buffer.rows import Row
from sigprobe.collector import store
from sigprobe.collector.ingest import queries as ingest_queries
from sigprobe.collector.ingest import rows as ingest_rows
from sigprobe.collector.ingest.records import answers, sort_lines
from sigprobe.collector.store.schema import results
from sigprobe.protocol.batches import ACCEPTED, DUPLICATE
from sigprobe.record.result import Outcome, new_id
from tests.support.collector_client import page_lines
from tests.support.records import record
from tests.trials.faults.trial import SEED, SOAK, hold

DAY = 86400.0
COLLECTOR = "https://collector.example/"


class Queue(RuleBasedStateMachine):
    """What must hold: every committed id is pending, acked, carried, damaged or set aside with its reason; or it was
    pruned after its ack; or its bytes lie in a quarantined file and did not verify. The collector has no id twice."""

    steps = 0
    engine: ClassVar[Engine]
    add = staticmethod(ingest_queries.add_results)

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="sigprobe-model-"))
        self.path = self.home / "b.db"
        self.clock = 1_900_000_000.0
        self.buffer = self.open()
        self.lines: dict[str, bytes] = {}
        # one file for all examples, which is emptied: making it takes longer than an example
        with self.engine.execution_options(write=True).begin() as connection:
            connection.execute(delete(results))
        self.acked: set[str] = set()
        self.rejected: set[str] = set()
        self.carried: set[str] = set()
        self.pruned: set[str] = set()
        self.undone: set[str] = set()  # pruning finds out about the last record only when it is no longer the last
        self.spoiled = False
        self.told = False  # whether the collector has been asked anything since it was looked at

    def open(self) -> Buffer:
        return Buffer(self.path, now=lambda: self.clock)

    @initialize()
    def begin(self) -> None:
        self.put(3, False)

    @rule(count=st.integers(1, 4), failed=st.booleans())
    def put(self, count: int, failed: bool) -> None:
        for _ in range(count):
            outcome = Outcome.FAILED if failed else Outcome.OK
            stored = self.buffer.put(record(outcome=outcome, rtts=5))
            self.lines[stored.result.id] = stored.line

    @rule()
    def crash(self) -> None:
        """Drop the object, as a crash of its process does; another one opens the files."""
        old, self.buffer = self.buffer, self.open()
        old.close()

    @rule()
    def power_off(self) -> None:
        """Keep only the files, as they are."""
        copy = Path(tempfile.mkdtemp(prefix="sigprobe-model-"))
        shutil.rmtree(copy)
        shutil.copytree(self.home, copy, ignore=shutil.ignore_patterns("*-shm"))
        self.buffer.close()
        shutil.rmtree(self.home)
        self.home, self.path = copy, copy / "b.db"
        self.buffer = self.open()

    @rule(most=st.integers(1, 6), answer=st.sampled_from(["acked", "lost reply", "rejected", "retry", "mixed"]))
    def upload(self, most: int, answer: str) -> None:
        rows = self.buffer.peek(most, 1 << 20)
        for row in rows:
            hold(self.lines.get(row.id) == row.line, "altered", row.id)
        sent = [] if answer in ("rejected", "retry") else rows[:: 2 if answer == "mixed" else 1]
        refused = [r.id for r in rows if answer == "rejected"]
        taken = self.collect(sent)
        if answer == "lost reply":
            return
        self.buffer.settle(Verdicts(taken, [(name, "rejected: it says so") for name in refused]), COLLECTOR)
        self.acked |= set(taken)
        self.undone -= set(taken)
        self.rejected |= set(refused)
        self.undone -= set(refused)

    def collect(self, sent: list[Row]) -> list[str]:
        """Store lines with the collector's own code; returns the ids that it accepts or has accepted before."""
        self.told = True
        batch = sort_lines(row.line for row in sent)
        stored = self.add(self.engine, batch.rows, carrier="model", token_id=None, now=datetime.now(UTC))
        found = {a.id: a for a in answers(batch, stored)}
        hold(list(found) == [row.id for row in sent], "not-answered")
        taken = [a.id for a in found.values() if a.status in (ACCEPTED, DUPLICATE)]
        hold(taken == [row.id for row in sent], "not-taken", str(found))
        return taken

    @rule(days=st.sampled_from([-7000.0, -60.0, -1.0, 0.04, 1.0, 8.0, 60.0, 7000.0]))
    def clock_jump(self, days: float) -> None:
        self.clock += days * DAY

    @rule()
    def sixty_days_offline(self) -> None:
        for _ in range(60):
            self.clock += DAY
            self.upload(3, "retry")
            self.prune()

    @rule()
    def prune_old(self) -> None:
        self.prune()

    def prune(self, by: Buffer | None = None) -> None:
        before = {row.id: row for row in self.buffer.rows()}
        (by or self.buffer).prune()
        gone = set(before) - {row.id for row in self.buffer.rows()}
        for name in gone:
            hold(before[name].state is State.ACKED, "expired", f"{name} was {before[name].state.name}")
        self.pruned |= gone

    @precondition(lambda self: not self.spoiled)
    @rule(most=st.integers(1, 3), by_another=st.booleans())
    def undo(self, most: int, by_another: bool) -> None:
        """Flip bits in checksums of acks: pruning, here or elsewhere, finds them, and the records are pending again."""
        acked = list(self.buffer.rows(State.ACKED))[:most]
        self.undone |= {row.id for row in acked}
        for row in acked:
            self.buffer._file.write(
                lambda db, pos=row.pos: db.execute("UPDATE fate SET seal = x'00' WHERE pos=?", (pos,))
            )
        self.clock += 8 * DAY
        if by_another:
            with self.open() as other:
                self.prune(other)
        else:
            self.prune()

    @rule(fresh=st.integers(0, 3))
    def take_in(self, fresh: int) -> None:
        """Import records of another device, one that is stored already, and one with a known id but other bytes."""
        lines = []
        for _ in range(fresh):
            theirs = record(rtts=1).placed(probe_id=str(uuid4()), stream_id=new_id(), seq=1, boot_id=None)
            lines.append((theirs.id, theirs.to_line()))
        known = sorted({row.id for row in self.buffer.rows()})[:2]
        repeated = [(name, self.lines[name]) for name in known[:1]]
        other = [(name, b'{"id":"%s","other":1}' % name.encode()) for name in known[1:]]
        new, same, conflicts = self.buffer.take_in(lines + repeated + other)
        fine = (new, same, conflicts) == (fresh, len(repeated), [n for n, _ in other])
        # a broken index may take a known record for a new one or for a conflict; the invariant still holds
        hold(fine or self.spoiled, "take-in", f"{new} {same} {len(conflicts)}")
        self.lines |= dict(lines)

    @rule(right=st.booleans())
    def carry(self, right: bool) -> None:
        rows = list(self.buffer.rows(State.PENDING, State.REJECTED, State.ACKED))[:3]
        pairs = [(r.id, hashlib.sha256(r.line if right else b"other").hexdigest().upper()) for r in rows]
        marked = self.buffer.mark_carried(pairs, "a laptop")
        waiting = {r.id for r in rows if r.state is not State.ACKED} if right else set()
        # what a corruption took between looking and marking cannot be marked
        fine = marked == len(waiting) or (self.spoiled and marked < len(waiting))
        hold(fine, "carried-wrongly", f"{marked} of {len(waiting)}")
        self.carried |= waiting

    @rule()
    def late_receipt(self) -> None:
        """Settle records that were carried or rejected by a receipt over the network."""
        rows = list(self.buffer.rows(State.CARRIED, State.REJECTED))[:2]
        # those that another device has carried there: what has been damaged here since is not what it carried
        names = self.collect([row for row in rows if self.lines[row.id] == row.line])
        self.buffer.settle(Verdicts(acked=names), COLLECTOR)
        self.acked |= set(names)
        self.undone -= set(names)

    @precondition(lambda self: not self.spoiled)
    @rule(where=st.floats(0, 1), bit=st.integers(0, 7), size=st.sampled_from([1, 40, 5000]))
    def corrupt(self, where: float, bit: int, size: int) -> None:
        self.buffer.close()
        raw = bytearray(self.path.read_bytes())
        at = min(len(raw) - 1, int(where * len(raw)))
        for offset in range(at, min(len(raw), at + size)):
            raw[offset] ^= 1 << bit
        self.path.write_bytes(raw)
        self.spoiled = True
        self.buffer = self.open()

    @invariant()
    def nothing_is_lost(self) -> None:
        Queue.steps += 1
        rows = {row.id: row for row in self.buffer.rows()}
        missing = set(self.lines) - set(rows) - self.pruned
        if missing and self.spoiled:
            # what a corruption took lies in a file that is kept, and nowhere there whole
            for aside in (self.home / "quarantine").glob("*.broken"):
                with PageRecovery(aside) as recovery:
                    whole = missing & {found.id for found in recovery.records()}
                hold(not whole, "lost", f"{len(whole)} records that verify were left in {aside.name}")
            # a flipped bit may make the file look like one of a newer version, which is left untouched and shown
            stats = self.buffer.stats()
            hold(stats.set_aside_files or stats.newer_files, "lost", f"{len(missing)} records without a trace")
        else:
            hold(not missing, "lost", f"{len(missing)} records")
        for name, row in rows.items():
            if row.state is State.ACKED:
                hold(name in self.acked, "acked-without-receipt", name)
            if row.state is State.REJECTED:
                hold(name in self.rejected and bool(row.reason), "rejected-without-reason", name)
            if row.state is State.CARRIED:
                hold(name in self.carried, "carried-wrongly", name)
            if row.state is State.DAMAGED:
                hold(self.spoiled, "damaged", name)
            if row.state is State.PENDING and not self.spoiled:
                hold(name not in (self.acked | self.rejected) - self.undone, "ack-lost", name)

    @invariant()
    def the_collector_holds_each_once(self) -> None:
        """Check the rows of its table, not its answers; acknowledged records are stored unchanged."""
        if not self.told:
            return
        self.told = False
        kept = [line for _, line in page_lines(self.engine, limit=100_000)]
        names = [json.loads(line)["id"] for line in kept]
        hold(len(set(names)) == len(names), "doubled", f"{len(names) - len(set(names))} of {len(names)}")
        held = dict(zip(names, kept, strict=True))
        hold(self.acked <= set(held), "acked-not-stored", f"{len(self.acked - set(held))}")
        hold(all(self.lines[name] == line for name, line in held.items()), "altered")

    @invariant()
    def what_waits_is_handed_out(self) -> None:
        """Check that the open queue returns every pending record, as an upload asks for them."""
        file = self.buffer._file.generation
        handed: dict[int, str] = {}
        while page := self.buffer.peek(20, 1 << 20, handed.keys()):
            handed |= {row.pos: row.id for row in page}
        left = {row.id for row in self.buffer.rows(State.PENDING)} - set(handed.values())
        # damage may show itself here, and then positions mean other records
        hold(not left or file != self.buffer._file.generation, "stuck", f"{len(left)} records")

    def teardown(self) -> None:
        self.buffer.close()
        shutil.rmtree(self.home, ignore_errors=True)


class ExpiringQueue(Queue):
    """The control: a queue whose pruning drops the oldest record, sent or not."""

    def prune(self, by: Buffer | None = None) -> None:
        super().prune(by)
        self.buffer._file.write(lambda db: db.execute("DELETE FROM record WHERE pos = (SELECT min(pos) FROM record)"))


def _forget(engine: Engine, rows: Sequence[ingest_rows.NewResult], **rest: Any) -> dict[str, str]:
    ingest_queries.add_results(engine, [replace(row, id=new_id()) for row in rows], **rest)
    return {row.id: ACCEPTED for row in rows}


class ForgetfulCollector(Queue):
    """The control: a collector that does not know an id again, after replies that were lost."""

    add = staticmethod(_forget)


class ForwardQueue(Queue):
    """The control: a queue that never searches for pending records again."""

    def open(self) -> Buffer:
        buffer = super().open()
        buffer.pending = lambda: 0  # type: ignore[method-assign]
        return buffer


Story = tuple[Callable[[Queue], None], ...]

CONTROLS: dict[str, tuple[type[Queue], Story]] = {
    "lost": (ExpiringQueue, (lambda q: q.sixty_days_offline(), lambda q: q.prune_old())),
    "doubled": (ForgetfulCollector, (lambda q: q.upload(6, "lost reply"), lambda q: q.upload(6, "acked"))),
    "stuck": (ForwardQueue, (lambda q: q.upload(6, "acked"), lambda q: q.put(2, False), lambda q: q.undo(1, True))),
}
"""By the reason why it must fail: a queue or collector without one protection, and the steps that show it."""


def _play(queue: Queue, story: Story) -> None:
    """Do these steps on a queue that has three records, and check every invariant after each."""
    try:
        queue.begin()
        for step in story:
            step(queue)
            queue.nothing_is_lost()
            queue.the_collector_holds_each_once()
            queue.what_waits_is_handed_out()
    finally:
        queue.teardown()


def _run(machine: type[Queue], examples: int, steps: int) -> None:
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    profile = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        suppress_health_check=checks,
        phases=[Phase.generate],
    )
    hypothesis_seed(SEED)(machine)
    run_state_machine_as_test(machine, settings=profile)


@pytest.mark.timeout(0 if SOAK else 120)
def test_nothing_expires(trial: Any, tmp_path: Path) -> None:
    """Whatever accidents follow each other, each record has a verdict or waits; the collector has none twice."""
    t = trial(4, "model of the queue", short=8, full=2000)
    Queue.engine = store.open_store(f"sqlite:///{tmp_path / 'collector.db'}")
    for reason, (control, story) in CONTROLS.items():
        _play(Queue(), story)
        with t.expect_failure(reason):
            _play(control(), story)
    _run(Queue, t.n, 30)
    Queue.engine.dispose()
    t.report(0, steps=Queue.steps)
