"""Draw the progress bar of files that carry results between devices, and explain their faults."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sigprobe.commands.support import sentences, terminal

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from sigprobe.protocol.transfer_file import CarryError


def fault_text(error: CarryError, path: Path) -> str:
    """Return why a file could not be written or imported, and what to do."""
    return sentences.code_text(error.code, error.detail, name=path)


class Bar:
    """Show how many records are done and the time left; on a terminal only."""

    def __init__(self, label: str, total: int) -> None:
        self._label = label
        self._total = total
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Bar:
        out = terminal.current()
        if out.err_tty and not out.quiet and not out.plain:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn(self._label),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task("", total=self._total)
        return self

    def __exit__(self, *_error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, done: int) -> None:
        """Draw the progress."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done)

    def show_of(self, done: int, whole: int) -> None:
        """Draw the progress of a whole that becomes known, or grows, on the way."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=whole)
