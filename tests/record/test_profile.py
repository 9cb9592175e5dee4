"""Threshold files: what they say of a value, which file wins, and what a broken one gets."""

from __future__ import annotations

import math
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigprobe.record import profile
from sigprobe.record.profile import HIGHER, METRICS, ProfileError, Word

GOOD = """\
name: mine
version: 2026-11-22
title: Mine
source: Me
metrics:
  latency_ms: {good: 10, fair: 20, poor: 30}
"""


@pytest.mark.parametrize("name", profile.names())
def test_shipped(name: str) -> None:
    """Every shipped profile loads under its own name, is dated, and names its source."""
    loaded = profile.load(name)
    assert loaded.name == name
    assert loaded.version >= date(2026, 11, 1)
    assert loaded.source
    assert loaded.metrics
    assert loaded.badge == (name != "sirekap-need")


def test_default_is_complete_and_reasoned() -> None:
    """The default profile grades every metric, each with its reason, and claims no regulation."""
    loaded = profile.load(profile.DEFAULT)
    assert set(loaded.metrics) == set(METRICS)
    assert all(bounds.reason for bounds in loaded.metrics.values())
    assert "not taken from any regulation" in loaded.source


@pytest.mark.parametrize(
    ("metric", "value", "word"),
    [
        ("latency_ms", 100, Word.GOOD),
        ("latency_ms", 100.1, Word.FAIR),
        ("latency_ms", 800, Word.POOR),
        ("latency_ms", 801, Word.BAD),
        ("upload_bps", 1_100_000, Word.POOR),
        ("upload_bps", 0, Word.BAD),
        ("loss_ratio", 0.0, Word.GOOD),
        ("rsrp_dbm", -98, Word.FAIR),
    ],
)
def test_word(metric: str, value: float, word: Word) -> None:
    """A value earns the best word whose bound it meets, and the limit named is that of `fair`."""
    loaded = profile.load(profile.DEFAULT)
    grade = loaded.word(metric, value)
    assert grade is not None
    assert grade.word is word
    assert grade.threshold == loaded.metrics[metric].fair
    assert grade.enough == (word in (Word.GOOD, Word.FAIR))


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_missing_is_not_graded(value: float | None) -> None:
    """A missing number gets no word: it is not bad, it is unknown."""
    assert profile.load(profile.DEFAULT).word("latency_ms", value) is None
    assert profile.load(profile.DEFAULT).word("weather", 1.0) is None


@given(st.sampled_from(sorted(METRICS)), st.floats(-200, 1e9), st.floats(-200, 1e9))
def test_better_never_earns_less(metric: str, one: float, other: float) -> None:
    """A better value never gets a worse word."""
    better, worse = sorted((one, other), reverse=METRICS[metric] == HIGHER)
    loaded = profile.load(profile.DEFAULT)
    order = list(Word)
    a, b = loaded.word(metric, better), loaded.word(metric, worse)
    assert a is not None and b is not None
    assert order.index(a.word) <= order.index(b.word)


def test_own_file_wins(tmp_path: Path) -> None:
    """A file in the user's directory replaces the shipped one of the same name."""
    (tmp_path / "sirekap-need.yaml").write_text(GOOD.replace("mine", "sirekap-need"))
    assert profile.load("sirekap-need", [tmp_path]).title == "Mine"
    assert profile.load("sirekap-need", [tmp_path / "none"]).title != "Mine"
    assert "sirekap-need" in profile.names([tmp_path])


def test_path(tmp_path: Path) -> None:
    """A path is taken as it is."""
    path = tmp_path / "x.yaml"
    path.write_text(GOOD)
    grade = profile.load(str(path)).word("latency_ms", 15)
    assert grade is not None and grade.word is Word.FAIR


@pytest.mark.parametrize(
    ("text", "where", "says"),
    [
        ("", "", "empty"),
        ("- a\n", ":1:1", "keys with values"),
        ("name: [\n", ":2:1", "not valid YAML"),
        (GOOD + "extra: 1\n", ":7:1", "extra"),
        (GOOD.replace("title: Mine\n", ""), ":1:1", "title"),
        (GOOD.replace("2026-11-22", "soon"), ":2:10", "date"),
        (GOOD.replace("latency_ms", "latency"), ":6:3", "latency"),
        (GOOD.replace("fair: 20", "fair: 1,5x"), ":6:", "unknown"),
        (GOOD.replace("fair: 20", "fair: fast"), ":6:32", "number"),
        (GOOD.replace("30", ".inf"), ":6:42", "number"),
        (GOOD.replace("fair: 20, ", ""), ":6:15", "fair"),
        (GOOD.replace("good: 10", "good: 25"), ":6:15", "better to worse"),
        (GOOD.replace("poor: 30", "fair: 30"), ":6:36", "twice"),
        (GOOD.replace("title: Mine", "title: 7"), ":3:8", "text"),
        (GOOD + "badge: perhaps\n", ":7:8", "true or false"),
        (GOOD.replace("name: mine", "name: My Profile"), ":1:7", "My Profile"),
    ],
)
def test_broken(tmp_path: Path, text: str, where: str, says: str) -> None:
    """A broken file is refused with its place and what belongs there."""
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ProfileError) as caught:
        profile.load(str(path))
    assert f"{path}{where}" in str(caught.value)
    assert says in str(caught.value)
    assert caught.value.message.format(**caught.value.values) in str(caught.value)


@pytest.mark.parametrize("name", ["nothing", "../etc/passwd.yaml", "No Such"])
def test_unknown(name: str) -> None:
    """An unknown name or a missing file is said so."""
    with pytest.raises(ProfileError, match=r"no profile|cannot be read"):
        profile.load(name)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_profile_saved_on_windows(tmp_path: Path, encoding: str) -> None:
    """Editors on Windows write a byte-order mark, CRLF or UTF-16; the limits are the same."""
    plain, saved = tmp_path / "plain.yaml", tmp_path / "saved.yaml"
    plain.write_text(GOOD)
    saved.write_bytes(GOOD.replace("\n", "\r\n").encode(encoding))
    assert profile.load(str(saved)) == profile.load(str(plain))


def test_not_text(tmp_path: Path) -> None:
    """Bytes that are no text are refused with the file's name."""
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xff\xfa")
    with pytest.raises(ProfileError, match="UTF-8"):
        profile.load(str(path))
