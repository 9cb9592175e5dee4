"""Translate messages and format numbers, units and times, in Indonesian and English.

The source language of every message is English. `_` translates when it is called, so the language may be chosen after a
module is imported.
"""

from __future__ import annotations

import gettext
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Final

from sigprobe.record import messages

LANGUAGES: Final = ("id", "en")
DOMAIN: Final = "sigprobe"
N_ = messages.N_
LOCALE_DIR: Final = Path(__file__).parent / "locale"

_current: gettext.NullTranslations = gettext.NullTranslations()
_language = "en"


def set_language(language: str) -> None:
    """Set the language of this process: `id` or `en`. Raises ValueError for any other."""
    global _current, _language  # noqa: PLW0603 - one process speaks one language at a time
    if language not in LANGUAGES:
        raise ValueError(f"language must be one of {', '.join(LANGUAGES)}")
    _language = language
    _current = load(language)


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """Use a language inside the block and restore the previous one."""
    before = _language
    set_language(language)
    try:
        yield
    finally:
        set_language(before)


def load(language: str) -> gettext.NullTranslations:
    """Return the catalogue of a language; the collector uses it per request. Missing files fall back to English."""
    return gettext.translation(DOMAIN, LOCALE_DIR, [language], fallback=True)


def language() -> str:
    """Return the language in use."""
    return _language


def choose_language(*wishes: str | None, environ: Mapping[str, str] = os.environ, default: str = "en") -> str:
    """Return the first requested language that is known, else the locale's, else `default`."""
    for wish in wishes:
        if wish in LANGUAGES:
            return wish
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        value = environ.get(name, "")
        if value:
            # some locale names still have `in`, the old code for Indonesian
            return "id" if value.lower().startswith(("id", "in_")) else default
    return default


def _(message: str) -> str:
    """Return the message in the language in use."""
    return _current.gettext(message) if message else ""


def ngettext(one: str, many: str, count: int) -> str:
    """Return the message for `count` things in the language in use."""
    return _current.ngettext(one, many, count)


def number(value: float, digits: int = 0, lang: str | None = None) -> str:
    """Format a number: `12,4` in Indonesian, `12.4` in English, thousands grouped."""
    text = f"{value:,.{digits}f}"
    if value <= 0 and not any(c in "123456789" for c in text):
        text = text.lstrip("-")  # a rounded zero has no sign
    return text.translate(str.maketrans(",.", ".,")) if (lang or _language) == "id" else text


def rate(bps: float, lang: str | None = None) -> str:
    """Format a rate with its unit: `12,4 Mbps`, `640 kbps`."""
    if bps >= 999_500:
        mbps = bps / 1e6
        return f"{number(mbps, 1 if mbps < 99.95 else 0, lang)} Mbps"
    return f"{number(bps / 1e3, 0 if bps >= 9_950 else 1, lang)} kbps"


def size(count: float, lang: str | None = None) -> str:
    """Format a number of bytes with its decimal unit: `14 MB`, `1,2 MB`, `640 kB`."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor * 0.9995:
            value = count / factor
            return f"{number(value, 1 if value < 9.95 else 0, lang)} {unit}"
    return f"{number(count, 0, lang)} B"


# second, minute, hour, day
_SPANS: Final[Mapping[str, tuple[str, str, str, str]]] = {
    "id": ("detik", "menit", "jam", "hari"),
    "en": ("s", "min", "h", "d"),
}


def duration(seconds: float, lang: str | None = None) -> str:
    """Format a span in the largest fitting units: `45 detik`, `2 jam 5 menit`; `45 s`, `2 h 5 min` in English."""
    second, minute, hour, day = _SPANS[lang or _language]
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} {second}"
    minutes = whole // 60
    if minutes < 60:
        return f"{minutes} {minute}"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} {hour} {minutes} {minute}" if minutes else f"{hours} {hour}"
    days, hours = divmod(hours, 24)
    return f"{days} {day} {hours} {hour}" if hours else f"{days} {day}"


ZONES: Final[Mapping[str, timezone]] = {
    "WIB": timezone(timedelta(hours=7), "WIB"),
    "WITA": timezone(timedelta(hours=8), "WITA"),
    "WIT": timezone(timedelta(hours=9), "WIT"),
}

_MONTHS: Final[Mapping[str, tuple[str, ...]]] = {
    "id": ("Jan", "Feb", "Mar", "Apr", "Mei", "Jun", "Jul", "Agu", "Sep", "Okt", "Nov", "Des"),
    "en": ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
}


def clock_text(when: datetime, zone: str = "WIB", lang: str | None = None, *, with_date: bool = True) -> str:
    """Format a time in an Indonesian time zone: `27 Nov 2026 14.05 WIB` (`14:05` in English)."""
    lang = lang or _language
    local = when.astimezone(ZONES[zone])
    mark = "." if lang == "id" else ":"
    clock = f"{local.hour:02d}{mark}{local.minute:02d} {zone}"
    return f"{local.day} {_MONTHS[lang][local.month - 1]} {local.year} {clock}" if with_date else clock
