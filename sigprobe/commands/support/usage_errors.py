"""What is wrong with a command line, in the language in use: Typer's own sentences are English."""

from __future__ import annotations

from typing import Any

from sigprobe.words.i18n import _


def explain_usage(error: Any) -> str:
    """Return a mistake on the command line in the language in use: what is wrong, and where help is."""
    kind = type(error).__name__
    param = getattr(error, "param", None)
    name = "" if param is None else _name(param)
    if kind == "NoSuchOption":
        text = _("There is no option {name}.").format(name=error.option_name)
        if error.possibilities:
            text += " " + _("Did you mean {names}?").format(names=", ".join(sorted(error.possibilities)))
    elif kind == "MissingParameter":
        text = _("{name} is missing.").format(name=name or error.param_type or "")
    elif kind == "BadParameter":
        text = _("{name}: invalid value: {detail}").format(name=name, detail=_wanted(param, error.message))
    elif kind == "BadOptionUsage":
        text = _("Invalid use of {name}: missing or extra value.").format(name=error.option_name)
    elif "extra argument" in str(error.message):
        text = _("Too many arguments: {words}").format(words=str(error.message).partition("(s) ")[2].strip("()"))
    elif "No such command" in str(error.message):
        text = _no_such_command(error)
    else:
        text = str(error.format_message())
    where = error.ctx.command_path if getattr(error, "ctx", None) is not None else "sigprobe"
    return f"{text}\n" + _("For help, run: {command}").format(command=f"{where} --help")


def _name(param: Any) -> str:
    if getattr(param, "param_type_name", "") == "argument":
        return str(param.metavar or param.name).upper()
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


def _no_such_command(error: Any) -> str:
    from difflib import get_close_matches

    word = str(error.message).split("'")[1] if "'" in str(error.message) else ""
    command = error.ctx.command
    near = get_close_matches(word, command.list_commands(error.ctx), 1)
    text = _("There is no command {name}.").format(name=word)
    return text + (" " + _("Did you mean {names}?").format(names=near[0]) if near else "")
