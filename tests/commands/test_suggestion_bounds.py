"""A signal is suggested only where somebody could go: near, not doubted, and not at this very TPS."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sigprobe.buffer import Buffer
from sigprobe.commands.nearest import after_blank_spot
from sigprobe.commands.status import _last_fix
from sigprobe.config import parse
from sigprobe.lists.visits import visits
from sigprobe.record.result import Location, Outcome, Tags
from sigprobe.record.result import Location as Place
from tests.support.collector_client import make_result

HERE = "3273011001005"
OTHER = "3273011001006"


def _place(lat: float, lon: float, *reasons: str) -> Place:
    return Location(lat=lat, lon=lon, source="gpsd", quality="good", quality_reasons=reasons)


def _sentence(folder: Path, tps_id: str, place: Place) -> str | None:
    text = f'probe: {{tps_id: "{HERE}"}}\ntargets: [{{kind: ping, name: lo, address: 127.0.0.1}}]\n'
    loaded = parse(text.encode(), folder / "c.yaml", {})
    with Buffer(folder / "b.db") as buffer:
        buffer.put(make_result(kind="path", outcome=Outcome.OK, tags=Tags(tps_id=tps_id, location=place)))
        tags = Tags(tps_id=HERE, location=_place(-6.9, 107.6))
        run: Any = SimpleNamespace(
            verdict=SimpleNamespace(cause="no_signal"), run=SimpleNamespace(result=SimpleNamespace(tags=tags))
        )
        return after_blank_spot(loaded, buffer, run)


@pytest.mark.parametrize(
    ("tps_id", "place", "suggested"),
    [
        (OTHER, _place(-6.92, 107.62), True),
        (OTHER, _place(-5.1, 119.4), False),  # 1,300 km away
        (OTHER, _place(-6.92, 107.62, "jump"), False),
        (OTHER, _place(-6.92, 107.62, "other_province"), False),
        (HERE, _place(-6.92, 107.62), False),  # 3 km away, and yet said to be at this TPS
        (HERE, _place(-6.905, 107.603), True),  # 650 m away: another corner of this TPS
    ],
)
def test_only_a_place_that_can_be_reached_is_suggested(
    tmp_path: Path, tps_id: str, place: Place, suggested: bool
) -> None:
    assert (_sentence(tmp_path, tps_id, place) is not None) is suggested


def test_a_doubted_position_is_no_visit() -> None:
    line = make_result(tags=Tags(tps_id=OTHER, location=_place(-6.9, 107.6, "time_back"))).to_line()
    assert [visit.position for visit in visits([(line, True)])] == [None]
    assert json.loads(line)["tags"]["location"]["lat"] == -6.9


def test_the_position_of_a_carried_record_is_not_this_devices_own(tmp_path: Path) -> None:
    with Buffer(tmp_path / "b.db") as buffer:
        buffer.put(make_result(tags=Tags(tps_id=HERE, location=_place(-6.9, 107.6))))
        stored = buffer.put(make_result(tags=Tags(tps_id=OTHER, location=_place(-8.6, 115.2))))
        buffer._file.write(lambda db: db.execute("UPDATE record SET own = 0 WHERE pos = ?", (stored.pos,)))
        text, _when = _last_fix(buffer)
    assert text is not None and "107" in text
