"""Print what commands return, raise or stream; nothing else prints it."""

from __future__ import annotations

from collections.abc import Mapping

from sigprobe.commands.support import terminal
from sigprobe.commands.support.command_result import CommandError, CommandResult, Form, Message, Output, Screen
from sigprobe.words.i18n import _

_FLAGS = {"as_json": ("--json", Form.JSON), "ndjson": ("--ndjson", Form.NDJSON), "csv": ("--csv", Form.CSV)}


def output_of(parameters: Mapping[str, object]) -> Output:
    """Return the form that the options of a command line ask for. Raises CommandError when two exclude each other."""
    offered = [flag for name, flag in _FLAGS.items() if name in parameters]
    wanted = [form for name, (_flag, form) in _FLAGS.items() if parameters.get(name)]
    dialect = parameters.get("csv_dialect", "plain")
    if len(wanted) > 1:
        flags = [flag for flag, _form in offered]
        names = _("{some} and {last}").format(some=", ".join(flags[:-1]), last=flags[-1])
        raise CommandError(_("Choose one of {names}.").format(names=names))
    if dialect == "excel-id":
        return Output(wanted[0] if wanted else Form.TEXT, "excel-id")
    if dialect != "plain":
        raise CommandError(_("--csv-dialect takes plain or excel-id."))
    return Output(wanted[0] if wanted else Form.TEXT)


def result(returned: CommandResult) -> int:
    """Print a result in its output form; return its exit code."""
    out = terminal.current()
    output, screen = out.output, screen_of(out)
    for note in returned.messages(output, screen):
        message(note)
    if output.form is Form.TEXT:
        text = returned.text(screen)
        if returned.prose and out.out_tty and not screen.plain:
            from sigprobe.render.words import fold

            text = fold(text, screen.width)
        if text:
            (out.result if returned.always else out.show)(text)
        for note in returned.hints(screen):
            message(note)
    elif output.form is Form.JSON:
        out.result_pieces(returned.json())
    elif output.form is Form.NDJSON:
        for line in returned.lines():
            out.result(line)
    else:
        out.result_pieces(returned.table(output.dialect))
    return returned.exit_code


def error(raised: CommandError) -> int:
    """Print the error of a command; return its exit code."""
    for text in raised.texts:
        terminal.current().error(text)
    return raised.exit_code


def message(note: Message) -> None:
    """Print one message on stderr."""
    out = terminal.current()
    (out.error if note.error else out.say)(note.text)


def event(line: bytes | str) -> None:
    """Print one line of a stream as soon as it exists, where NDJSON was asked for."""
    out = terminal.current()
    if out.output.form is Form.NDJSON:
        out.result(line.decode() if isinstance(line, bytes) else line)


def screen_of(out: terminal.Terminal) -> Screen:
    """Return the traits of stdout that a text for people depends on."""
    return Screen(
        width=out.width,
        ascii=out.ascii,
        color=out.color,
        plain=out.plain,
        verbose=out.verbose,
        quiet=out.quiet,
    )
