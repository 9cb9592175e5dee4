"""What is kept of the collector's clock: through steps of ours, with growing doubt, and not beyond a reboot."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sigprobe.upload.clock_offset import DRIFT, estimate, keep, offset_file
from sigprobe.upload.report import Report

BOOT = "0b5e0f6e-6c2c-4a39-9d0e-8f9f3a6d1c11"
TRUE = 1_900_000_000.0


def learn(path: Path, *, boot_s: float = 1000.0, error_ms: float = 40.0, boot_id: str | None = BOOT) -> None:
    keep(
        path,
        Report(clock_offset_ms=0.0, clock_error_ms=error_ms, true_at_boot_s=TRUE - boot_s),
        boot_id,
        since_boot=lambda: boot_s,
    )


def ask(path: Path, *, boot_s: float, wall: float, boot_id: str | None = BOOT) -> tuple[float, float] | None:
    return estimate(path, boot_id, since_boot=lambda: boot_s, now=lambda: wall)


def test_the_offset_is_true_time_minus_the_wall_clock(tmp_path: Path) -> None:
    """A wall clock that is 90 s slow has an offset of +90 s."""
    learn(tmp_path / "c")
    assert ask(tmp_path / "c", boot_s=1000.0, wall=TRUE - 90) == (90_000.0, 40.0)


def test_setting_the_wall_clock_does_not_spoil_it(tmp_path: Path) -> None:
    """It rests on the time since boot: after the clock is set back ten years, the offset is ten years."""
    learn(tmp_path / "c")
    found = ask(tmp_path / "c", boot_s=1060.0, wall=TRUE + 60 - 10 * 365 * 86400)
    assert found is not None
    assert found[0] == 10 * 365 * 86400 * 1000.0


def test_doubt_grows_with_age(tmp_path: Path) -> None:
    """After a day the error is larger by 50 ppm of that day."""
    learn(tmp_path / "c")
    found = ask(tmp_path / "c", boot_s=1000.0 + 86400, wall=TRUE + 86400)
    assert found is not None
    assert found[1] == pytest.approx(40 + 86400 * DRIFT * 1000)


def test_a_surer_answer_replaces_and_a_worse_one_does_not(tmp_path: Path) -> None:
    """What is kept is what tells the time best now, its age counted in."""
    path = tmp_path / "c"
    learn(path, error_ms=40)
    learn(path, boot_s=1001, error_ms=500)
    assert json.loads(path.read_text())["error_ms"] == 40
    learn(path, boot_s=1002, error_ms=10)
    assert json.loads(path.read_text())["error_ms"] == 10
    learn(path, boot_s=1002 + 86400, error_ms=500)
    assert json.loads(path.read_text())["error_ms"] == 500


def test_a_reboot_ends_it(tmp_path: Path) -> None:
    """Another boot, an unknown boot, and a time since boot that lies before the learning: nothing is known."""
    learn(tmp_path / "c")
    assert ask(tmp_path / "c", boot_s=2000, wall=TRUE, boot_id="another") is None
    assert ask(tmp_path / "c", boot_s=2000, wall=TRUE, boot_id=None) is None
    assert ask(tmp_path / "c", boot_s=5, wall=TRUE) is None
    learn(tmp_path / "d", boot_id=None)
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"boot_id": 1}', '{"true_at_boot_s": NaN}', "9" * 5000, "[" * 99999])
def test_a_damaged_file_is_no_knowledge(tmp_path: Path, text: str) -> None:
    """Whatever lies there, nothing is claimed and nothing breaks."""
    (tmp_path / "c").write_text(text)
    assert ask(tmp_path / "c", boot_s=2000, wall=TRUE) is None
    learn(tmp_path / "c")
    assert ask(tmp_path / "c", boot_s=1000, wall=TRUE) is not None


def test_it_lies_beside_the_queue() -> None:
    """Nothing is kept elsewhere."""
    assert offset_file(Path("/q/buffer.db")) == Path("/q/buffer.db.clock.json")
