"""Recovery from pages with random damage never crashes and never returns an altered record."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sigprobe.buffer import Buffer, Verdicts, rows
from sigprobe.buffer.page_recovery import PageRecovery
from tests.support.records import record


@pytest.fixture(scope="module")
def original() -> tuple[bytes, bytes, dict[str, bytes]]:
    """The bytes of a database and its -wal, and every line in them."""
    home = Path(tempfile.mkdtemp())
    with Buffer(home / "b.db") as buffer:
        stored = [buffer.put(record(rtts=n)) for n in (0, 10, 10, 700, 10, 2000, 10, 10)]
        buffer.settle(Verdicts(acked=[stored[0].result.id], rejected=[(stored[1].result.id, "x" * 40)]), "c" * 30)
        buffer._file.fold()
        stored += [buffer.put(record(rtts=n)) for n in (10, 1500, 0)]
        found = (home / "b.db").read_bytes(), (home / "b.db-wal").read_bytes()
    shutil.rmtree(home)
    return *found, {s.result.id: s.line for s in stored}


flips = st.lists(
    st.tuples(st.booleans(), st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=64)), max_size=60
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damage=flips, cut=st.floats(0, 1), signatures=st.integers(0, 5))
def test_no_damage_crashes_or_alters(
    original: tuple[bytes, bytes, dict[str, bytes]],
    tmp_path: Path,
    damage: list[tuple[bool, float, bytes]],
    cut: float,
    signatures: int,
) -> None:
    """Overwritten anywhere, cut anywhere, with false signatures strewn in: only whole records come out."""
    database, wal, lines = (bytearray(original[0]), bytearray(original[1]), original[2])
    for in_wal, where, data in damage:
        raw = wal if in_wal else database
        at = int(where * len(raw))
        raw[at : at + len(data)] = data[: len(raw) - at]
    for number in range(signatures):
        at = (number * 7919 + int(cut * len(database))) % (len(database) - 16)
        database[at : at + 12] = b"\x0a\x00\x55\x4c\x3d\x08\x09\xff\xff\x7e\x3d\x1c"
    del database[int((0.5 + cut / 2) * len(database)) :]
    path = tmp_path / "b.db"
    path.write_bytes(database)
    path.with_name("b.db-wal").write_bytes(wal)
    with PageRecovery(path) as recovery:
        for found in recovery.records():
            assert lines[found.id] == found.line
        for pos, states in recovery.states().items():
            assert pos >= 0
            assert len(states) <= 8


def test_undamaged_everything_is_found(original: tuple[bytes, bytes, dict[str, bytes]], tmp_path: Path) -> None:
    """Without damage every record is found with its position, and every verified state."""
    path = tmp_path / "b.db"
    path.write_bytes(original[0])
    path.with_name("b.db-wal").write_bytes(original[1])
    with PageRecovery(path) as recovery:
        found = {c.id: c for c in recovery.records()}
        states = recovery.states()
    assert {name: c.line for name, c in found.items()} == original[2]
    assert sorted(c.pos or 0 for c in found.values()) == list(range(1, 12))
    verified = {
        f.state
        for c in found.values()
        for f in states.get(c.pos or 0, ())
        if rows.state_checksum(c.id, f.state) == f.checksum
    }
    assert verified == {1, 2}
