"""Build the command line: load each verb when it is called; translate help and usage errors.

Typer brings its own copy of its parser with English texts; the few that people meet are replaced here.
"""

from __future__ import annotations

import gettext
import importlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import typer
from typer import TyperException
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command as build_command

from sigprobe.commands.support import completion, draw, help_layout, signals, terminal
from sigprobe.commands.support.command_result import CommandError, CommandResult
from sigprobe.commands.verbs import INNER, VERBS, Inner, Verb
from sigprobe.words.i18n import DOMAIN, LOCALE_DIR, N_, _

if TYPE_CHECKING:
    from typer._click.core import Context
    from typer._click.formatting import HelpFormatter

EVERYWHERE: Final = (
    ("--lang id|en", N_("Language of this command.")),
    ("-q, -qq", N_("Errors only (-q); no output (-qq).")),
    ("-v", N_("Show technical details.")),
    ("--plain", N_("Plain text for screen readers.")),
)


_DECIMAL_COMMA: Final = re.compile(r"^\s*([+-]?\d+),(\d+)\s*$")

# what Typer's parser asks gettext for by itself; listed here so that the catalogues hold it
_PARSERS_OWN: Final = (N_("Options"), N_("Arguments"), N_("Commands"), N_("default: {default}"), N_("required"))


@contextmanager
def parser_speaking(language: str) -> Iterator[None]:
    """Let the parser's own gettext calls find our catalogue inside the block."""
    domain, wanted = gettext.textdomain(), os.environ.get("LANGUAGE")
    gettext.bindtextdomain(DOMAIN, str(LOCALE_DIR))
    gettext.textdomain(DOMAIN)
    os.environ["LANGUAGE"] = language
    try:
        yield
    finally:
        gettext.textdomain(domain)
        if wanted is None:
            os.environ.pop("LANGUAGE", None)
        else:
            os.environ["LANGUAGE"] = wanted


def _help_option(command: Any, found: Any) -> Any:
    if found is not None:
        found.help = _("Show this help and exit.")
    return found


def _write_usage(command: Any, ctx: Context, formatter: HelpFormatter) -> None:
    pieces = " ".join(command.collect_usage_pieces(ctx))
    pieces = pieces.replace("[OPTIONS]", _("[OPTIONS]")).replace("COMMAND [ARGS]...", _("COMMAND [ARGS]..."))
    pieces = pieces.translate({ord("{"): None, ord("}"): None})
    formatter.write(help_layout.usage(_("Usage: "), ctx.command_path, pieces, terminal.current().width) + "\n")


def _write_help(command: Any, ctx: Context, formatter: HelpFormatter) -> None:
    """Write summary and examples first, then the usage line, the options, and those of every command."""
    formatter.write(help_layout.opening(command.help or "", terminal.current().width) + "\n\n")
    command.format_usage(ctx, formatter)
    command.format_options(ctx, formatter)
    _write_section(formatter, _("Global options"), [(names, _(text)) for names, text in EVERYWHERE])


def _write_options(command: Any, ctx: Context, formatter: HelpFormatter) -> None:
    """Write the arguments and the options of a command."""
    titles = {"argument": _("Arguments"), "option": _("Options")}
    params = command.get_params(ctx)
    for kind, title in titles.items():
        records = [param.get_help_record(ctx) for param in params if param.param_type_name == kind]
        _write_section(formatter, title, [record for record in records if record is not None])


def _write_section(formatter: HelpFormatter, title: str, rows: Sequence[tuple[str, str]]) -> None:
    if rows:
        out = terminal.current()
        formatter.write(f"\n{help_layout.section(title, rows, out.width, plain=out.plain)}\n")


@contextmanager
def _placed(ctx: Context) -> Iterator[None]:
    """Note the command in a usage error; the parser leaves it out for a missing value."""
    try:
        yield
    except TyperException as error:
        if getattr(error, "ctx", ctx) is None:
            error.ctx = ctx  # type: ignore[attr-defined]
        raise


class Command(TyperCommand):
    """A command whose help is in the language in use, and begins with examples."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Parse the words of the command line."""
        with _placed(ctx):
            return super().parse_args(ctx, args)

    def get_help_option(self, ctx: Context) -> Any:
        """Return the help option, in the language in use."""
        return _help_option(self, super().get_help_option(ctx))

    def format_usage(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the usage line in the language in use."""
        _write_usage(self, ctx, formatter)

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the arguments and options."""
        _write_options(self, ctx, formatter)

    def format_help(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the help, examples first."""
        _write_help(self, ctx, formatter)

    def invoke(self, ctx: Context) -> None:
        """Run the command and print what it returns or raises; leave with its exit code if that is not 0."""
        try:
            with terminal.used(replace(terminal.current(), output=draw.output_of(ctx.params))):
                returned = super().invoke(ctx)
                assert isinstance(returned, CommandResult), f"{self.name} returned no result"
                code = draw.result(returned)
        except CommandError as error:
            code = draw.error(error)
        except KeyboardInterrupt as stop:
            # Typer would end without a word, and as after Ctrl-C whatever the signal was
            terminal.current().say(_("Stopped."))
            code = signals.code_of(stop)
        if code:
            raise typer.Exit(code)


class Group(TyperGroup):
    """A group of commands whose help is in the language in use, and begins with examples."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Parse the words of the command line."""
        with _placed(ctx):
            return super().parse_args(ctx, args)

    def get_help_option(self, ctx: Context) -> Any:
        """Return the help option, in the language in use."""
        return _help_option(self, super().get_help_option(ctx))

    def format_usage(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the usage line in the language in use."""
        _write_usage(self, ctx, formatter)

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the options, then the commands below."""
        _write_options(self, ctx, formatter)
        self.format_commands(ctx, formatter)

    def format_help(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the help, examples first."""
        _write_help(self, ctx, formatter)

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the subcommands, each with its whole summary."""
        path = ctx.command_path.partition(" ")[2]
        rows = [(name, _(_inner(f"{path} {name}", None).summary)) for name in self.list_commands(ctx)]
        _write_section(formatter, _("Commands"), rows)


class Root(Group):
    """`sigprobe` itself: its verbs are imported when they are called, not when help lists them."""

    def list_commands(self, ctx: Context) -> list[str]:
        """Return all verbs, in the order of the table."""
        return list(VERBS)

    def get_command(self, ctx: Context, cmd_name: str) -> Any:
        """Load one verb; return None for an unknown name."""
        verb = VERBS.get(cmd_name)
        return None if verb is None else load(cmd_name, verb)

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the list of verbs, without importing any of them."""
        _write_section(formatter, _("Commands"), [(name, _(verb.summary)) for name, verb in VERBS.items()])


def help_text(summary: str, examples: tuple[str, ...]) -> str:
    """Return a help text that begins with its examples; `help_layout` wraps it when it is shown."""
    if not examples:
        return summary
    lines = "\n".join(f"  {example}" for example in examples)
    return f"{summary}\n\n{_('Examples:')}\n{lines}"


def load(name: str, verb: Verb) -> Any:
    """Import a verb and build its command."""
    target = getattr(importlib.import_module(verb.module), verb.attribute)
    text = help_text(_(verb.summary), verb.examples)
    if isinstance(target, typer.Typer):
        target.info.cls = Group
        target.info.help = text
        target._add_completion = False
        target.rich_markup_mode = None
        _localise(target, name)
    else:
        function: Callable[..., Any] = target
        target = typer.Typer(add_completion=False, rich_markup_mode=None)
        target.command(name, help=text, cls=Command)(function)
    command: Any = build_command(target)
    command.name = name
    _name_values(command)
    return command


def _inner(path: str, function: Callable[..., Any] | None) -> Inner:
    """Return the row of a command below a verb; one that is not in the table yet still has help, in English."""
    return INNER.get(path) or Inner((getattr(function, "__doc__", None) or path).partition("\n")[0], ())


def _localise(app: typer.Typer, path: str) -> None:
    """Give every command below a Typer app our classes and its help from the table."""
    for info in app.registered_commands:
        name = info.name or getattr(info.callback, "__name__", "").replace("_", "-")
        inner = _inner(f"{path} {name}", info.callback)
        info.cls = Command
        info.help = help_text(_(inner.summary), inner.examples)
    for group in app.registered_groups:
        below = group.typer_instance
        if below is not None:
            inner = _inner(f"{path} {group.name}", None)
            group.cls = below.info.cls = Group
            group.help = below.info.help = help_text(_(inner.summary), inner.examples)
            _localise(below, f"{path} {group.name}")


def _name_values(command: Any) -> None:
    """Translate the help of each option, and name what it takes in words for people; choices stay as they are.

    The texts stand untranslated in the commands (`help=N_("…")`), since a module is imported once and a process may
    use both languages.
    """
    for param in command.params:
        param.help = _(param.help) if getattr(param, "help", None) else None
        kind = param.type_descriptor
        if param.metavar is None and kind.is_choice and not getattr(param, "is_flag", False):
            param.metavar = "|".join(str(getattr(choice, "value", choice)) for choice in kind.choices or ())
        elif param.metavar is None and param.param_type_name == "option" and not param.is_flag:
            param.metavar = "N" if param.min is not None or param.bare_type() in ("int", "float") else _("TEXT")
        elif param.metavar is None and param.param_type_name == "argument":
            param.metavar = param.name.upper()
        if param.param_type_name == "argument":
            param.display_type = lambda ctx: ""
        param.process_value = partial(_checked_value, param, param.process_value)
        param._get_number_range_help_str = partial(help_layout.number_range, param.min, param.max)
    for below in getattr(command, "commands", {}).values():
        _name_values(below)


def _checked_value(param: Any, process: Callable[[Any, Any], Any], ctx: Context, value: Any) -> Any:
    """Refuse an empty text, which a path would take for this directory, and read a decimal comma.

    An empty operator is a value: it says that none is known.
    """
    source = ctx.get_parameter_source(param.name)
    given = source is not None and source.name == "COMMANDLINE" and not ctx.resilient_parsing
    words = value if isinstance(value, list | tuple) else (value,)
    if given and param.name != "operator" and any(isinstance(word, str) and not word.strip() for word in words):
        raise typer.BadParameter(_("it is empty."), ctx=ctx, param=param)
    if given and isinstance(value, str) and param.bare_type() == "float":
        value = _DECIMAL_COMMA.sub(r"\1.\2", value)
    return process(ctx, value)


def root() -> Any:
    """Return the whole command line."""
    app = typer.Typer(
        name="sigprobe",
        cls=Root,
        add_completion=True,
        rich_markup_mode=None,
        no_args_is_help=True,
        help=help_text(
            _(
                "Measure the network at a polling station, store every result, and upload it as soon as "
                "there is a connection."
            ),
            ("sigprobe init", "sigprobe test", "sigprobe upload", "sigprobe status"),
        ),
    )

    @app.callback()
    def sigprobe(
        version: bool = typer.Option(False, "--version", help=_("Show the version and exit.")),
    ) -> None:
        return None

    command: Any = build_command(app)
    for param in command.params:
        if param.name == "install_completion":
            param.help = _("Install completion for this shell (bash, zsh, fish, PowerShell).")
            param.callback = completion.install
        elif param.name == "show_completion":
            param.help = _("Print the completion script of this shell.")
            param.callback = completion.show
    return command
