"""A file is there whole or not at all."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from sigprobe.files.atomic import note_state, write_whole


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that holds nothing."""
    made = tmp_path / "folder"
    made.mkdir()
    return made


def test_a_file_is_replaced_whole_with_its_rights(folder: Path) -> None:
    """The new text and the rights asked for, and nothing left beside it."""
    path = folder / "x"
    path.write_text("old")
    write_whole(path, "baris\nbaru ±\n", 0o640)
    assert path.read_bytes() == "baris\nbaru ±\n".encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert list(folder.iterdir()) == [path]


def test_a_write_that_fails_leaves_what_was_there(folder: Path) -> None:
    """A place that cannot be replaced is an error, and no draft stays behind."""
    path = folder / "x"
    path.mkdir()
    (path / "kept").touch()
    with pytest.raises(OSError, match="x"):
        write_whole(path, "new", 0o600)
    assert list(folder.iterdir()) == [path] and (path / "kept").exists()


def test_a_state_is_as_open_as_its_directory_and_never_an_error(folder: Path) -> None:
    """Shared with the group where the directory is; where it cannot be written, the caller goes on."""
    path = folder / "state.json"
    for mode, wanted in ((0o700, 0o600), (0o770, 0o660)):
        folder.chmod(mode)
        note_state(path, {"n": 1})
        assert path.read_text() == '{"n": 1}'
        assert stat.S_IMODE(path.stat().st_mode) == wanted
    note_state(folder / "gone" / "state.json", {})
