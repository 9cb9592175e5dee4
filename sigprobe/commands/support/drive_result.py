"""The result of one drive, for people and programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sigprobe.commands.support import after_run, automation, opening, sentences
from sigprobe.commands.support.command_result import CommandResult, Json, Message, Output, Screen
from sigprobe.commands.support.exit_codes import INTERRUPTED, NOT_SAVED
from sigprobe.words.i18n import _

if TYPE_CHECKING:
    from sigprobe.buffer import StorageError
    from sigprobe.config import Loaded
    from sigprobe.runs.route import Ended, Point, Summary
    from sigprobe.upload import Report


@dataclass(frozen=True, slots=True)
class Driven(CommandResult):
    """A finished drive: its points, its files, and how its upload ended."""

    loaded: Loaded
    drive_id: str
    points: Sequence[Point]
    summary: Summary
    ended: Ended
    fault: StorageError | OSError | None
    files: Sequence[Path]
    saved: int
    pending: int
    sent: Report | None
    no_upload: bool
    zone: str
    ended_by: int | None = None

    @property
    def exit_code(self) -> int:
        """Return 6 if something could not be stored, 130 after Ctrl-C, 143 after SIGTERM, else 0."""
        if self.fault is not None:
            return NOT_SAVED
        return (self.ended_by or INTERRUPTED) if self.ended == "stopped" else 0

    def messages(self, output: Output, screen: Screen) -> Iterable[Message]:
        """Yield what could not be stored or sent."""
        from sigprobe.buffer import StorageError

        if isinstance(self.fault, StorageError):
            yield sentences.code_error(self.fault.code, str(self.fault))
        elif self.fault is not None:
            yield Message(files_text(self.fault), error=True)
        if self.sent is not None:
            yield from after_run.messages(self.sent, shown=output.for_people and not screen.quiet)

    def lines(self) -> Iterable[str]:
        """Yield the summary; the points were printed one by one."""
        yield json.dumps({"drive_id": self.drive_id, "summary": self._values()}, separators=(",", ":"))

    def document(self) -> Json:
        """Return the summary and all points."""
        from sigprobe.render import route_rows

        return {
            "schema": route_rows.ROUTE_SCHEMA,
            "drive_id": self.drive_id,
            "summary": self._values(),
            "points": [route_rows.row(self.drive_id, point) for point in self.points],
        }

    def _values(self) -> Mapping[str, Json]:
        from sigprobe.render import route_rows

        return {
            **route_rows.summary_values(self.summary, self.ended),
            "files": [str(path) for path in self.files],
            "saved": self.saved,
            "pending": self.pending,
        }

    def text(self, screen: Screen) -> str:
        """Return the summary, what was stored and sent, and where the files are."""
        from sigprobe.record.result import Tags
        from sigprobe.render.drive import summary_text
        from sigprobe.render.screen import next_command, saved_texts
        from sigprobe.render.view import RunView
        from sigprobe.verdict import Verdict

        # the cause of the end is reported by itself: a collector that was never asked has refused nothing
        unasked = self.no_upload or self.ended == "stopped" or self.fault is not None
        way = automation.find(opening.buffer_path(self.loaded)).way
        view = RunView(
            [],
            self.points[-1].verdict if self.points else Verdict("uncertain", "nothing_measured", 0.0),
            Tags(),
            datetime.now().astimezone(),
            zone=self.zone,
            saved=self.saved,
            pending=self.pending,
            upload=after_run.upload_line(self.loaded, self.sent, self.pending, way, no_upload=unasked),
        )
        page, shape, csv = (str(path) for path in self.files)
        files = [
            _("Map: {path} (opens without a network)").format(path=page),
            _("For programs: {paths}").format(paths=f"{shape}, {csv}"),
        ]
        return summary_text(
            self.summary,
            self.ended,
            self.zone,
            list(saved_texts(view)),
            files,
            next_command(view),
            width=screen.width,
            ascii=screen.ascii,
            plain=screen.plain,
        )


def files_text(error: OSError) -> str:
    """Return why the files of a drive could not be written, and what to do."""
    reason = sentences.system_reason(error)
    if error.filename:
        reason = f"{reason}: {error.filename}"
    text = _("The files of the drive could not be written ({reason}).").format(reason=reason)
    return text + "\n" + _("Choose another place with --out.")
