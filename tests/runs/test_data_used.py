"""What a run says it used: its own bytes, also where other programs used the interface meanwhile."""

from __future__ import annotations

import pytest

from sigprobe.net.routes import Counters
from sigprobe.runs import session


@pytest.mark.parametrize(
    ("payload", "crossed", "used", "counted_by"),
    [
        (1_000_000, 1_100_000, 1_100_000, "interface"),  # what is not counted: handshakes, headers
        (10_000, 200_000, 200_000, "interface"),
        (10_000, 5_500_000, 10_800, "payload"),  # a check of the gateway beside somebody's download
        (30_000_000, 60_000_000, 32_400_000, "payload"),
        (1_000_000, 900, 1_080_000, "payload"),  # targets that are not behind the interface
        (1_000_000, None, 1_080_000, "payload"),
    ],
)
def test_data_of_other_programs_is_not_our_own(
    payload: int, crossed: int | None, used: int, counted_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interface's counters decide as long as they can be the run's own; both numbers are kept."""
    counters = iter([Counters(1_000, 1_000), None if crossed is None else Counters(1_000 + crossed, 1_000)])
    monkeypatch.setattr(session.routes, "counters", lambda _: next(counters))
    found = session._Meter("wwan0").read(payload)
    assert (found.bytes, found.counted_by) == (used, counted_by)
    assert (found.own_bytes, found.interface_bytes) == (round(payload * 1.08), crossed)
