"""The commands as people type them: the whole round by hand, exit codes, a full stick, both languages."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sigprobe.buffer import State
from sigprobe.protocol import transfer_file
from tests.support.collector_client import make_result
from tests.support.laptops import HEADER, Laptop, receipts_file, sha256, whole
from tests.support.running_site import Run, Site

Laptops = Callable[..., Laptop]


@pytest.fixture
def site(tmp_path: Path, sigprobe: Run, free_port: Callable[[], int]) -> Iterator[Site]:
    folder = tmp_path / "centre"
    folder.mkdir()
    site = Site(folder, sigprobe, free_port())
    site.start()
    yield site
    site.stop()


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The JSON of a command that went well."""
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_whole_round_by_hand(laptop: Laptops, tmp_path: Path, sigprobe: Run, site: Site) -> None:
    """A laptop without any network: its results go over another one, and its receipts come back.

    The collector holds each record once, byte for byte, with who measured inside and who carried beside it; home
    keeps its results as carried, until a receipt over the network acknowledges them.
    """
    home, other = laptop("home", 7), laptop("other", 2)
    at_home, at_other = str(home.config()), other.config()
    at_other.write_text(
        at_other.read_text() + f'upload: {{collectors: [{{url: "{site.url}", token_file: "{site.token_file}"}}]}}\n'
    )
    stick, back = str(tmp_path / "results.ndjson.gz"), str(tmp_path / "receipts.ndjson.gz")

    written = document(sigprobe("export", stick, "--json", "--config", at_home))
    assert (written["records"], written["damaged"], written["receipts"]) == (7, 0, None)
    assert document(sigprobe("status", "--json", "--config", at_home))["pending"] == 7

    taken = document(sigprobe("import", stick, "--json", "--config", str(at_other)))
    assert (taken["kind"], taken["new"], taken["known"], taken["pending"]) == ("results", 7, 0, 9)
    assert taken["probe_id"] == home.buffer.probe_id
    sent = document(sigprobe("upload", "--json", "--config", str(at_other)))
    assert (sent["accepted"], sent["pending"]) == (9, 0)
    stored = {record["id"]: record for record in site.stored()}
    assert len(stored) == 9
    for name, line in home.lines().items():
        assert stored[name] == json.loads(line)
        assert stored[name]["probe_id"] == home.buffer.probe_id

    given = document(sigprobe("export", "--receipts", back, "--json", "--config", str(at_other)))
    assert (given["records"], given["receipts"]) == (None, 7)
    settled = document(sigprobe("import", back, "--json", "--config", at_home))
    assert (settled["kind"], settled["carried"], settled["pending"]) == ("receipts", 7, 0)
    status = document(sigprobe("status", "--json", "--config", at_home))
    assert (status["pending"], status["carried"], status["acked"]) == (0, 7, 0)
    assert len(sigprobe("results", "--ndjson", "--config", at_home).stdout.splitlines()) == 7
    assert {row.collector for row in home.buffer.rows(State.CARRIED)} == {site.url}

    # carried to the collector as well, by someone who did not know
    again = document(sigprobe("collector", "import", stick, "--database", site.database, "--json"))
    assert (again["accepted"], again["duplicate"]) == (0, 7)
    assert len(site.stored()) == 9


def test_what_was_carried_and_sent_is_stored_once(laptop: Laptops, tmp_path: Path, sigprobe: Run, site: Site) -> None:
    """A laptop that finds a network after its file went away by hand sends all of it; the collector keeps it once."""
    home = laptop("home", 4)
    path = home.config()
    path.write_text(
        path.read_text() + f'upload: {{collectors: [{{url: "{site.url}", token_file: "{site.token_file}"}}]}}\n'
    )
    stick = str(tmp_path / "stick.gz")
    document(sigprobe("export", stick, "--json", "--config", str(path)))
    assert document(sigprobe("collector", "import", stick, "--database", site.database, "--json"))["accepted"] == 4
    sent = document(sigprobe("upload", "--json", "--config", str(path)))
    assert (sent["accepted"], sent["duplicate"], sent["pending"]) == (0, 4, 0)
    assert len(site.stored()) == 4


def test_a_person_is_told_what_comes_next(laptop: Laptops, tmp_path: Path, sigprobe: Run) -> None:
    """Without --json each step says what it did in a line, and names the command that follows."""
    home, other = laptop("home", 2), laptop("other")
    stick, back = str(tmp_path / "stick.gz"), tmp_path / "back.gz"
    done = sigprobe("export", stick, "--config", str(home.config()))
    assert f"2 results are in {stick}" in done.stdout
    assert f"sigprobe import {stick}" in done.stderr
    done = sigprobe("import", stick, "--config", str(other.config()))
    assert done.stdout.startswith("2 results imported, 0 already known.")
    assert "sigprobe explain SP-SYN-07" in done.stderr, "no collector is set: an upload could only fail"
    none = str(tmp_path / "none.gz")
    done = sigprobe("export", "--receipts", none, "--config", str(other.config()))
    assert "No result of another device has been sent from here yet." in done.stdout
    done = sigprobe("import", none, "--config", str(home.config()))
    assert done.stdout == "This file contains no receipts.\n"
    path = other.config()
    path.write_text(path.read_text() + 'upload: {collectors: [{url: "https://collector.example/"}]}\n')
    more = laptop("third", 1)
    sigprobe("export", stick, "--force", "--config", str(more.config()))
    assert "Next: sigprobe upload" in sigprobe("import", stick, "--config", str(path)).stderr
    (one, line), _two = home.lines().items()
    receipts_file(back, (one, sha256(line), "accepted"), (one, "0" * 64, "accepted"))
    done = sigprobe("import", str(back), "--config", str(home.config()))
    assert done.returncode == 0
    assert "the collector already has 1 result" in done.stdout
    assert "1 receipt matches no result of this device" in done.stderr
    done = sigprobe("export", stick, "--force", "-q", "--config", str(home.config()))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_empty_queue_is_no_failure(laptop: Laptops, tmp_path: Path, sigprobe: Run) -> None:
    """A script that exports every day gets its file on a day without results too."""
    home, stick = laptop("home"), str(tmp_path / "stick.gz")
    assert document(sigprobe("export", stick, "--json", "--config", str(home.config())))["records"] == 0
    assert document(sigprobe("import", stick, "--json", "--config", str(home.config())))["records"] == 0


@pytest.mark.parametrize(
    ("content", "screen_code"),
    [
        (b"", "SP-FIL-02"),
        (b"PK\x03\x04 something else", "SP-FIL-01"),
        (whole([make_result().to_line()])[:-3], "SP-FIL-02"),
        (whole([], HEADER.replace(b'"version":1', b'"version":7')), "SP-FIL-03"),
        (None, "SP-FIL-05"),
    ],
)
def test_a_refused_import_is_2_and_takes_nothing(
    laptop: Laptops, tmp_path: Path, sigprobe: Run, content: bytes | None, screen_code: str
) -> None:
    """Damaged, foreign, newer, missing: one reason with its code, what to do, exit 2, an untouched queue."""
    other = laptop("other", 1)
    before = list(other.buffer.rows())
    path = tmp_path / "stick.gz"
    if content is not None:
        path.write_bytes(content)
    done = sigprobe("import", str(path), "--config", str(other.config()))
    assert (done.returncode, done.stdout) == (2, "")
    assert screen_code in done.stderr and str(path) in done.stderr
    assert "Traceback" not in done.stderr
    assert list(other.buffer.rows()) == before


def test_a_failed_export_is_1(laptop: Laptops, tmp_path: Path, sigprobe: Run) -> None:
    """A name that is taken, a directory, a missing directory: exit 1, and what was there stays."""
    config = str(laptop("home", 1).config())
    taken = tmp_path / "taken"
    taken.write_text("mine")
    for path in (taken, tmp_path, tmp_path / "none" / "out"):
        done = sigprobe("export", str(path), "--config", config)
        assert done.returncode == 1, path
        assert "SP-FIL-" in done.stderr and "Traceback" not in done.stderr
        assert sigprobe("export", "--receipts", str(path), "--config", config).returncode == 1
    assert taken.read_text() == "mine"
    assert "--force" in sigprobe("export", str(taken), "--config", config).stderr
    assert sigprobe("export", str(taken), "--force", "--config", config).returncode == 0
    assert sigprobe("export", "--config", config).returncode == 2


def test_a_queue_without_room_is_6(laptop: Laptops, tmp_path: Path, sigprobe: Run) -> None:
    """What could not be kept is said with the code that must alarm, and the file may be imported again."""
    home, small = laptop("home"), laptop("small")
    home.measure(700, data={"rtts_ms": [n + 0.125 for n in range(200)]})
    stick = str(tmp_path / "stick.gz")
    sigprobe("export", stick, "--config", str(home.config()))
    config = small.config(max_mb=1)
    done = sigprobe("import", stick, "--config", str(config))
    assert done.returncode == 6, done.stderr
    assert "SP-DSK-03" in done.stderr and "again" in done.stderr


@pytest.fixture
def full_stick(tmp_path: Path) -> Iterator[Path]:
    """A stick with room for 2 MB."""
    path = tmp_path / "stick"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(path)], check=True)
    yield path
    subprocess.run(["umount", str(path)], check=True)


@pytest.mark.root
def test_a_full_stick_gets_no_half_file(laptop: Laptops, full_stick: Path, sigprobe: Run) -> None:
    """Exit 1, a sentence, an empty stick; the file of before stays whole; the queue still has everything."""
    home = laptop("home")
    home.measure(5)
    config = str(home.config())
    good = full_stick / "results.gz"
    assert sigprobe("export", str(good), "--config", config).returncode == 0
    before = good.read_bytes()
    home.measure(120)
    for _ in range(100):
        home.measure(1, data={"noise": os.urandom(20_000).hex()})
    for path, more in ((full_stick / "new.gz", ()), (good, ("--force",))):
        done = sigprobe("export", str(path), *more, "--config", config)
        assert done.returncode == 1, done.stderr
        assert "SP-FIL-07" in done.stderr and "Traceback" not in done.stderr
        assert list(full_stick.iterdir()) == [good]
        assert good.read_bytes() == before
    assert home.buffer.pending() == 225


def test_both_ends_speak_both_languages(laptop: Laptops, tmp_path: Path, sigprobe: Run) -> None:
    """The language flag changes the words on screen and never a byte of the file or a name in the JSON."""
    home = laptop("home", 1)
    config = str(home.config())
    for lang in ("id", "en"):
        done = sigprobe("export", str(tmp_path / lang), "--json", "--lang", lang, "--config", config)
        assert document(done)["records"] == 1
    with transfer_file.opened(tmp_path / "id") as one, transfer_file.opened(tmp_path / "en") as two:
        found = [
            list(transfer_file.chunks(file, transfer_file.verify(file, lambda _h, _l: None))) for file in (one, two)
        ]
    assert found[0] == found[1] == [list(home.lines().values())]
