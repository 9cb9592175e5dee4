"""The overview of places names when something was received, in the zone of the place."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from sigprobe.collector.results import view
from sigprobe.collector.results.queries import Tally

WHEN = datetime(2029, 2, 14, 13, 24, tzinfo=UTC)


def test_each_place_has_its_own_zone() -> None:
    """A TPS in Jayapura is shown in WIT, one in Bandung in WIB; an operator has no zone of its own."""
    zones = {
        subject: view.summary(Tally(subject, {"ok": 1}, WHEN), "en", str).last
        for subject in ("9171011001003", "3273011001005", "Telkomsel")
    }
    assert zones["9171011001003"].endswith("22:24 WIT") and zones["3273011001005"].endswith("20:24 WIB")
    assert zones["Telkomsel"].endswith("WIB")


def test_received_is_not_called_seen() -> None:
    """Three days of a stick's backlog arrive in one minute: the page must not say that the place was seen then."""
    page = Path(view.__file__).parent / "templates" / "results.html"
    assert "last received" in page.read_text() and "last seen" not in page.read_text()
