"""The file itself: what is damaged, foreign, newer or a bomb is refused whole, and writing leaves all or nothing."""

from __future__ import annotations

import errno
import gzip
import json
import os
import random
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from sigprobe.protocol import transfer_file
from sigprobe.protocol.transfer_file import CarryError
from sigprobe.upload import offline
from tests.support.collector_client import make_result
from tests.support.laptops import HEADER, Laptop, pack, whole

Laptops = Callable[..., Laptop]


def read(path: Path) -> list[bytes]:
    """All lines of a file that verifies."""
    with transfer_file.opened(path) as file:
        verified = offline.verify(file)
        return [line for lines in transfer_file.chunks(file, verified) for line in lines]


def refusal(path: Path) -> str:
    """The code a file is refused with; fails when it is taken."""
    with pytest.raises(CarryError) as caught:
        read(path)
    return caught.value.code


@pytest.fixture
def exported(laptop: Laptops, tmp_path: Path) -> Path:
    """A small good file."""
    path = tmp_path / "stick.ndjson.gz"
    offline.export_results(laptop("home", 3).buffer, path)
    return path


def test_a_good_file_is_plain_gzip(laptop: Laptops, tmp_path: Path) -> None:
    """Any gzip program unpacks it: header, the stored bytes one a line, trailer with count and digest."""
    home = laptop("home", 3)
    path = tmp_path / "stick.ndjson.gz"
    offline.export_results(home.buffer, path, now=lambda: "2029-02-14T07:05:01.123Z")
    header, *lines, trailer = gzip.decompress(path.read_bytes()).splitlines()
    assert json.loads(header) == {
        "format": "sigprobe-results",
        "version": 1,
        "probe_id": home.buffer.probe_id,
        "created_at": "2029-02-14T07:05:01.123Z",
    }
    assert lines == list(home.lines().values()) == read(path)
    assert json.loads(trailer)["count"] == 3


def test_every_flipped_byte_is_refused(exported: Path) -> None:
    """Whichever byte of a file is altered, nothing is taken from it."""
    good = exported.read_bytes()
    assert len(read(exported)) == 3
    for place in range(len(good)):
        exported.write_bytes(good[:place] + bytes([good[place] ^ 0xFF]) + good[place + 1 :])
        assert refusal(exported) in ("file_damaged", "file_not_ours", "file_too_big"), place


def test_flipped_bits_never_alter_a_record(exported: Path, record_property: Callable[[str, object], None]) -> None:
    """A single flipped bit is refused, or stands where it means nothing: never an altered record."""
    seed = 20290214
    record_property("seed", seed)
    chance = random.Random(seed)
    good, lines = exported.read_bytes(), read(exported)
    refused = 0
    for _ in range(1000):
        place, bit = chance.randrange(len(good)), 1 << chance.randrange(8)
        exported.write_bytes(good[:place] + bytes([good[place] ^ bit]) + good[place + 1 :])
        try:
            assert read(exported) == lines, (seed, place, bit)
        except CarryError:
            refused += 1
    assert refused > 990, seed


def test_every_truncation_is_refused(exported: Path) -> None:
    """A file cut off anywhere, as by a stick pulled too early, is refused as damaged."""
    good = exported.read_bytes()
    for length in range(len(good)):
        exported.write_bytes(good[:length])
        assert refusal(exported) == "file_damaged", length


RECORD = make_result(probe_id="0190a5c0-0000-4000-8000-0000000000bb", stream_id="0190a5c0-0000-4000-8000-0000000000bc")
LINE = RECORD.to_line()


def test_a_file_made_by_hand_is_good(tmp_path: Path) -> None:
    """The control of the table below: the same file without a fault is taken."""
    path = tmp_path / "file"
    path.write_bytes(whole([LINE]))
    assert read(path) == [LINE]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "file_damaged"),
        (b"id,rtt\n1,2\n", "file_not_ours"),
        (gzip.compress(b"a letter\n", mtime=0), "file_not_ours"),
        (gzip.compress(gzip.decompress(whole([LINE])), mtime=1), "file_not_ours"),
        (pack(b""), "file_damaged"),
        (pack(b"a letter\n"), "file_not_ours"),
        (pack(b'{"format":"other","version":1}\n'), "file_not_ours"),
        (pack(HEADER + b"\n"), "file_damaged"),
        (pack(HEADER + b"\n" + LINE + b"\n"), "file_damaged"),
        (pack(HEADER + b"\n" + LINE), "file_damaged"),
        (whole([LINE], count=2), "file_damaged"),
        (whole([LINE], count=True), "file_damaged"),
        (whole([LINE], sha256="0" * 64), "file_damaged"),
        (whole([LINE], end="yes"), "file_damaged"),
        (whole([LINE]) + b"x", "file_damaged"),
        (whole([LINE]) + whole([LINE]), "file_damaged"),
        (whole([LINE], HEADER.replace(b'"version":1', b'"version":2')), "file_newer"),
        (whole([LINE], HEADER.replace(b'"version":1', b'"version":true')), "file_not_ours"),
        (whole([LINE, b"not json"]), "file_damaged"),
        (whole([LINE, b'{"id": NaN}']), "file_damaged"),
        (whole([LINE, b"[" * 60_000]), "file_damaged"),
        (whole([LINE, b'{"kind":"ping"}']), "file_damaged"),
        (whole([LINE, b""]), "file_damaged"),
        (whole([LINE, b'{"id":"' + b"x" * 65536 + b'"}']), "file_too_big"),
    ],
)
def test_what_is_not_a_whole_file_of_ours_is_refused(tmp_path: Path, content: bytes, code: str) -> None:
    """Damaged, foreign and newer files are told apart, and none is taken."""
    path = tmp_path / "file"
    path.write_bytes(content)
    assert refusal(path) == code


@pytest.mark.parametrize("kind", ["missing", "directory", "pipe", "device", "no such name"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    """A directory, a pipe that nobody writes to, a device: refused without waiting."""
    path = tmp_path / ("nul\0byte" if kind == "no such name" else "thing")
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/zero")
    assert refusal(path) == ("file_directory" if kind == "directory" else "file_unreadable")


@pytest.mark.parametrize("content", [b"\0" * 65_000 + b"\n", b"\0"])
def test_bombs_are_refused_early(tmp_path: Path, content: bytes) -> None:
    """A file that unpacks to a hundred megabytes is refused within a few, in time and in memory."""
    path = tmp_path / "bomb"
    path.write_bytes(pack(HEADER + b"\n" + content * (100_000_000 // len(content))))
    tracemalloc.start()
    started = time.process_time()
    try:
        # lines of zeros are no records, so here only the size is looked at
        with transfer_file.opened(path) as file, pytest.raises(CarryError) as caught:
            transfer_file.verify(file, lambda _header, _line: None)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.code == "file_too_big"
    assert peak < 8_000_000
    assert time.process_time() - started < 2


def test_a_file_that_changes_after_it_was_verified(laptop: Laptops, tmp_path: Path) -> None:
    """What is taken is what was verified: another file written in its place gives nothing."""
    path = tmp_path / "file"
    other = make_result(probe_id=RECORD.probe_id).to_line()
    path.write_bytes(whole([LINE]))
    with transfer_file.opened(path) as file:
        verified = offline.verify(file)
        path.write_bytes(whole([other]))
        with pytest.raises(CarryError) as caught:
            list(transfer_file.chunks(file, verified))
        path.write_bytes(whole([LINE])[:200])
        with pytest.raises(CarryError) as again:
            list(transfer_file.chunks(file, verified))
    assert (caught.value.code, again.value.code) == ("file_changed", "file_changed")


def test_many_lines_come_in_chunks(tmp_path: Path) -> None:
    """Whatever the number of lines, all of them come, in order, at most 500 at a time."""
    for count in (0, 1, 499, 500, 501, 1000, 1201):
        lines = [b'{"id":"%d"}' % number for number in range(count)]
        path = tmp_path / f"{count}"
        path.write_bytes(whole(lines))
        with transfer_file.opened(path) as file:
            verified = offline.verify(file)
            found = list(transfer_file.chunks(file, verified))
        assert [line for chunk in found for line in chunk] == lines
        assert max(map(len, found), default=0) <= 500


HEAD = transfer_file.Header(transfer_file.RESULTS, 1, None, "2029-02-14T07:05:01.123Z")


def test_writing_stopped_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C in the middle of an export leaves no half file, and the file of before as it was."""
    path = tmp_path / "out"
    path.write_bytes(b"before")
    with pytest.raises(KeyboardInterrupt), transfer_file.writing(path, HEAD, overwrite=True) as writer:
        writer.add(LINE)
        raise KeyboardInterrupt
    assert [entry.name for entry in tmp_path.iterdir() if entry.is_file()] == ["out"]
    assert path.read_bytes() == b"before"


def test_a_file_is_never_overwritten_unasked(tmp_path: Path) -> None:
    """Without --force a file of that name stays, even one that appears while the new one is written."""
    path = tmp_path / "out"
    path.write_bytes(b"before")
    with pytest.raises(CarryError) as caught, transfer_file.writing(path, HEAD):
        pass
    assert (caught.value.code, path.read_bytes()) == ("file_exists", b"before")
    late = tmp_path / "late"
    with pytest.raises(CarryError) as caught, transfer_file.writing(late, HEAD):
        late.write_bytes(b"another's")
    assert (caught.value.code, late.read_bytes()) == ("file_exists", b"another's")
    with transfer_file.writing(path, HEAD, overwrite=True):
        pass
    assert read(path) == []


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("where", ["a directory", "no directory", "a device"])
def test_places_that_take_no_file(tmp_path: Path, where: str, force: bool) -> None:
    """A directory, a missing directory and a device are refused, also with --force."""
    path = {"a directory": tmp_path, "no directory": tmp_path / "none" / "out", "a device": Path("/dev/null")}[where]
    with pytest.raises(CarryError) as caught, transfer_file.writing(path, HEAD, overwrite=force):
        pass
    assert caught.value.code == ("file_directory" if where == "a directory" else "file_unwritable")


def test_a_disk_that_fails_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that says only at the last sync that it is full leaves no file."""

    def full(_fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(transfer_file.os, "fsync", full)
    with pytest.raises(CarryError) as caught, transfer_file.writing(tmp_path / "out", HEAD) as writer:
        writer.add(LINE)
    assert caught.value.code == "file_full"
    assert [entry for entry in tmp_path.iterdir() if entry.is_file()] == []


def test_what_is_exported_can_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer stops before a file grows larger than a reader takes."""
    monkeypatch.setattr(transfer_file, "MAX_RAW_BYTES", 200_000)
    path = tmp_path / "out"
    with pytest.raises(CarryError) as caught, transfer_file.writing(path, HEAD) as writer:
        while True:
            writer.add(LINE)
    assert caught.value.code == "file_too_big"
    most = writer.count
    with transfer_file.writing(path, HEAD) as writer:
        for _ in range(most):
            writer.add(LINE)
    assert len(read(path)) == most
