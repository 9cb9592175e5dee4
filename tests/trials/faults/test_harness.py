"""Check the test harness: negative controls and the record of findings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.trials.faults import trial as trials
from tests.trials.faults.trial import (
    BEGIN,
    END,
    Finding,
    PromiseBrokenError,
    Trial,
    expect_failure,
    hold,
    newest,
    save,
    write_table,
)


def test_control_passes_only_for_the_named_reason() -> None:
    """A control that fails for another reason, or does not fail, is a failure."""
    with expect_failure("lost"):
        hold(False, "lost")
    with pytest.raises(AssertionError, match="not for 'lost'"), expect_failure("lost"):
        hold(False, "locked")
    with pytest.raises(AssertionError, match="the control passed"), expect_failure("lost"):
        hold(True, "lost")
    with pytest.raises(ZeroDivisionError), expect_failure("lost"):
        print(1 / 0)


def test_a_loss_is_recorded_and_raised(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A soak that finds a loss writes it down before it fails."""
    monkeypatch.setattr(trials, "SOAK", True)
    monkeypatch.setattr(trials, "SHARE", 1.0)
    monkeypatch.setattr(trials, "save", lambda finding: save(finding, tmp_path))
    trial = Trial(1, "kill -9", short=5, full=1000)
    assert trial.n == 1000
    with pytest.raises(PromiseBrokenError, match="2 in 1000"):
        trial.report(2)
    [found] = newest(tmp_path)
    assert (found["lost"], found["n"], found["bound95"]) == (2, 1000, 0.003)


def test_table_shows_the_newest_of_each(tmp_path: Path) -> None:
    """The document's table is regenerated between its markers; the rest of the page stays."""
    save(Finding(2, "power cut", 10, 0, 0.3, 1.5, 7, {"reopened": 10}, ["lost"]), tmp_path)
    path = save(Finding(1, "kill -9", 10, 0, 0.3, 1.5, 7), tmp_path)
    old = json.loads(path.read_text())
    old["findings"] = [f | {"n": 999} for f in old["findings"]]
    (tmp_path / "soak-2000-01-01.json").write_text(json.dumps(old))
    page = tmp_path / "page.md"
    page.write_text(f"# before\n{BEGIN}\nold\n{END}\nafter\n")
    write_table(page, tmp_path)
    text = page.read_text()
    assert text.startswith(f"# before\n{BEGIN}\n| promise")
    assert text.endswith(f"{END}\nafter\n")
    assert "old" not in text
    assert "999" not in text
    assert text.index("kill -9") < text.index("| 2 | power cut | 0 | 10 | 0.3 | reopened 10 | lost |")
