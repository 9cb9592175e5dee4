"""What an upload costs on the wire, over a bad link, and in time.

- Bytes sent per record in batches of 500, headers included: at most 130 without lists of round trips, 180 with. (What
  comes back, the receipts, is printed beside it.)
- A drain over a slow link of which 30 % of the requests are cut, somewhere: at most 1.5 times the bytes of the same
  drain over the same link uncut. 23,040 records; the link is 30 times 20 kbit/s by default, with `--full` it is not
  (one and a half hours).
- A drain of `--records` on loopback into a real collector, beside a bare POST of the same bytes to the same one.

Exits 1 when a goal is missed.

    python bench/upload.py [--full] [--records 100000] [--seed N]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from sigprobe.buffer import Buffer  # noqa: E402
from sigprobe.protocol import batches as wire  # noqa: E402
from sigprobe.record.result import new_id  # noqa: E402
from sigprobe.upload import Backoff, Collector, Mode, Upload, drain, open_channel, post  # noqa: E402
from sigprobe.upload.batch_size import TARGET_S, Pace  # noqa: E402
from tests.support.records import record  # noqa: E402
from tests.support.stand_in_collector import packed_receipt, standin  # noqa: E402

GOAL_PLAIN_B = 130
GOAL_RTTS_B = 180
GOAL_CUT = 1.5
GOAL_RATE = 0.5
LINK_BIT_S = 20_000.0


def lines(count: int, rng: random.Random, *, with_rtts: bool = True) -> list[tuple[str, bytes]]:
    """(id, stored line) pairs as the runs of one probe make them: four checks to a run."""
    probe, stream, boot = (new_id() for _ in range(3))
    run = new_id()
    made = []
    for number in range(count):
        if number % 4 == 0:
            run = new_id()
        found = record(rng=rng)
        data = {key: value for key, value in found.data.items() if with_rtts or key != "rtts_ms"}
        duration = round(rng.uniform(1900, 2300), 3)
        found = replace(found, run_id=run, data=data, duration_ms=duration)
        placed = found.placed(probe_id=probe, stream_id=stream, seq=number + 1, boot_id=boot)
        made.append((placed.id, placed.to_line()))
    return made


def bytes_per_record(folder: Path, rng: random.Random, *, with_rtts: bool) -> tuple[float, float]:
    """(sent, received) bytes per record in batches of 500."""
    (place := folder / f"wire-{with_rtts}").mkdir()
    with Buffer(place / "buffer.db") as buffer, standin(packed_receipt) as server:
        buffer.take_in(lines(1000, rng, with_rtts=with_rtts))
        upload = Upload(buffer, [Collector(server.url, "t" * 43)], Backoff(place / "b"))
        upload.pace.records = 500
        report = upload.run()
        assert server.sizes == [500, 500], server.sizes
        return report.bytes_sent / 1000, report.bytes_received / 1000


class BadLink:
    """A proxy that passes both directions at a rate, and cuts a share of the requests at a random byte.

    Half of the cuts fall into the request, half into the reply: then the collector has the records already.
    """

    def __init__(self, port: int, bit_s: float, share: float, seed: int) -> None:
        self.upstream = port
        self.byte_s = bit_s / 8
        self.share = share
        self.random = random.Random(seed)
        self.bytes = 0
        self.cuts = 0
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> BadLink:
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _serve(self) -> None:
        async def begin() -> None:
            server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
            self.port = server.sockets[0].getsockname()[1]
            self._ready.set()

        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(begin())
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        with suppress(RuntimeError):
            self._loop.run_until_complete(asyncio.sleep(0.05))
        self._loop.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError, ValueError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(int(h.split(b":")[1]) for h in head.split(b"\r\n") if h.lower().startswith(b"content-l"))
                request_at = reply_at = None
                if self.random.random() < self.share:
                    self.cuts += 1
                    where = self.random.random()
                    request_at = round(length * where * 2) if where < 0.5 else None
                    reply_at = where * 2 - 1 if where >= 0.5 else None
                up_writer.write(head)
                if not await self._pass(reader, up_writer, length, request_at, len(head)):
                    break
                answer = await up_reader.readuntil(b"\r\n\r\n")
                size = next(int(h.split(b":")[1]) for h in answer.split(b"\r\n") if h.lower().startswith(b"content-l"))
                writer.write(answer)
                at = None if reply_at is None else round(size * reply_at)
                if not await self._pass(up_reader, writer, size, at, len(answer)):
                    break
        up_writer.close()
        writer.close()

    async def _pass(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, length: int, cut_at: int | None, head: int
    ) -> bool:
        """Pass a body at the link's rate; False when it was cut."""
        self.bytes += head
        done = 0
        while done < length:
            part = await source.readexactly(min(1400, length - done))
            if cut_at is not None and done + len(part) >= cut_at:
                self.bytes += cut_at - done
                return False
            await asyncio.sleep(len(part) / self.byte_s)
            self.bytes += len(part)
            done += len(part)
            sink.write(part)
            await sink.drain()
        return cut_at is None


def over_bad_link(folder: Path, count: int, faster: float, share: float, seed: int) -> tuple[int, int, float]:
    """(bytes over the link both ways, cuts, seconds) of a drain that goes on until nothing is pending.

    The link is `faster` than 20 kbit/s, and batches aim at as much less time: their sizes stay the same.
    """
    (place := folder / f"link-{share}").mkdir()
    with (
        Buffer(place / "buffer.db") as buffer,
        standin(packed_receipt) as server,
        BadLink(server.port, LINK_BIT_S * faster, share, seed) as link,
    ):
        buffer.take_in(lines(count, random.Random(seed)))
        begun = time.monotonic()
        while buffer.pending():
            # as the agent does, but without its pauses: no time passes between two drains
            Upload(
                buffer,
                [Collector(f"http://127.0.0.1:{link.port}/", "t")],
                Backoff(place / "b", uniform=lambda _low, _high: 0.0),
                mode=Mode.QUIET,
                pace=Pace(target_s=TARGET_S / faster),
            ).run()
        stored = {name for sent in server.seen for name in sent.ids}
        assert len(stored) == count, "a record is missing at the collector"
        return link.bytes, link.cuts, time.monotonic() - begun


@contextmanager
def collector(folder: Path) -> Iterator[tuple[str, str]]:
    """A real collector on loopback: its URL and a token."""
    run = [sys.executable, "-m", "sigprobe", "collector"]
    database = ("--database", f"sqlite:///{folder / 'collector.db'}")
    made = subprocess.run(
        [*run, "token", "create", "--probe", "laptop", *database], capture_output=True, text=True, check=True
    )
    with subprocess.Popen([*run, "serve", "--port", "0", *database], stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            url = next(word for line in process.stderr for word in line.split() if word.startswith("http://"))
            threading.Thread(target=process.stderr.read, daemon=True).start()
            yield url, made.stdout.splitlines()[-1]
        finally:
            process.terminate()


def against_bare_post(folder: Path, count: int, rng: random.Random) -> tuple[float, float]:
    """Records per second of a drain, and of posting batches that were made before, each into a collector of its own."""
    place = folder / "rate"
    place.mkdir()
    with Buffer(place / "buffer.db", max_mb=4096) as buffer:
        made = lines(count, rng)
        buffer.take_in(made)
        (place / "one").mkdir()
        with collector(place / "one") as (url, token):
            sender = Collector(url, token)
            begun = time.monotonic()
            report = drain(buffer, [sender], Backoff(place / "b"))
            drained = time.monotonic() - begun
            assert report.accepted == count, report
    batches = [wire.build_batch(made[n : n + 1000]) for n in range(0, count, 1000)]
    (place / "two").mkdir()
    with collector(place / "two") as (url, token):
        sender = Collector(url, token)
        channel = open_channel(sender)
        begun = time.monotonic()
        for batch in batches:
            reply = post(channel, sender.endpoint(wire.BATCH_PATH), batch.body, wire.batch_headers(batch, token), 60)
            assert reply.status == 200, reply
        bare = time.monotonic() - begun
        channel.close()
    return count / drained, count / bare


def judge(name: str, value: float, unit: str, goal: float, *, most: bool = True, note: str = "") -> bool:
    """Print a figure beside its goal; True when it was missed."""
    good = value <= goal if most else value >= goal
    sign = "<=" if most else ">="
    print(f"{name:<44} {value:8.2f} {unit:<6} goal {sign} {goal} {'ok' if good else 'MISSED'}  {note}", flush=True)
    return not good


def main() -> int:
    """Measure and judge."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--records", type=int)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    wanted = parser.parse_args()
    rng = random.Random(wanted.seed)
    print(f"seed {wanted.seed}")
    for name in [name for name in os.environ if name.startswith(("SIGPROBE_", "XDG_"))]:
        del os.environ[name]
    missed = 0
    with tempfile.TemporaryDirectory() as place:
        os.environ["HOME"] = place
        folder = Path(place)
        for name, with_rtts, goal in (
            ("without round trips", False, GOAL_PLAIN_B),
            ("with ten round trips", True, GOAL_RTTS_B),
        ):
            sent, received = bytes_per_record(folder, rng, with_rtts=with_rtts)
            note = f"({received:.0f} B of receipt come back)"
            missed += judge(f"sent per record, {name}", sent, "B", goal, note=note)
        # fewer records would mean a dozen cuts, of which chance makes 1.2 to 1.6
        count, faster = 23_040, 1.0 if wanted.full else 30.0
        clean, _, clean_s = over_bad_link(folder, count, faster, 0.0, wanted.seed)
        cut, cuts, cut_s = over_bad_link(folder, count, faster, 0.3, wanted.seed)
        note = f"({count} records, {clean} B in {clean_s:.0f} s; {cut} B in {cut_s:.0f} s with {cuts} cuts)"
        missed += judge("bytes with 30 % of the requests cut", cut / clean, "x", GOAL_CUT, note=note)
        count = wanted.records or (100_000 if wanted.full else 20_000)
        drained, bare = against_bare_post(folder, count, rng)
        note = f"({drained:.0f}/s against {bare:.0f}/s, {count} records)"
        missed += judge("drain against a bare POST of batches", drained / bare, "x", GOAL_RATE, most=False, note=note)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
