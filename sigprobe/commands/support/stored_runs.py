"""Read the runs that are stored on this device, as lines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sigprobe.buffer import Buffer


def runs_of(buffer: Buffer, newest: int | None = None) -> dict[str, list[bytes]]:
    """Return the stored lines of this device's runs, oldest first; `newest` looks at its last N records."""
    runs: dict[str, list[bytes]] = {}
    for row in buffer.rows(newest=newest, own=True):
        runs.setdefault(str(json.loads(row.line).get("run_id")), []).append(row.line)
    return runs


def place_of(lines: list[bytes]) -> tuple[str | None, str | None]:
    """Return TPS and site of a run, to find other runs of the same place."""
    tags = json.loads(lines[0]).get("tags", {})
    return tags.get("tps_id"), tags.get("site")
