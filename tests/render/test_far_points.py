"""Points that nobody can walk to are counted; quoted paths stay whole when a line is wrapped."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime

import pytest

from sigprobe.places.geometry import Point, rank
from sigprobe.render.nearest import Standpoint, nearest_json, nearest_text
from sigprobe.render.words import fold, wrap
from sigprobe.words.i18n import speaking

NOW = datetime(2029, 2, 14, 7, 5, tzinfo=UTC)
HERE = Standpoint(-6.91474, 107.60981, "manual")


def drawn(*names: tuple[str, float, float], language: str = "en") -> str:
    """Draw these points as seen from Bandung."""
    found = rank(HERE.lat, HERE.lon, [Point(lat, lon, origin="list", name=name) for name, lat, lon in names], 10)
    assert len(nearest_json(HERE, found, NOW)["points"]) == len(names), "programs get all of them"
    with speaking(language):
        return nearest_text(HERE, found, NOW)


def test_points_far_away_are_counted() -> None:
    """A point in Papua is no advice in Bandung; alone it still says how far the nearest signal is."""
    near, papua, maluku = ("A", -6.92, 107.6), ("B", -2.5, 140.7), ("C", -3.7, 128.2)
    assert "2 more points are over 100 km away." in drawn(near, papua, maluku)
    assert "B" not in drawn(near, papua) and "1 titik lain berjarak lebih dari 100 km." in drawn(
        near, papua, language="id"
    )
    alone = drawn(papua, maluku)
    assert "2,305 km" in alone.replace("2.305", "2,305") or " C" in alone
    assert "1 more point is over 100 km away." in alone
    assert "km away" not in drawn(near), "the control"


@pytest.mark.parametrize("width", [20, 40, 80])
def test_a_quoted_path_is_not_broken(width: int) -> None:
    """What was one word for a shell is still one after wrapping; an apostrophe quotes nothing."""
    line = "Next, on another laptop: sigprobe import '/media/USB STICK OF THE OFFICE/results.ndjson.gz'"
    folded = fold(line, width)
    assert "'/media/USB STICK OF THE OFFICE/results.ndjson.gz'" in folded
    assert shlex.split(folded)[-1] == "/media/USB STICK OF THE OFFICE/results.ndjson.gz"
    prose = fold("the laptop's clock is ahead and the device's date is not the collector's one", width)
    assert max(map(len, prose.splitlines())) <= width, "the control"


@pytest.mark.parametrize("width", [20, 40])
def test_a_long_path_is_broken_before_a_slash(width: int) -> None:
    """On a narrow screen no name of a folder is broken unless it alone is too long."""
    lines = wrap("queue: /var/lib/officer/.local/share/sigprobe/buffer.db is here", width)
    assert max(map(len, lines)) <= width and "".join(lines).count("/") == 7
    assert [line for line in lines if line and not line.startswith(("/", "queue:"))] in ([], ["is here"])
    assert "".join(wrap("x" * 50, 20)) == "x" * 50, "a word without a slash is whole when joined"
    assert (
        wrap("✓ ok       Install: /var/lib/officer/.config/sigprobe/config.yaml", 40, " " * 11)[0]
        == "✓ ok       Install:"
    )
