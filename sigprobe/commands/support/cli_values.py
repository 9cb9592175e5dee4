"""Read values of a command line: checks, TPS numbers, sizes. A mistake raises CommandError (exit 2)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NoReturn

from sigprobe.commands.support import terminal
from sigprobe.commands.support.command_result import CommandError
from sigprobe.record.kinds import measures_rate
from sigprobe.words.i18n import _

if TYPE_CHECKING:
    from sigprobe.config import Loaded
    from sigprobe.measure.kind import CommonOptions

_SIZE: Final = re.compile(r"^(\d+(?:[.,]\d+)?)\s*(kB|KB|k|MB|M|m|GB|G|g)?$", re.IGNORECASE)
_FACTORS: Final = {"k": 1_000, "m": 1_000_000, "g": 1_000_000_000}


def usage(text: str) -> NoReturn:
    """Refuse the command line."""
    raise CommandError(text)


def chosen(loaded: Loaded, only: list[str]) -> tuple[CommonOptions, ...]:
    """Return the checks that `--only` names, repeated or separated by commas; all without it."""
    targets = loaded.config.checks()
    if not only:
        return targets
    names = _names(targets)
    asked = [part for word in only for part in ([word] if word in names else re.split(r"\s*,\s*", word.strip(" ,")))]
    unknown = [word for word in asked if word not in names]
    if unknown:
        usage(
            _("--only {word}: there is no such target or kind. Choose from: {names}").format(
                word=unknown[0], names=", ".join(sorted(names))
            )
        )
    return tuple(target for target in targets if target.name in asked or target.kind in asked)


def names_of_checks() -> list[str]:
    """Return what `--only` takes: targets and kinds of the settings, or all kinds where the settings cannot be read."""
    from sigprobe.config import ConfigError, load
    from sigprobe.measure import KINDS

    try:
        return sorted(_names(load().config.checks()))
    except ConfigError:
        return list(KINDS)


def _names(targets: Iterable[CommonOptions]) -> set[str]:
    return {target.name for target in targets} | {target.kind for target in targets}


def tps_id(text: str) -> str:
    """Return the TPS number of `--tps`; warn when no list has it."""
    from sigprobe.places.tps_messages import doubt, suggestion
    from sigprobe.render import words
    from sigprobe.tag.tps import TpsError, parse_tps

    try:
        tps_id = parse_tps(text)
    except TpsError as error:
        from sigprobe.config import tps_fault

        fault = f"--tps: {tps_fault(error)} {suggestion(text)}".rstrip()
        usage(f"{fault} {words.screen_code('tps_invalid')}")
    unlisted = doubt(tps_id)
    if unlisted:
        terminal.current().say(_("Warning: {text}").format(text=unlisted))
    return tps_id


def size_bytes(text: str) -> int:
    """Return the bytes of `20`, `20MB`, `1,5 GB`; a bare number is megabytes."""
    found = _SIZE.match(text.strip())
    if found is None:
        usage(_("--max-data {text}: write megabytes, for example 20 or 20MB.").format(text=text))
    factor = _FACTORS[(found[2] or "m")[0].lower()]
    return round(float(found[1].replace(",", ".")) * factor)


def needs_token(loaded: Loaded, targets: tuple[CommonOptions, ...]) -> bool:
    """Return whether a check may need the token of a collector."""
    return bool(loaded.config.upload.collectors) and any(measures_rate(t.kind) for t in targets)


_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def require_name(text: str) -> None:
    """Refuse a name of a token or carrier with other characters than the collector stores."""
    if not _NAME.fullmatch(text):
        raise CommandError(_("A name is 1 to 64 letters, digits, dots, dashes and underscores, for example laptop-1."))
