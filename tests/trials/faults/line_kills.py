"""Kill the collector's writers and worker at chosen lines of their code, and look at what is left.

    python -m tests.trials.faults.line_kills sqlite:////tmp/x.db --kills 20 --seed 1

Each round is a process of its own, forked from this one: two writer threads store a few batches, the worker publishes,
sums and corrects beside them, and a tracer sends SIGKILL at one line that runs in `ingest`, `worker`, `rollups` or
`store`. Lines are drawn in two ways: by how often they run, and each line of the code as likely as any other. A batch
whose answer did not come is sent again in the next round, as probes do. At the end the rest is sent, the worker goes on
until nothing is left, and everything is counted: it prints one JSON object.

A control takes a protection away: `early-answer` acknowledges before COMMIT, `own-transaction` adds to the sums in a
transaction of its own. The kill then comes right behind it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any, Final

from sqlalchemy import Engine, func, select

from sigprobe.collector import store
from sigprobe.collector.ingest import postgresql_writer, sqlite_writer
from sigprobe.collector.ingest import queries as ingest_queries
from sigprobe.collector.ingest.group_commit import GroupCommit
from sigprobe.collector.ingest.records import sort_lines
from sigprobe.collector.ingest.rows import NewBatch
from sigprobe.collector.results import reading
from sigprobe.collector.rollups import queries as rollups
from sigprobe.collector.store.schema import batches, results, tallies
from sigprobe.collector.worker import recount, summing
from sigprobe.collector.worker.contributions import COLUMNS
from sigprobe.collector.worker.loop import Worker
from sigprobe.record.result import Clock, Failure, Outcome, Tags, format_time
from tests.support.collector_client import make_result

ROOT: Final = Path(store.__file__).parents[1]
ROOMS: Final = tuple(str(ROOT / room) + os.sep for room in ("ingest", "worker", "rollups", "store"))
NOON: Final = datetime(2029, 2, 14, 5, 0, tzinfo=UTC)
PER_ROUND: Final = 3
ROUND_S: Final = 120.0
"""A round that hangs is a fault of its own."""

Place = tuple[str, int]


def draw(rng: random.Random, count: int) -> list[NewBatch]:
    """Return batches of records: boots whose clock is known or not, failures, and ids that came before."""
    found: list[NewBatch] = []
    lines: list[bytes] = []
    for number in range(count):
        new = []
        for place in range(rng.randint(1, 5)):
            slow = rng.random() < 0.5
            offset = timedelta(days=20 * 365) if slow else timedelta()
            knows = rng.random() < 0.3
            clock = Clock(
                rng.randrange(1, 7200) * 10**9, None, None, offset.total_seconds() * 1000 if knows else None, 50.0
            )
            failed = rng.random() < 0.3
            began = NOON + timedelta(seconds=rng.randrange(7200))
            new.append(
                make_result(
                    number * 10 + place + 1,
                    boot_id=f"boot-{rng.randrange(3)}-{slow}",
                    probe_id=f"0190a5c0-0000-4000-8000-0000000000b{rng.randrange(4)}",
                    stream_id=str(uuid.UUID(int=rng.getrandbits(128))),
                    started_at=format_time(began - offset),
                    kind=rng.choice(["ping", "run", "throughput"]),
                    outcome=Outcome.FAILED if failed else Outcome.OK,
                    failure=Failure("timeout") if failed else None,
                    data={}
                    if failed
                    else {"rtt_median_ms": rng.uniform(1, 300), "download_bps": rng.uniform(1e5, 1e8)},
                    tags=Tags(tps_id=f"327301100100{rng.randrange(1, 5)}", clock=clock),
                ).to_line()
            )
        again = rng.sample(lines, min(len(lines), 2)) if rng.random() < 0.2 else []
        lines += new
        rows = sort_lines([*again, *new]).rows
        found.append(NewBatch(list(rows), "laptop-1", None, NOON + timedelta(minutes=number)))
    return found


@dataclass
class Tracer:
    """Count the lines that run in the collector's rooms, and kill this process at one of them."""

    at_count: int | None = None
    at_place: Place | None = None
    passes: int = 0
    """So often the place may be passed before."""
    count: int = 0
    seen: Counter[Place] = field(default_factory=Counter)
    tell: int | None = None
    """Where the place of the kill is written."""

    def start(self) -> None:
        """Trace this thread and those that it starts."""
        threading.settrace(self._call)
        sys.settrace(self._call)

    def _call(self, frame: FrameType, event: str, _arg: object) -> Any:
        return self._line if frame.f_code.co_filename.startswith(ROOMS) else None

    def _line(self, frame: FrameType, event: str, _arg: object) -> Any:
        if event == "line":
            place = (frame.f_code.co_filename[len(str(ROOT)) + 1 :], frame.f_lineno)
            self.count += 1
            self.seen[place] += 1
            if self.count == self.at_count or (place == self.at_place and self.seen[place] > self.passes):
                self.die(place)
        return self._line

    def die(self, place: Place) -> None:
        """End at once, as a lost machine does."""
        if self.tell is not None:
            os.write(self.tell, json.dumps({"killed": place}).encode() + b"\n")
        os.kill(os.getpid(), signal.SIGKILL)


def work(url: str, due: Sequence[tuple[int, NewBatch]], tell: int, tracer: Tracer, control: str) -> None:
    """Do one round: store these batches and let the worker go on until nothing is left. Tells each answer."""
    tracer.tell = tell
    engine = store.open_store(url)
    if control:
        _take_away(control, engine, tracer, tell)
    tracer.start()
    writers: GroupCommit[NewBatch, ingest_queries.Statuses] = GroupCommit(
        lambda group: ingest_queries.store_batches(engine, group), writers=2, most_records=8
    )
    futures: list[tuple[int, Future[ingest_queries.Statuses]]] = []
    for number, batch in due:
        futures.append((number, writers.submit(batch, len(batch.rows))))
    worker = Worker(engine)
    worker.round()
    for number, future in futures:
        statuses = future.result(ROUND_S)
        os.write(tell, json.dumps({"answered": number, "statuses": sorted(set(statuses.values()))}).encode() + b"\n")
    until = time.monotonic() + ROUND_S
    # the connection of a killed leader holds the lock until the server has noticed
    while not worker.settle():
        if time.monotonic() > until:
            raise TimeoutError("the worker does not lead")
        time.sleep(0.01)
    worker.stop()
    writers.close()
    sys.settrace(None)
    threading.settrace(None)  # type: ignore[arg-type]
    engine.dispose()
    os.write(tell, json.dumps({"lines": tracer.count, "seen": list(tracer.seen.items())}).encode() + b"\n")


def _take_away(control: str, engine: Engine, tracer: Tracer, tell: int) -> None:
    """Take one protection away, and arrange the kill that it protects from."""
    if control == "early-answer":
        writer: Any = sqlite_writer if engine.dialect.name == "sqlite" else postgresql_writer
        real = ingest_queries.store_batches

        def early(own: Engine, group: Sequence[NewBatch]) -> list[ingest_queries.Statuses]:
            os.write(
                tell, json.dumps({"answered": -1, "ids": [row.id for b in group for row in b.rows]}).encode() + b"\n"
            )
            return real(own, group)

        def die(*_args: object) -> dict[str, bytes | None]:
            tracer.die(("ingest", 0))
            return {}

        ingest_queries.store_batches = early
        writer.write = die
    else:
        apply = rollups.apply

        def apart(_connection: object, sums: Any) -> None:
            with engine.begin() as own:
                apply(own, sums)
            if sums:
                tracer.die(("rollups", 0))

        rollups.apply = apart


class Rounds:
    """Rounds against one database, and what they were told."""

    def __init__(self, url: str, rng: random.Random) -> None:
        self.url = url
        self.answered: set[int] = set()
        self.promised: set[str] = set()
        self.killed: Counter[Place] = Counter()
        self.lines = 0
        self.seen: dict[Place, int] = {}
        self._rng = rng

    def run(self, due: Sequence[tuple[int, NewBatch]], tracer: Tracer, control: str = "") -> bool:
        """Run one round in a process of its own. Returns whether it was killed. Raises RuntimeError for other ends."""
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.close(read)
                signal.alarm(int(ROUND_S * 2))
                work(self.url, due, write, tracer, control)
                status = 0
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                os._exit(status)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            told = [json.loads(line) for line in pipe.read().splitlines()]
        ended = os.waitpid(pid, 0)[1]
        batches_due = dict(due)
        for fact in told:
            if "answered" in fact:
                number = fact["answered"]
                self.promised |= set(fact.get("ids") or (row.id for row in batches_due[number].rows))
                self.answered.add(number)
            elif "killed" in fact:
                self.killed[fact["killed"][0], fact["killed"][1]] += 1
            else:
                self.lines = fact["lines"]
                self.seen = {(name, line): n for (name, line), n in fact["seen"]}
        if os.WIFSIGNALED(ended) and os.WTERMSIG(ended) == signal.SIGKILL:
            return True
        if not os.WIFEXITED(ended) or os.WEXITSTATUS(ended):
            raise RuntimeError(f"a round ended with status {ended}")
        return False

    def next_tracer(self) -> Tracer:
        """Return one that kills at a random line."""
        if self._rng.random() < 0.5:
            return Tracer(at_count=self._rng.randint(1, self.lines))
        place = self._rng.choice(sorted(self.seen))
        return Tracer(at_place=place, passes=self._rng.randrange(self.seen[place]))


def count(url: str, sent: Sequence[NewBatch], promised: set[str]) -> dict[str, Any]:
    """Compare the database with what was sent."""
    engine = store.open_store(url)
    wanted = {row.id: row.line for batch in sent for row in batch.rows}
    with reading.snapshot(engine) as connection:
        read: list[reading.Line] = []
        while page := reading.read_lines(connection, after=read[-1].number if read else 0, limit=1000):
            read += page
        stored = Counter(connection.execute(select(results.c.id)).scalars())
        unsummed = connection.scalar(select(func.count()).select_from(batches).where(~batches.c.summed))
        counted: Counter[tuple[str, str, str]] = Counter()
        for row in connection.execute(select(*COLUMNS)):
            counted.update(summing.tally_keys(row))
        kept = {(row.scope, row.subject, row.outcome): row.count for row in connection.execute(select(tallies))}
    sums = recount.check_whole(engine)
    engine.dispose()
    numbers = [line.number for line in read]
    return {
        "records": len(wanted),
        "promised": len(promised),
        "lost": len([name for name in promised if name not in stored]),
        "missing": len([name for name in wanted if name not in stored]),
        "doubled": len([name for name, n in stored.items() if n > 1]) + len(read) - len({line.id for line in read}),
        "changed": len([line.id for line in read if wanted.get(line.id) != line.line]),
        "unread": len(set(stored) - {line.id for line in read}),
        "disorder": int(numbers != sorted(set(numbers))),
        "unsummed": unsummed,
        "sums_differ": sums.different,
        "sums_compared": sums.entries,
        "tallies_differ": sum(counted[key] != kept.get(key, 0) for key in counted.keys() | kept.keys()),
    }


def main() -> int:
    """Kill so often, then count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--control", choices=["", "early-answer", "own-transaction"], default="")
    given = parser.parse_args()
    rng = random.Random(given.seed)
    store.open_store(given.url).dispose()
    rounds = Rounds(given.url, rng)
    sent = draw(rng, PER_ROUND * (given.kills + 2))
    first = list(enumerate(sent[:PER_ROUND]))
    # one round to its end says how many lines there are
    rounds.run(first, Tracer())
    killed = tries = 0
    following = PER_ROUND
    waiting: list[tuple[int, NewBatch]] = []
    while killed < given.kills:
        tries += 1
        while len(waiting) < PER_ROUND and following < len(sent):
            waiting.append((following, sent[following]))
            following += 1
        killed += rounds.run(
            waiting[: PER_ROUND + 2], Tracer() if given.control else rounds.next_tracer(), given.control
        )
        waiting = [item for item in waiting if item[0] not in rounds.answered]
        if tries > 4 * given.kills + 20:
            raise RuntimeError("too few rounds were killed")
    if given.control != "early-answer":
        rounds.run([*waiting, *enumerate(sent[following:], following)], Tracer())
    found = count(given.url, sent, rounds.promised)
    print(json.dumps({"kills": killed, "rounds": tries + 2, "places": len(rounds.killed), **found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
