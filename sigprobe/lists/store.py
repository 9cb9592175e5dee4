"""Store imported lists beside the queue as plain CSV of a fixed format."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from sigprobe.files.atomic import write_whole
from sigprobe.lists.points import COLUMNS as POINT_COLUMNS
from sigprobe.lists.points import read_points
from sigprobe.lists.problems import ListError
from sigprobe.lists.tps import COLUMNS as TPS_COLUMNS
from sigprobe.lists.tps import Station, read_tps
from sigprobe.places.geometry import Point


def tps_file(queue: Path) -> Path:
    """Return the path of the user's TPS list, beside the queue."""
    return queue.with_name(queue.name + ".tps.csv")


def points_file(queue: Path) -> Path:
    """Return the path of the imported points, beside the queue."""
    return queue.with_name(queue.name + ".points.csv")


def kept_tps(queue: Path) -> list[Station]:
    """Return the imported TPS list; empty without one. Raises OSError, or ListError for an altered file."""
    path = tps_file(queue)
    return read_tps(path.read_bytes())[0] if path.exists() else []


def registered(queue: Path, tps_id: str | None) -> tuple[float, float] | None:
    """Return the registered position of a TPS; None if it is not listed, or the list is unreadable."""
    if tps_id is None:
        return None
    try:
        lines = tps_file(queue).read_bytes().splitlines()
        # a national list has 800,000 lines, and this runs at the start of every test
        wanted = [line for line in lines if line.startswith(tps_id.encode())]
        stations = read_tps(b"\n".join([*lines[:1], *wanted]))[0] if wanted else []
    except (OSError, ListError):
        return None  # the list is optional; without it the test continues
    return next(((s.lat, s.lon) for s in stations if s.lat is not None and s.lon is not None), None)


def kept_points(queue: Path) -> list[Point]:
    """Return the imported points; empty without any. Raises OSError, or ListError for an altered file."""
    path = points_file(queue)
    return read_points(path.read_bytes())[0] if path.exists() else []


def keep(queue: Path, entries: Sequence[Station] | Sequence[Point]) -> Path:
    """Replace a list atomically. Raises OSError."""
    stations = [entry for entry in entries if isinstance(entry, Station)]
    points = [entry for entry in entries if isinstance(entry, Point)]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    if points:
        path = points_file(queue)
        writer.writerow(POINT_COLUMNS)
        writer.writerows((p.name, repr(p.lat), repr(p.lon), p.operator, p.kind) for p in points)
    else:
        path = tps_file(queue)
        writer.writerow(TPS_COLUMNS)
        writer.writerows((s.tps_id, s.name, _degrees(s.lat), _degrees(s.lon)) for s in stations)
    # permissions follow the directory: in a system install its group shares the lists
    shared = path.parent.stat().st_mode & 0o2070 == 0o2070
    write_whole(path, text.getvalue(), 0o660 if shared else 0o600)
    return path


def _degrees(value: float | None) -> str:
    return "" if value is None else repr(value)
