"""A copied queue gets a probe id and a stream of its own; what was measured before keeps the old ones."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import pytest

from sigprobe.buffer import Buffer, State, machine
from sigprobe.buffer.machine import Traits, bind, binding_file, renewal, traits
from tests.support.collector_client import make_result

RAW_ID = "0123456789abcdef0123456789abcdef"
NOW = "2026-11-28T06:00:00.000Z"


def _root(folder: Path, machine_id: str = RAW_ID, cards: dict[str, str] | None = None, *, usb: bool = False) -> Path:
    """A made-up /etc and /sys with these network cards."""
    (folder / "etc").mkdir(parents=True)
    if machine_id:
        (folder / "etc" / "machine-id").write_text(machine_id + "\n", encoding="ascii")
    for name, address in (cards or {}).items():
        device = folder / "devices" / ("usb1" if usb else "pci0") / name
        device.mkdir(parents=True)
        card = folder / "sys" / "class" / "net" / name
        card.mkdir(parents=True)
        (card / "device").symlink_to(device)
        (card / "address").write_text(address + "\n", encoding="ascii")
        (card / "addr_assign_type").write_text("0\n", encoding="ascii")
    return folder


def _queue(folder: Path) -> Buffer:
    return Buffer(folder / "buffer.db")


def _places(buffer: Buffer) -> list[tuple[str, str, int]]:
    lines = [json.loads(row.line) for row in buffer.rows(State.PENDING)]
    return [(line["probe_id"], line["stream_id"], line["seq"]) for line in lines]


def test_a_copy_never_gives_a_place_out_twice(tmp_path: Path) -> None:
    with _queue(tmp_path / "a") as first:
        first.put(make_result())
        assert not first.identity_renewed
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    with _queue(tmp_path / "a") as first, _queue(tmp_path / "b") as second:
        assert (first.identity_renewed, second.identity_renewed) == (False, True)
        assert first.probe_id != second.probe_id and first.stream_id != second.stream_id
        first.put(make_result())
        second.put(make_result())
        there, here = _places(first), _places(second)
    assert here[0] == there[0]  # measured before the copy: sent by both under the old identity
    assert here[1] not in there
    assert here[1][2] == 1


def test_it_is_said_once_and_remembered(tmp_path: Path) -> None:
    with _queue(tmp_path / "a") as first:
        former = first.probe_id
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert renewal(tmp_path / "b") is None
    ids = []
    for renewed in (True, False, False):
        with _queue(tmp_path / "b") as second:
            assert second.identity_renewed is renewed
            ids.append((second.probe_id, second.stream_id))
    assert len(set(ids)) == 1
    found = renewal(tmp_path / "b")
    assert found is not None and found[1] == former


def test_without_the_binding_the_copy_goes_unnoticed(tmp_path: Path) -> None:
    """The control: it is this file, and nothing else, that tells the copy from the original."""
    with _queue(tmp_path / "a") as first:
        former = first.probe_id
    binding_file(tmp_path / "a").unlink()
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    with _queue(tmp_path / "b") as second:
        assert (second.probe_id, second.identity_renewed) == (former, False)


def test_a_moved_directory_keeps_its_id(tmp_path: Path) -> None:
    with _queue(tmp_path / "a") as first:
        former = first.probe_id
    (tmp_path / "a").rename(tmp_path / "moved")
    with _queue(tmp_path / "moved") as moved:
        assert (moved.probe_id, moved.identity_renewed) == (former, False)


def test_processes_that_start_at_once_agree(tmp_path: Path) -> None:
    with _queue(tmp_path / "a"):
        pass
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    ids: list[str] = []

    def start() -> None:
        with _queue(tmp_path / "b") as buffer:
            ids.append(buffer.probe_id)

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 6
    assert len(set(ids)) == 1


def test_a_queue_of_an_older_version_is_bound_and_keeps_its_stream(tmp_path: Path) -> None:
    with _queue(tmp_path) as first:
        before = (first.probe_id, first.stream_id)
        first._file.write(lambda db: db.execute("DELETE FROM note WHERE name = 'probe_id'"))
    binding_file(tmp_path).unlink()
    with _queue(tmp_path) as again:
        assert (again.probe_id, again.stream_id) == before
    assert binding_file(tmp_path).exists()


# --- what tells machines apart --------------------------------------------------------------------------------


@pytest.fixture
def bound(tmp_path: Path) -> tuple[Path, str]:
    """A directory bound to a machine with two cards."""
    directory = tmp_path / "queue"
    directory.mkdir()
    (directory / "probe-id").write_text("id-of-the-probe\n", encoding="ascii")
    root = _root(tmp_path / "one", cards={"eth0": "aa:bb:cc:00:00:01", "wlan0": "aa:bb:cc:00:00:02"})
    assert bind(directory, "id-of-the-probe", NOW, root) == ("id-of-the-probe", False)
    return directory, "id-of-the-probe"


@pytest.mark.parametrize(
    ("machine_id", "cards", "renewed"),
    [
        (RAW_ID, {"eth0": "aa:bb:cc:00:00:01", "wlan0": "aa:bb:cc:00:00:02"}, False),
        (RAW_ID, {"wlan0": "aa:bb:cc:00:00:02"}, False),  # a card was taken out
        (RAW_ID, {"eth0": "aa:bb:cc:00:00:09"}, True),  # the same image on another laptop
        ("f" * 32, {"eth0": "aa:bb:cc:00:00:01"}, True),  # a new system that took the old data over
        ("", {}, False),  # a container: nothing can be read
        ("", {"eth0": "aa:bb:cc:00:00:09"}, True),
        (RAW_ID, {"eth0": "00:00:00:00:00:00"}, False),
    ],
)
def test_which_changes_make_another_machine(
    bound: tuple[Path, str], tmp_path: Path, machine_id: str, cards: dict[str, str], renewed: bool
) -> None:
    directory, name = bound
    now, changed = bind(directory, name, NOW, _root(tmp_path / "two", machine_id, cards))
    assert changed is renewed
    assert (now != name) is renewed
    assert (directory / "probe-id").read_text(encoding="ascii").strip() == now


def test_a_usb_card_tells_nothing(tmp_path: Path) -> None:
    root = _root(tmp_path / "usb", cards={"wwan0": "aa:bb:cc:00:00:07"}, usb=True)
    assert traits(tmp_path, "salt", root).hardware == frozenset()


def test_a_container_is_not_told_by_its_machine_id(tmp_path: Path) -> None:
    root = _root(tmp_path / "box")
    (root / ".dockerenv").touch()
    assert traits(tmp_path, "salt", root).machine == ""


def test_no_raw_id_is_kept(bound: tuple[Path, str]) -> None:
    text = binding_file(bound[0]).read_text(encoding="utf-8")
    assert RAW_ID not in text and "aa:bb:cc" not in text
    assert binding_file(bound[0]).stat().st_mode & 0o077 == 0


def test_the_same_machine_has_other_hashes_elsewhere(tmp_path: Path) -> None:
    root = _root(tmp_path / "one")
    assert traits(tmp_path, "a", root).machine != traits(tmp_path, "b", root).machine


def test_what_cannot_be_read_is_not_compared() -> None:
    whole = Traits("m", frozenset({"h"}), "f")
    assert not Traits().is_other_than(whole) and not whole.is_other_than(Traits())


@pytest.mark.parametrize("text", ["", "null", "[]", '{"salt": 5}', '{"hardware": 3, "salt": "x"}', "\xff"])
def test_a_binding_that_cannot_be_read_is_made_again(bound: tuple[Path, str], tmp_path: Path, text: str) -> None:
    directory, name = bound
    binding_file(directory).write_text(text, encoding="latin-1")
    assert machine.read(binding_file(directory)) is None
    assert bind(directory, name, NOW, tmp_path / "one") == (name, False)
    assert machine.read(binding_file(directory)) is not None
