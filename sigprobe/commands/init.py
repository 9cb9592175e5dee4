"""`sigprobe init`: a first settings file from at most six questions, each a flag too."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sigprobe.words.i18n import N_, _

if TYPE_CHECKING:
    from sigprobe.config.new import Answers

TRIES = 5


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
    operator: Annotated[str, typer.Option("--operator", help=N_("Mobile operator, where no modem can tell."))] = "",
    lat: Annotated[float | None, typer.Option("--lat", help=N_("Latitude, for example -6.91474."))] = None,
    lon: Annotated[float | None, typer.Option("--lon", help=N_("Longitude, for example 107.60981."))] = None,
    language: Annotated[str, typer.Option("--language", metavar="id|en", help=N_("Language on the screen."))] = "",
    no_input: Annotated[bool, typer.Option("--no-input", "--yes", help=N_("Ask nothing; take the defaults."))] = False,
    force: Annotated[bool, typer.Option("--force", help=N_("Replace a settings file that is there."))] = False,
    test: Annotated[bool, typer.Option("--test", help=N_("Run a first test afterwards."))] = False,
) -> None:
    """Write a first settings file."""
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
        language=language,
    )
    if asking:
        answers = _ask_all(answers, path)
    elif not tps and not site:
        raise _refusal(_("the place is missing: give --tps NUMBER, or --site NAME."))
    problems = new.faults(answers)
    if problems:
        raise _refusal(*(_by_flag(problem.key, problem.message, problem.hint) for problem in problems))
    try:
        new.write(path, new.render(answers))
    except OSError as error:
        reason = error.strerror or str(error)
        raise _refusal(_("{path} cannot be written ({reason}).").format(path=path, reason=reason)) from None
    typer.echo(_("Settings written: {path}").format(path=path))
    _say_place(answers.tps_id, asking=asking)
    _hide_note(path, config)
    _finish(context, path, config, test=test, asking=asking)


def _ask_all(answers: Answers, path: Path) -> Answers:
    """Ask for what no flag gave: place, collector, token file, operator, position."""
    if not answers.tps_id and not answers.site:
        answers = _ask(
            _("Number of the TPS (13 digits), or a name for a place without one"),
            answers,
            ("tps_id", "site", "probe"),
            lambda text: {"site": text} if any(c.isalpha() for c in text) else {"tps_id": text},
            needed=True,
        )
    if not answers.collector:
        answers = _ask(
            _("Address of the collector (https://…; empty: none yet)"),
            answers,
            ("url",),
            lambda text: {"collector": _with_slash(text)},
        )
    if answers.collector and not answers.token_file:
        suggestion = str(path.absolute().parent / "token")
        answers = _ask(
            _("File with the token for the collector"),
            answers,
            ("token_file",),
            lambda text: {"token_file": _full_path(text)},
            default=suggestion,
        )
    if not answers.operator:
        answers = _ask(
            _("Mobile operator, if no modem can tell (empty: let the modem tell)"),
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
        )
    return answers


def _ask(
    question: str,
    answers: Answers,
    keys: tuple[str, ...],
    read: Callable[[str], dict[str, Any] | None],
    *,
    default: str = "",
    needed: bool = False,
) -> Answers:
    """Ask until the answer passes the same checks as the file; give up after `TRIES`."""
    from sigprobe.config.new import faults

    for _try in range(TRIES):
        text = _line(f"{question} [{default}]: " if default else f"{question}: ") or default
        if not text:
            if not needed:
                return answers
            typer.echo(_("  An answer is needed here."), err=True)
            continue
        changes = read(text)
        if changes is None:
            typer.echo(_("  That could not be understood."), err=True)
            continue
        tried = replace(answers, **changes)
        problems = faults(tried, keys=keys)
        if not problems:
            return tried
        for problem in problems:
            typer.echo(f"  {problem.message}", err=True)
    raise _refusal(_("no usable answer after {count} tries.").format(count=TRIES))


def _line(prompt: str) -> str:
    """One line from the terminal; the prompt goes to stderr, since stdout is for the result."""
    typer.echo(prompt, nl=False, err=True)
    try:
        line = sys.stdin.readline()
    except UnicodeDecodeError:
        return "\N{REPLACEMENT CHARACTER}"
    if not line:
        typer.echo("", err=True)
        raise _refusal(_("the input ended before all questions were answered."))
    return line.strip()


def _position(text: str) -> dict[str, Any] | None:
    """Latitude and longitude; a decimal comma is read too when a space or ; stands between the two."""
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
        raise _refusal(_("{path} is already there; to replace it, add --force.").format(path=path))
    reply = _line(_("{path} is already there. Replace it? (y/N) ").format(path=path)).lower()
    if reply not in ("y", "yes", "ya"):
        raise _refusal(_("nothing was changed."))


def _by_flag(key: str, message: str, hint: str) -> str:
    """A mistake with the flag that it came from; hints show YAML, so only the others' are kept."""
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
    return f"{flag}: {message}" if flag else f"{key}: {message} {hint}".rstrip()


def _with_slash(url: str) -> str:
    """A collector's address ends in a slash, since paths are appended to it."""
    return url if not url or url.endswith("/") or "?" in url or "#" in url else url + "/"


def _full_path(text: str) -> str:
    from sigprobe.files import locations

    return str(locations.expand(text).absolute()) if text else ""


def _say_place(text: str, *, asking: bool) -> None:
    """Say to whoever has typed the number which place it stands for; and always when it stands for none."""
    from sigprobe import places
    from sigprobe.places.tps_messages import doubt
    from sigprobe.tag.tps import parse_tps

    if not text:
        return
    tps_id = parse_tps(text)
    place = places.place(tps_id).full
    if asking and place is not None:
        typer.echo(f"TPS {tps_id}: {place}", err=True)
    unlisted = doubt(tps_id)
    if unlisted:
        typer.echo(_("Warning: {text}").format(text=unlisted), err=True)


def _hide_note(path: Path, config: Path | None) -> None:
    """Say it when the new file takes the place of the system's, which is then not read at all."""
    from sigprobe.files import locations

    system = locations.system_file()
    if config is None and path == locations.own_file() != system and os.access(system, os.F_OK):
        note = _("Note: from now on your commands use this file and no longer {path}.")
        typer.echo(note.format(path=system), err=True)


def _finish(context: typer.Context, path: Path, config: Path | None, *, test: bool, asking: bool) -> None:
    """Run a first test when it is wanted, else name the next command."""
    arguments = ["test", *(["--config", str(path)] if config is not None else [])]
    top = context.find_root()
    root: Any = top.command
    runnable = root.get_command(top, "test") is not None
    if not test and asking and runnable:
        test = _line(_("Run a first test now? (Y/n) ")).lower() in ("", "y", "yes", "ya")
    if test and runnable:
        raise typer.Exit(int(root.main(args=arguments, prog_name="sigprobe", standalone_mode=False) or 0))
    typer.echo(_("Next: sigprobe {command}").format(command=" ".join(arguments)))


def _refusal(*sentences: str) -> typer.Exit:
    """Say on stderr why there is no new file; the caller raises what comes back."""
    for sentence in sentences:
        typer.echo(f"sigprobe init: {sentence}", err=True)
    return typer.Exit(2)
