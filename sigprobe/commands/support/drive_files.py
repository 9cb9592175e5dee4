"""Write the files of a drive: append to the CSV; replace GeoJSON and map as a whole, so that none is incomplete.

After a power cut the CSV has every point but perhaps the last, the other two are as they were some points before.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sigprobe.files.atomic import require_replaceable, sync_directory, write_whole
from sigprobe.record.profile import Profile
from sigprobe.render import route_rows
from sigprobe.render.machine import Dialect
from sigprobe.render.route_page import route_html
from sigprobe.runs.route import Ended, Point, summarise

SUFFIXES: Final = (".html", ".geojson", ".csv")
OFTEN: Final = 300
SELDOM_S: Final = 30.0
"""Up to so many points the map and the GeoJSON are written anew with each, then so many seconds apart."""


def without_suffix(base: Path) -> Path:
    """Return a path without `.csv`, `.html` or `.geojson`: all three name the same files."""
    return base.with_suffix("") if base.suffix.lower() in SUFFIXES else base


def beside(base: Path, suffix: str) -> Path:
    """Return one of the files of a drive; a name may have dots of its own."""
    return base.with_name(base.name + suffix)


@dataclass(slots=True)
class RouteFiles:
    """The three files at `base`. Make it, `open` it once, `add` each point, `finish`. All raise OSError."""

    base: Path
    drive_id: str
    who: str
    zone: str
    profile: Profile | None
    dialect: Dialect = "plain"
    clock: Callable[[], float] = time.monotonic
    _features: list[str] = field(default_factory=list)
    _begun_s: float = 0.0
    _written_s: float = 0.0
    _size: int = 0

    @property
    def paths(self) -> tuple[Path, ...]:
        """Map, GeoJSON, CSV."""
        return tuple(beside(self.base, suffix) for suffix in SUFFIXES)

    def taken(self) -> Path | None:
        """Return an existing file; None if all names are free."""
        return next((path for path in self.paths if path.exists() or path.is_symlink()), None)

    def open(self, *, replace: bool = False) -> None:
        """Create the files without points. Raises FileExistsError for an existing file unless `replace`."""
        csv = self.paths[-1]
        for path in self.paths:
            require_replaceable(path)
        with csv.open("wb" if replace else "xb") as stream:
            stream.write(route_rows.csv_header(self.dialect).encode())
            stream.flush()
            os.fsync(stream.fileno())
            self._size = stream.tell()
        sync_directory(csv.parent)
        self._begun_s = self.clock()
        self._replace([], None)

    def add(self, points: list[Point]) -> None:
        """Add the last of the points; all of them are given, since the map shows all."""
        point = points[-1]
        self._features.append(route_rows.feature(self.drive_id, point))
        self._append(route_rows.csv_row(self.drive_id, point, self.dialect).encode())
        if len(points) <= OFTEN or self.clock() - self._written_s >= SELDOM_S:
            self._replace(points, None)

    def finish(self, points: list[Point], ended: Ended) -> None:
        """Write the end of the drive and its reason."""
        self._replace(points, ended)

    def _append(self, line: bytes) -> None:
        csv = self.paths[-1]
        with csv.open("r+b") as stream:
            try:
                stream.seek(self._size)
                stream.write(line)
                stream.flush()
                os.fsync(stream.fileno())
            except OSError:
                with suppress(OSError):
                    os.truncate(csv, self._size)  # no half line stays behind
                raise
            self._size += len(line)

    def _replace(self, points: list[Point], ended: Ended | None) -> None:
        page, shape, csv = self.paths
        summary = summarise(points, self.clock() - self._begun_s)
        values = route_rows.summary_values(summary, ended)
        write_whole(shape, route_rows.geojson(self.drive_id, points, self._features, values), 0o644)
        names = [shape.name, csv.name]
        html = route_html(points, summary, ended, who=self.who, zone=self.zone, profile=self.profile, files=names)
        write_whole(page, html, 0o644)
        self._written_s = self.clock()
