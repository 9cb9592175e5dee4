"""`sigprobe init`: create the settings file from at most six questions; every answer also has a flag."""

from __future__ import annotations

import errno
import os
import shlex
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer
from typer.core import TyperGroup

from sigprobe.commands.support import options, sentences, terminal
from sigprobe.commands.support.command_result import CommandError, CommandResult, Screen
from sigprobe.words.i18n import N_, _, language

if TYPE_CHECKING:
    from sigprobe.config.new import Answers

TRIES: Final = 5
YES: Final = ("y", "yes", "ya", "iya")
NO: Final = ("n", "no", "t", "tidak")
Changes: TypeAlias = "dict[str, str] | dict[str, float]"


@dataclass(frozen=True, slots=True)
class Initialised(CommandResult):
    """A new settings file, and the next command; None where the first test has run already."""

    next_command: str | None

    def text(self, screen: Screen) -> str:
        """Return the next command."""
        return "" if self.next_command is None else _("Next: {command}").format(command=self.next_command)


def init(
    context: typer.Context,
    *,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="F", help=N_("The settings file to write."))
    ] = None,
    tps: Annotated[str, typer.Option("--tps", help=N_("Number of the TPS, 13 digits."))] = "",
    site: Annotated[str, typer.Option("--site", help=N_("A name for a place without a TPS number."))] = "",
    collector: Annotated[str, typer.Option("--collector", metavar="URL", help=N_("Address of the collector."))] = "",
    token_file: Annotated[
        str, typer.Option("--token-file", metavar="F", help=N_("The file with the collector's token."))
    ] = "",
    operator: options.OperatorOption = "",
    lat: options.LatOption = None,
    lon: options.LonOption = None,
    wanted: Annotated[str, typer.Option("--language", metavar="id|en", help=N_("Language on the screen."))] = "",
    no_input: Annotated[
        bool, typer.Option("--no-input", "--yes", help=N_("Ask no questions; use the defaults."))
    ] = False,
    force: Annotated[bool, typer.Option("--force", help=N_("Overwrite an existing settings file."))] = False,
    test: Annotated[bool, typer.Option("--test", help=N_("Run a first test afterwards."))] = False,
) -> CommandResult:
    """Create the settings file."""
    from sigprobe.config import new
    from sigprobe.files import locations

    path = config or Path(os.environ.get("SIGPROBE_CONFIG", "") or locations.own_file())
    asking = not no_input and sys.stdin.isatty()
    if path.exists() and not force:
        _may_replace(path, asking)
    answers = new.Answers(
        tps_id=tps,
        site=site,
        collector=_with_slash(collector),
        token_file=_full_path(token_file),
        operator=operator,
        lat=lat,
        lon=lon,
        language=wanted or language(),
    )
    if asking:
        answers = _ask_all(answers, path)
    elif not tps and not site:
        raise _refusal(_("the place is missing: give --tps NUMBER, or --site NAME."))
    problems = new.faults(answers)
    if any(problem.key.startswith("upload.") for problem in problems):
        # the speed test has the collector's address, so its mistake is the same one
        problems = [problem for problem in problems if not problem.key.startswith("targets[")]
    if problems:
        raise _refusal(*(_by_flag(problem.key, problem.message, problem.hint) for problem in problems))
    answers = replace(answers, tps_id=_plain_tps(answers.tps_id) or answers.tps_id)
    if tps:
        _read_back(tps)
    _warn_of_position(answers)
    try:
        new.write(path, new.render(answers))
    except OSError as error:
        # mkdir reports a file in the place of a directory as "exists"
        known = NotADirectoryError(errno.ENOTDIR, "") if isinstance(error, FileExistsError) else error
        reason = sentences.system_reason(known)
        raise _refusal(_("cannot write {path}: {reason}.").format(path=path, reason=reason)) from None
    terminal.current().show(_("Settings saved: {path}").format(path=path))
    _warn_of_token(answers)
    _hide_note(path, config)
    _say_data_plan(path)
    return _finish(context, path, config, test=test, asking=asking)


def _ask_all(answers: Answers, path: Path) -> Answers:
    """Ask for values without a flag: place, collector, token file, operator, position."""
    if not answers.tps_id and not answers.site:
        answers = _ask(
            _("Number of the TPS (13 digits), or a name for a place without one"),
            answers,
            ("tps_id", "site", "probe"),
            _place,
            needed=True,
            offer=_meant_tps,
        )
        _read_back(answers.tps_id)
    if not answers.collector:
        answers = _ask(
            _("Address of the collector (https://…; empty: none yet)"),
            answers,
            ("url",),
            lambda text: {"collector": _with_slash(text)},
            offer=_meant_address,
        )
    if answers.collector and not answers.token_file:
        suggestion = str(path.absolute().parent / "token")
        answers = _ask(
            _("File with the token for the collector"),
            answers,
            ("token_file",),
            lambda text: {"token_file": _token_file(text, Path(suggestion))},
            default=suggestion,
        )
    if not answers.operator:
        answers = _ask(
            _("Mobile operator, if no modem reports it (empty: read it from the modem)"),
            answers,
            ("operator",),
            lambda text: {"operator": text},
        )
    if answers.lat is None and answers.lon is None:
        answers = _ask(
            _("Position if there is no GPS: latitude, longitude (for example -6.91474, 107.60981; empty: none)"),
            answers,
            ("lat", "lon", "fixed"),
            _position,
            offer=partial(_meant_position, tps_id=_plain_tps(answers.tps_id)),
        )
    return answers


def _place(text: str) -> dict[str, str]:
    """Take an answer as a TPS number, also one with a mistake in it, or as the name of a site."""
    from sigprobe import places

    named = any(char.isalpha() for char in text) and places.meant_as_tps(text) is None
    return {"site": text} if named else {"tps_id": text}


def _meant_tps(text: str, *, passes: bool) -> str | None:
    """Return the TPS number that an incorrect one stands for; None unless exactly one fits."""
    from sigprobe import places

    if passes:
        return None
    code = places.meant_as_tps(text) or ""
    found = (code,) if code != text and places.place(code).known and len(code) == 13 else places.near_misses(code)
    return found[0] if len(found) == 1 else None


def _meant_address(text: str, *, passes: bool) -> str | None:
    """Return the address with its missing scheme."""
    from sigprobe.config.model import with_scheme

    return None if passes else with_scheme(_with_slash(text))


def _meant_position(text: str, tps_id: str | None, *, passes: bool) -> str | None:
    """Return the position that an unfitting one stands for; None if no mistake explains it."""
    from sigprobe.places.position_messages import position_doubt, shown
    from sigprobe.places.position_slips import slip

    given = _position(text)
    meant = None if given is None else slip(given["lat"], given["lon"], tps_id)
    if meant is not None and given is not None and passes:
        terminal.current().error(_wrapped(f"  {position_doubt(given['lat'], given['lon'], tps_id)}"))
    return None if meant is None else shown(meant.lat, meant.lon)


def _token_file(text: str, keep_at: Path) -> str:
    """Return the path of the token file. A pasted token is written to `keep_at` and never shown."""
    from sigprobe.files import tokens

    token = tokens.bare_token(text)
    if token is None or not tokens.is_secret_for_path(text) or Path(text).exists():
        return _full_path(text)
    path = keep_at if not keep_at.exists() else keep_at.with_name(f"{keep_at.name}-{os.getpid()}")
    try:
        tokens.write_token(path, token)
    except OSError as error:
        reason = sentences.system_reason(error)
        raise _refusal(_("cannot write {path}: {reason}.").format(path=path, reason=reason)) from None
    note = _("  That was the token itself. It was saved in {path}, which only you can read.")
    terminal.current().error(_wrapped(note.format(path=path)))
    return str(path.absolute())


def _ask(
    question: str,
    answers: Answers,
    keys: tuple[str, ...],
    read: Callable[[str], Changes | None],
    *,
    default: str = "",
    needed: bool = False,
    offer: Callable[..., str | None] = lambda text, *, passes: None,
) -> Answers:
    """Ask until the answer passes the same checks as the file; give up after `TRIES`.

    `offer` tells what was most likely meant by an answer; it is told whether the answer `passes`.
    """
    from sigprobe.config.new import faults

    prompt = f"{question} [{default}]:" if default else f"{question}:"
    meant: str | None = None
    passed: Answers | None = None
    for _try in range(TRIES):
        text = _line(prompt if meant is None else _("  Use {text}? (Y/n)").format(text=meant))
        if meant is not None and text.lower() in NO:
            if passed is not None:
                return passed
            meant = None
            continue
        if meant is not None and text.lower() in ("", *YES):
            text = meant
        meant, passed = None, None
        text = text or default
        if not text:
            if not needed:
                return answers
            terminal.current().error(_("  An answer is needed here."))
            continue
        changes = read(text)
        if changes is None:
            terminal.current().error(_("  That answer was not understood."))
            continue
        tried = replace(answers, **changes)
        problems = faults(tried, keys=keys)
        meant = offer(text, passes=not problems)
        if not problems and meant is None:
            return tried
        passed = None if problems else tried
        for problem in problems:
            terminal.current().error(_wrapped(f"  {_with_question(problem.message, problem.hint)}"))
    raise _refusal(_("no usable answer after {count} tries.").format(count=TRIES))


def _line(prompt: str) -> str:
    """Read one line from the terminal; the prompt goes to stderr, because stdout is for the result."""
    terminal.current().prompt(_wrapped(prompt) + " ")
    try:
        line = sys.stdin.readline()
    except UnicodeDecodeError:
        return "\N{REPLACEMENT CHARACTER}"
    if not line:
        terminal.current().error("")
        raise _refusal(_("the input ended before all questions were answered."))
    return line.strip()


def _position(text: str) -> dict[str, float] | None:
    """Return latitude and longitude; decimal commas are read too if a space or ; separates the two."""
    for separator in (";", None, ","):
        parts = [part.strip(" ,;") for part in text.split(separator) if part.strip(" ,;")]
        if len(parts) == 2:
            try:
                return dict(zip(("lat", "lon"), (float(part.replace(",", ".")) for part in parts), strict=True))
            except ValueError:
                continue
    return None


def _may_replace(path: Path, asking: bool) -> None:
    if not asking:
        raise _refusal(_("{path} already exists; to overwrite it, add --force.").format(path=path))
    reply = _line(_("{path} already exists. Overwrite it? (y/N)").format(path=path)).lower()
    if reply not in YES:
        raise _refusal(_("nothing was changed."))


def _by_flag(key: str, message: str, hint: str) -> str:
    """Return a mistake with its flag; hints are kept unless they show YAML."""
    flags = {
        "tps_id": "--tps",
        "site": "--site",
        "url": "--collector",
        "token_file": "--token-file",
        "operator": "--operator",
        "lat": "--lat",
        "lon": "--lon",
        "language": "--language",
    }
    flag = flags.get(key.rpartition(".")[2])
    return f"{flag}: {_with_question(message, hint)}" if flag else f"{key}: {message} {hint}".rstrip()


def _with_question(message: str, hint: str) -> str:
    """Return a mistake with its hint if that is a question; other hints show YAML, which does not fit here."""
    return f"{message} {hint}" if hint.endswith("?") else message


def _with_slash(url: str) -> str:
    """Return an address that ends in a slash, since paths are appended to it."""
    return url if not url or url.endswith("/") or "?" in url or "#" in url else url + "/"


def _full_path(text: str) -> str:
    from sigprobe.files import locations

    return str(locations.expand(text).absolute()) if text else ""


def _plain_tps(text: str) -> str | None:
    """Return the 13 digits of a TPS number that passes; None for anything else."""
    from sigprobe.tag.tps import TpsError, parse_tps

    try:
        return parse_tps(text)
    except TpsError:
        return None


def _read_back(text: str) -> None:
    """Print the place of the TPS number; warn if its village is not listed."""
    from sigprobe import places
    from sigprobe.places.tps_messages import doubt

    tps_id = _plain_tps(text)
    if tps_id is None:
        return
    place = places.place(tps_id)
    name = place.full or place.title
    terminal.current().say(f"TPS {tps_id}: {name}" if name else f"TPS {tps_id}")
    unlisted = doubt(tps_id)
    if unlisted:
        terminal.current().say(_wrapped(_("Warning: {text}").format(text=unlisted)))


def _warn_of_position(answers: Answers) -> None:
    """Warn of a position that probably does not fit."""
    from sigprobe.places.position_messages import position_doubt

    if answers.lat is not None and answers.lon is not None:
        wrong = position_doubt(answers.lat, answers.lon, _plain_tps(answers.tps_id))
        if wrong:
            terminal.current().say(_wrapped(_("Warning: {text}").format(text=wrong)))


def _warn_of_token(answers: Answers) -> None:
    """Warn of a token file that is missing or cannot be used."""
    from sigprobe.files.tokens import TokenError, read_token

    if not answers.token_file:
        return
    try:
        read_token(answers.token_file, {})
    except TokenError as error:
        note = _("Note: {text}").format(text=sentences.token_sentence(error.reason, error.path))
        terminal.current().say(_wrapped(note))


def _say_data_plan(path: Path) -> None:
    """Print the daily data of automatic tests if the data budget limits large checks."""
    from sigprobe.config import load
    from sigprobe.runs.data_budget import LARGE_BYTES

    loaded = load(path, {})
    if not any(check.estimate().bytes > LARGE_BYTES for check in loaded.config.checks()):
        return
    plan = sentences.data_plan(loaded, loaded.config.schedule.every_min)
    text = _("Automatic tests (sigprobe schedule install): {plan}").format(plan=plan)
    terminal.current().say(_wrapped(text))


def _hide_note(path: Path, config: Path | None) -> None:
    """Warn if the new file hides the system's settings, which are then not read."""
    from sigprobe.files import locations

    system = locations.system_file()
    if config is None and path == locations.own_file() != system and os.access(system, os.F_OK):
        note = _("Note: from now on your commands use this file instead of {path}.")
        terminal.current().say(_wrapped(note.format(path=system)))


def _finish(context: typer.Context, path: Path, config: Path | None, *, test: bool, asking: bool) -> Initialised:
    """Run a first test if wanted, else print the next command."""
    arguments = ["test", *(["--config", str(path)] if config is not None else [])]
    top = context.find_root()
    group = top.command
    assert isinstance(group, TyperGroup)
    runnable = group.get_command(top, "test") is not None
    if not test and asking and runnable:
        test = _line(_("Run a first test now? (Y/n)")).lower() in ("", *YES)
    if not test or not runnable:
        return Initialised(f"sigprobe {shlex.join(arguments)}")
    code = group.main(args=arguments, prog_name="sigprobe", standalone_mode=False)
    if code:
        raise typer.Exit(int(code))
    return Initialised(None)


def _wrapped(text: str) -> str:
    """Wrap a message for the terminal at words; a path stays whole. Elsewhere the text stays one line."""
    out = terminal.current()
    if not out.err_tty:
        return text
    indent = " " * (len(text) - len(text.lstrip()))
    lines = textwrap.wrap(
        text, max(40, out.err_width - 1), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(lines)


def _refusal(*texts: str) -> CommandError:
    """Return the error for settings that were not written."""
    return CommandError(*(_wrapped(f"sigprobe init: {text}") for text in texts))
