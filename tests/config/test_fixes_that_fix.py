"""What a message proposes must work when it is typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from sigprobe.config import ConfigError, load

REST = "targets: [{kind: ping, name: lo, address: 127.0.0.1}]\n"


def _said(tmp_path: Path, text: str) -> str:
    path = tmp_path / "c.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    return caught.value.render()


@pytest.mark.parametrize("written", ["3.27301E+12", "3273011001005.0"])
def test_lost_digits_are_typed_anew(tmp_path: Path, written: str) -> None:
    said = _said(tmp_path, f"probe: {{tps_id: {written}}}\n{REST}")
    assert "Type all 13 digits" in said and '"3273011001005"' in said
    assert f'"{written}"' not in said


@pytest.mark.parametrize("written", ["yes", "no", "7"])
def test_a_word_that_is_none_of_the_allowed_is_not_put_in_quotes(tmp_path: Path, written: str) -> None:
    said = _said(tmp_path, f"language: {written}\nprobe: {{site: x}}\n{REST}")
    assert "language: id" in said and "quotes" not in said


def test_a_number_too_large_is_not_put_in_quotes(tmp_path: Path) -> None:
    said = _said(tmp_path, f"probe: {{site: x}}\nschedule: {{every_min: {'9' * 99}}}\n{REST}")
    assert "too large" in said and "quotes" not in said
