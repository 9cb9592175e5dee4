"""What the verbs that carry results by hand share: a bar, and how a file that cannot be used is said."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sigprobe.commands.support import common, terminal
from sigprobe.words.i18n import N_

if TYPE_CHECKING:
    from sigprobe.protocol.transfer_file import CarryError

ForceOption = Annotated[bool, typer.Option("--force", help=N_("Replace a file of that name."))]


def say_fault(error: CarryError, path: Path) -> None:
    """Say why a file could not be written or taken, and what to do."""
    common.say_code(error.code, error.detail, name=path)


class Bar:
    """How many are done, and the time left; on a terminal only."""

    def __init__(self, label: str, total: int) -> None:
        self._label = label
        self._total = total
        self._bar: Any = None
        self._task: Any = None

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
        """Draw where it stands."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done)
