"""Explain mistakes on the command line in the language in use: Typer's own sentences are English."""

from __future__ import annotations

from typing import Any

from sigprobe.words.i18n import _
from sigprobe.words.similar import similar


def explain_usage(error: Any) -> str:
    """Return the mistake in the language in use, and the command that prints help."""
    kind = type(error).__name__
    param = getattr(error, "param", None)
    name = "" if param is None else _name(param)
    if kind == "NoSuchOption":
        text = _("There is no option {name}.").format(name=error.option_name)
        near = similar(error.option_name, _options(error))
        if near:
            text += " " + _("Did you mean {names}?").format(names=near[0])
    elif kind == "MissingParameter":
        text = _("{name} is missing.").format(name=name or error.param_type or "")
    elif kind == "BadParameter":
        text = _("{name}: invalid value: {detail}").format(name=name, detail=_wanted(param, error.message))
    elif kind == "BadOptionUsage":
        text = _option_usage(error)
    elif "extra argument" in str(error.message):
        text = _("Too many arguments: {words}").format(words=str(error.message).partition("(s) ")[2].strip("()"))
    elif "No such command" in str(error.message):
        text = _no_such_command(error)
    else:
        text = _("The command line could not be understood.")
    where = error.ctx.command_path if getattr(error, "ctx", None) is not None else "sigprobe"
    return f"{text}\n" + _("For help, run: {command}").format(command=f"{where} --help")


def _name(param: Any) -> str:
    if getattr(param, "param_type_name", "") == "argument":
        return str(param.metavar or param.name.upper())
    return str(param.opts[0] if getattr(param, "opts", None) else param.name)


def _wanted(param: Any, said: str) -> str:
    """Return what an option takes; `said` is the parser's own sentence, for what is not known here."""
    kind = getattr(param, "type_descriptor", None)
    if kind is not None and kind.is_choice:
        return _("choose from {names}").format(names=", ".join(str(choice) for choice in kind.choices or ()))
    low, high = getattr(param, "min", None), getattr(param, "max", None)
    if low is not None and high is not None:
        return _("expected a number from {low} to {high}").format(low=low, high=high)
    if low is not None:
        return _("expected a number of at least {low}").format(low=low)
    if kind is not None and param.bare_type() in ("int", "float"):
        return _("expected a number, for example {example}").format(
            example="5" if param.bare_type() == "int" else "2.5"
        )
    return said


def _options(error: Any) -> list[str]:
    """Return the long options of the command, and those that every command takes."""
    context = getattr(error, "ctx", None)
    own = [] if context is None else [name for param in context.command.params for name in param.opts]
    return [name for name in (*own, "--lang", "--quiet", "--verbose", "--plain", "--help") if name.startswith("--")]


def _option_usage(error: Any) -> str:
    """Return that an option lacks its value, with the possible values, or that it takes none."""
    name = error.option_name
    context = getattr(error, "ctx", None)
    params = () if context is None else context.command.params
    param = next((one for one in params if name in one.opts or name in one.secondary_opts), None)
    if param is None or param.is_flag:
        return _("{name} takes no value.").format(name=name)
    kind = param.type_descriptor
    values = [str(choice) for choice in kind.choices or ()] if kind.is_choice else _values(name)
    if values:
        return _("{name} needs a value. Choose from: {values}").format(name=name, values=", ".join(values))
    if param.help:
        return _("{name} needs a value ({metavar}): {help}").format(name=name, metavar=param.metavar, help=param.help)
    return _("{name} needs a value ({metavar}).").format(name=name, metavar=param.metavar)


def _values(name: str) -> list[str]:
    """Return the values of options that take words of the program or of the settings."""
    if name == "--state":
        from sigprobe.buffer import State

        return [state.name.lower() for state in State]
    if name == "--only":
        from sigprobe.commands.support.cli_values import names_of_checks

        return names_of_checks()
    return {"--csv-dialect": ["plain", "excel-id"], "--language": ["id", "en"]}.get(name, [])


def _no_such_command(error: Any) -> str:
    word = str(error.message).split("'")[1] if "'" in str(error.message) else ""
    command = error.ctx.command
    near = similar(word, command.list_commands(error.ctx))
    text = _("There is no command {name}.").format(name=word)
    return text + (" " + _("Did you mean {names}?").format(names=near[0]) if near else "")
