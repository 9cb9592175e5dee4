"""Show the progress of a test: on a terminal one live line per step, elsewhere one line per finished check.

All of it goes to stderr, so that stdout holds only the result.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, TextIO

from sigprobe.record import kinds
from sigprobe.record.profile import Profile
from sigprobe.record.result import Result
from sigprobe.render import words
from sigprobe.render.console import Traits, traits
from sigprobe.render.run_table import result_rows
from sigprobe.words.i18n import _, duration, rate

if TYPE_CHECKING:
    from rich.text import Text

REFRESH_PER_S: Final = 5
_CURVE: Final = 10
_NARROW: Final = 70


@dataclass(slots=True)
class _Step:
    kind: str
    phase: str = ""
    value: float | None = None
    unit: str | None = None
    fraction: float | None = None
    curve: list[float | None] = field(default_factory=list)


class Live:
    """Progress of one run; a context manager whose methods may be called from any thread.

    `seconds` is the time limit, counted down on the screen; without one, `expected_s` is counted down as an estimate.
    `quiet` draws nothing.
    """

    def __init__(
        self,
        *,
        stream: TextIO | None = None,
        look: Traits | None = None,
        seconds: float | None = None,
        expected_s: float | None = None,
        profile: Profile | None = None,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._look = traits(self._stream) if look is None else look
        self._profile = profile
        self._quiet = quiet
        self._clock = clock
        self._end_s = None if seconds is None else clock() + seconds
        self._expected_end_s = None if expected_s is None else clock() + expected_s
        self._steps: dict[str, _Step] = {}
        self._lock = threading.Lock()
        self._display: Any = None

    def __enter__(self) -> Live:
        if self._look.tty and not self._quiet:
            self._display = self._open()
            self._display.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._steps.clear()
        if self._display is not None:
            self._display.stop()
            self._display = None

    def started(self, name: str, kind: str) -> None:
        """Show that a check began."""
        with self._lock:
            self._steps[name] = _Step(kind)

    def progress(
        self,
        name: str,
        phase: str,
        value: float | None = None,
        unit: str | None = None,
        fraction: float | None = None,
    ) -> None:
        """Show a new value of a check: bits per second (`bps`), milliseconds (`ms`), or another unit unchanged."""
        with self._lock:
            step = self._steps.get(name)
            if step is None:
                return
            if phase != step.phase:
                step.curve.clear()
            step.phase, step.value, step.unit, step.fraction = phase, value, unit, fraction
            step.curve = [*step.curve[1 - _CURVE :], value]

    def finished(self, result: Result) -> None:
        """Freeze the line of a finished and stored check with its final value."""
        with self._lock:
            self._steps.pop(result.target.name, None)
        if self._quiet:
            return
        self._freeze([self._show(line) for line in final_lines(result, self._profile, self._look.width)])

    def cleared(self, name: str) -> None:
        """Remove the live line of a finished check; another line replaces it."""
        with self._lock:
            self._steps.pop(name, None)

    def say(self, text: str) -> None:
        """Print a message above the live lines; a direct write to stderr would break them."""
        if not self._quiet:
            self._freeze([words.to_ascii(text) if self._look.ascii else text])

    def _freeze(self, lines: Sequence[str]) -> None:
        # outside the lock: Rich's refresh holds its own lock while it asks for `lines`, which takes ours
        display = self._display
        if display is None:
            # a full disk or a closed stream behind the messages must not end the test
            with suppress(OSError, ValueError):
                self._stream.write("".join(f"{line}\n" for line in lines))
                self._stream.flush()
            return
        for line in lines:
            display.console.print(line, markup=False, highlight=False, soft_wrap=True)
        display.refresh()

    def lines(self) -> list[str]:
        """Return the live lines: one per running step, then the countdown."""
        with self._lock:
            drawn = [self._show(_line(name, step, self._look.width)) for name, step in self._steps.items()]
        if self._end_s is not None:
            left = max(0.0, self._end_s - self._clock())
            drawn.append(self._show(_("at most {time} left").format(time=duration(left))))
        elif self._expected_end_s is not None and drawn:
            left = self._expected_end_s - self._clock()
            text = _("about {time} left").format(time=duration(left)) if left >= 1 else _("finishing")
            drawn.append(self._show(text))
        return drawn

    def _show(self, text: str) -> str:
        # one column stays free: some terminals wrap when the last one is written
        cut = words.fit(f"  {text}", self._look.width - 1)
        return words.fit(words.to_ascii(cut), self._look.width - 1) if self._look.ascii else cut

    def _open(self) -> Any:
        from rich.console import Console
        from rich.live import Live as RichLive
        from rich.text import Text

        def draw() -> Text:
            return Text("\n".join(self.lines()), no_wrap=True)

        console = Console(
            file=self._stream,
            force_terminal=True,
            color_system=None,
            width=self._look.width,
            legacy_windows=False,
            highlight=False,
            emoji=False,
        )
        return RichLive(
            console=console,
            get_renderable=draw,
            refresh_per_second=REFRESH_PER_S,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )


def _phase(kind: str, phase: str) -> str:
    known = kinds.info(kind).phases
    return _(known[phase]) if phase in known else words.clean(phase)


def _line(name: str, step: _Step, width: int) -> str:
    value = ""
    if step.value is not None:
        if step.unit == "bps":
            value = rate(step.value)
        elif step.unit == "ms":
            value = words.millis(step.value)
        else:
            value = f"{step.value:g} {step.unit or ''}".strip()
    done = "" if step.fraction is None else words.percent(round(min(1.0, max(0.0, step.fraction)), 2))
    title = f"{words.target_name(step.kind, name)} {_phase(step.kind, step.phase)}".strip()
    shown = words.pad(value, max(13, words.columns(value)), right=True)
    if width < _NARROW:
        shown = words.pad(value, max(10, words.columns(value)), right=True)
        return f"{words.pad(title, max(8, width - words.columns(shown) - 9))} {shown} {done}"
    return f"{words.pad(title, 32)} {shown}  {words.pad(words.spark(step.curve), 9)} {done}"


def final_lines(result: Result, profile: Profile | None, width: int = 80) -> list[str]:
    """Return the final lines of a result: a row of the table each, without curves; if narrow, without notes too."""
    lines = []
    for row in result_rows(result, profile):
        notes = "  ".join(row.notes)
        grade = f"{words.SYMBOLS.get(row.mark, ' ')} {row.word}"
        value = words.pad(row.value, max(13, words.columns(row.value)), right=True)
        if width < _NARROW:
            room = max(8, width - words.columns(grade) - 14)
            value = words.pad(row.value, max(8, words.columns(row.value)), right=True)
            lines.append(f"{words.pad(row.label, room)} {value}  {grade}".rstrip())
            continue
        lines.append(f"{words.pad(row.label, 32)} {value}  {words.pad(grade, 14)} {notes}".rstrip())
    return lines
