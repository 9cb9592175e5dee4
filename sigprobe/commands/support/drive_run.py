"""Run one drive from the command line: measure, show and store each point."""

from __future__ import annotations

import errno
import json
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from sigprobe.commands.support import cli_values, draw, terminal
from sigprobe.commands.support.command_result import Json
from sigprobe.commands.support.drive_result import Driven
from sigprobe.runs.clock import clock_offset
from sigprobe.words.i18n import _

if TYPE_CHECKING:
    from sigprobe.buffer import Buffer, StorageError
    from sigprobe.commands.support.drive_files import RouteFiles
    from sigprobe.config import Loaded
    from sigprobe.measure.kind import CommonOptions
    from sigprobe.record.profile import Profile
    from sigprobe.render.live import Live
    from sigprobe.runs.drive import Compass
    from sigprobe.runs.route import Ended, Point
    from sigprobe.runs.session import RunPlan
    from sigprobe.tag.fix import Fix
    from sigprobe.tag.gps import GpsReader
    from sigprobe.tag.modem import ModemReader
    from sigprobe.upload import Collector, Report

SITE: Final = "drive"
"""Site of a point without `--tps`: it was not measured at the TPS of the settings."""


@dataclass(frozen=True, slots=True)
class Wish:
    """The options of the command line."""

    checks: tuple[CommonOptions, ...]
    every_s: float | None
    metres: float | None
    for_s: float
    most_points: int | None
    max_bytes: int | None
    tps_id: str | None
    operator: str


@dataclass(slots=True)
class Trip:
    """One running drive: what it works with, the points so far, and how it ended."""

    loaded: Loaded
    profile: Profile
    buffer: Buffer
    senders: Sequence[Collector]
    wish: Wish
    stop: threading.Event
    points: list[Point] = field(default_factory=list)
    ended: Ended = "stopped"
    fault: StorageError | OSError | None = None
    saved: int = 0
    files: RouteFiles = field(init=False)
    drive_id: str = field(init=False)
    zone: str = field(init=False)
    _cap: int | None = field(init=False, default=None)
    _begun_s: float = field(init=False, default=0.0)
    _seconds: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        from sigprobe import places
        from sigprobe.record.result import new_id

        self.drive_id = new_id()
        self.zone = places.zone(self.wish.tps_id or self.loaded.config.probe.tps_id)

    @property
    def who(self) -> str:
        """Return a title: the TPS or site, else the time."""
        from sigprobe.record.result import Tags
        from sigprobe.render.screen import identity
        from sigprobe.words.i18n import clock_text

        tps_id, site = self._place()
        if site == SITE:
            return clock_text(datetime.now().astimezone(), self.zone)
        return identity(Tags(tps_id=tps_id, site=site))

    def _place(self) -> tuple[str | None, str | None]:
        """Return the TPS or site that the points count for; never the TPS of the settings, which is elsewhere."""
        if self.wish.tps_id:
            return self.wish.tps_id, None
        return None, self.loaded.config.probe.site or SITE

    def look_at_budget(self) -> None:
        """Raise CommandError with exit code 2 if the data budget has no room for one point."""
        from sigprobe.runs.drive import bytes_for
        from sigprobe.words.i18n import size

        self._cap = self._plan(None).max_bytes
        need = bytes_for(self.wish.checks)
        if self._cap is not None and self._cap < need:
            cli_values.usage(
                _("One point may take {need}, but only {left} may be used: see --max-data and data_budget.").format(
                    need=size(need), left=size(self._cap)
                )
            )

    def announce(self) -> None:
        """Print what the drive will do."""
        from sigprobe.render.drive import first_line
        from sigprobe.runs.drive import EVERY_S

        wish = self.wish
        every = wish.every_s if wish.every_s or wish.metres else EVERY_S
        text = first_line([c.name for c in wish.checks], every, wish.metres, wish.for_s, wish.most_points, self._cap)
        _say(text)

    def go(self) -> None:
        """Measure points until the drive ends."""
        from sigprobe.render.console import traits
        from sigprobe.render.live import Live
        from sigprobe.runs.drive import LATE_S, SLOW_FRESH_S, Compass, Drive, Pace
        from sigprobe.tag.modem import ModemReader

        out = terminal.current()
        look = traits(sys.stderr)
        with ModemReader() as modem, _open_gps(self.loaded) as gps:
            modem.wait()
            compass = Compass(lambda: gps.newest(within_s=SLOW_FRESH_S + LATE_S))
            self._wait_for_gps(gps, compass)
            look = replace(look, tty=look.tty and not out.plain)
            self._begun_s = time.monotonic()
            with Live(seconds=self.wish.for_s, profile=self.profile, quiet=bool(out.quiet), look=look) as live:
                pace = Pace(self.wish.every_s, self.wish.metres)
                if self.wish.every_s is None and self.wish.metres is None:
                    pace = Pace()
                loop = Drive(
                    pace=pace,
                    look=compass.look,
                    measure=lambda number, fix, way_m: self._measure(gps, modem, live, number, fix, way_m),
                    keep=lambda point: self._keep(point, live),
                    room=self._room,
                    stop=self.stop,
                    for_s=self.wish.for_s,
                    most_points=self.wish.most_points,
                )
                self.ended = self._guarded(loop.run)
        self._seconds = time.monotonic() - self._begun_s
        if self.ended != "files":
            self._write(lambda: self.files.finish(self.points, self.ended))

    def _guarded(self, run: Callable[[], Ended]) -> Ended:
        from sigprobe.buffer import StorageError

        try:
            return run()
        except StorageError as error:
            self.fault = error
            return "storage"

    def _wait_for_gps(self, gps: GpsReader, compass: Compass) -> None:
        """Wait for the receiver's position before the first point, up to its time limit."""
        out = terminal.current()
        place = self.loaded.config.location
        if place.source == "none":
            out.say(_("Warning: location.source is none in the settings, so no point has a position."))
            return
        limit = place.timeout_ms / 1000
        until = time.monotonic() + limit
        said = False
        # a daemon that is only just starting says no at first
        patient = time.monotonic() + min(limit, 3.0)
        while compass.look() is None and not self.stop.is_set() and time.monotonic() < until:
            if not gps.may_come() and time.monotonic() >= patient:
                break
            if not said:
                said = True
                out.say(_("Waiting for GPS, at most {s} s. Ctrl-C stops the drive.").format(s=round(limit)))
            self.stop.wait(0.2)
        if compass.look() is None and not self.stop.is_set():
            _say(
                _("No GPS position yet; points are stored without one until it is available. {code}").format(
                    code="[SP-GPS-01]"
                )
            )

    def _room(self) -> bool:
        from sigprobe.runs.drive import bytes_for

        left = self._plan(None).max_bytes
        return left is None or left >= bytes_for(self.wish.checks)

    def _plan(self, note: Mapping[str, Json] | None) -> RunPlan:
        """Return the plan of one point: day and month budgets now, run budgets for the drive as a whole."""
        from sigprobe.runs import runner as rounds

        wish = self.wish
        used = sum(point.data_used_bytes for point in self.points)
        cap = wish.max_bytes if self._cap is None else self._cap
        left = None if cap is None else max(0, cap - used)
        plan = rounds.make_plan(
            self.loaded,
            self.buffer,
            self.senders,
            self.profile,
            rounds.Wish(wish.checks, wish.tps_id, wish.operator, max_bytes=left),
        )
        tps_id, site = self._place()
        return replace(plan, tps_id=tps_id, site=site, note={**plan.note, **(note or {})})

    def _measure(
        self, gps: GpsReader, modem: ModemReader, live: Live, number: int, fix: Fix | None, way_m: float
    ) -> Point | None:
        from sigprobe.runs import runner as rounds
        from sigprobe.runs.drive import Here
        from sigprobe.runs.route import point_of
        from sigprobe.runs.session import Hooks, Session

        note: Mapping[str, Json] = {"drive": {"id": self.drive_id, "point": number, "distance_m": round(way_m, 1)}}
        hooks = Hooks(
            started=lambda o: live.started(o.name, o.kind),
            progress=lambda o, p: live.progress(o.name, p.phase, p.value, p.unit, p.fraction),
            stored=lambda saved: live.cleared(saved.result.target.name),
        )
        at_s = time.monotonic()
        session: Session = Session(
            self._plan(note),
            self.buffer,
            Here(fix),
            hooks,
            stop=self.stop,
            clock_offset=lambda: clock_offset(self.buffer, gps),
            modem=modem,
        )
        report = session.run()
        self.saved += report.saved
        if report.storage_error is not None:
            self.fault = report.storage_error
        else:
            self.buffer.add_usage(rounds.today(), report.interface or "", report.data_used_bytes)
        if report.interrupted:
            return None  # half of its checks say nothing about the place; what finished is in the queue
        return point_of(
            number,
            [saved.result for saved in report.results],
            report.run.result,
            report.verdict,
            self.profile,
            at_s=at_s,
            way_m=way_m,
            data_used_bytes=report.data_used_bytes,
            saved=report.storage_error is None,
        )

    def _keep(self, point: Point, live: Live) -> Ended | None:
        """Show a point and write it to the files; return why the drive must end, or None."""
        from sigprobe.render import route_rows
        from sigprobe.render.drive import point_line, point_plain

        out = terminal.current()
        self.points.append(point)
        written = self._write(lambda: self.files.add(self.points))
        live.say(point_plain(point, self.zone) if out.plain else point_line(point, self.zone, out.width))
        draw.event(json.dumps(route_rows.row(self.drive_id, point), separators=(",", ":")))
        if not written:
            return "files"
        return "storage" if self.fault is not None else None

    def _write(self, deed: Callable[[], None]) -> bool:
        try:
            deed()
        except OSError as error:
            if self.fault is None:
                self.fault, self.ended = error, "files"
            return False
        return True

    def result(self, sent: Report | None, *, no_upload: bool, ended_by: int | None) -> Driven:
        """Return the result of the drive."""
        from sigprobe.runs.route import summarise

        return Driven(
            self.loaded,
            self.drive_id,
            self.points,
            summarise(self.points, self._seconds),
            self.ended,
            self.fault,
            self.files.paths,
            self.saved,
            self.buffer.pending(),
            sent,
            no_upload,
            self.zone,
            ended_by,
        )


def _say(text: str) -> None:
    """Print a message on stderr, within its width."""
    from sigprobe.render import words

    out = terminal.current()
    for line in words.wrap(text, out.err_width, "  "):
        out.say(words.to_ascii(line) if out.err_ascii else line)


def is_full(error: OSError) -> bool:
    """Return whether the disk, not the path, is the cause."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO)


def _open_gps(loaded: Loaded) -> GpsReader:
    """Return the receivers of the settings. A position that was typed says nothing about a device that moves."""
    from sigprobe.tag.gps import open_gps

    place = loaded.config.location
    source = "auto" if place.source == "fixed" else place.source
    return open_gps(source=source, gpsd=place.gpsd, nmea=place.nmea)
