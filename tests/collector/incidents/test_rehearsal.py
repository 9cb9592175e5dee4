"""An outage is found end to end: devices send over HTTP, the worker works, a reader sees the incident and its proof."""

from __future__ import annotations

from tests.support.incident_rehearsal import rehearse


def test_an_outage_is_found_over_http(database: str) -> None:
    """One incident with the right owner, place and times, seen open while it lasts; its results are what was sent."""
    seen = rehearse(database, 36, 1.5)
    assert seen.faults() == [], seen.told
    assert seen.requests == 36 * 18
