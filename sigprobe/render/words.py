"""Return words for codes and grades, and clean, fit, wrap or reduce text to ASCII."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from sigprobe.record import kinds
from sigprobe.record.profile import Word
from sigprobe.words.codes import CODES
from sigprobe.words.i18n import N_, _, number, rate

FAILED: Final = "failed"
SKIPPED: Final = "skipped"

_WORDS: Final[Mapping[str, str]] = {
    Word.GOOD: N_("good"),
    Word.FAIR: N_("fair"),
    Word.POOR: N_("poor"),
    Word.BAD: N_("bad"),
    FAILED: N_("failed"),
    SKIPPED: N_("not tested"),
}
_SIGNAL_WORDS: Final[Mapping[str, str]] = {
    Word.GOOD: N_("strong"),
    Word.FAIR: N_("medium"),
    Word.POOR: N_("weak"),
    Word.BAD: N_("none"),
}
SYMBOLS: Final[Mapping[str, str]] = {
    Word.GOOD: "✓",
    Word.FAIR: "~",
    Word.POOR: "!",
    Word.BAD: "✗",
    FAILED: "✗",
    SKIPPED: "–",
}
# All but two are as wide as the originals, so that columns stay aligned.
_ASCII: Final = str.maketrans(
    {
        "✓": "+", "✗": "x", "×": "x", "±": "+-", "·": "-", "…": "~", "–": "-", "—": "-", "→": ">", "≥": ">=", "≤": "<=",
        "‘": "'", "’": "'", "“": '"', "”": '"',
        "▁": "_", "▂": "_", "▃": ".", "▄": "-", "▅": "=", "▆": "+", "▇": "*", "█": "#",
    }
)  # fmt: skip
_LEVELS: Final = "▁▂▃▄▅▆▇█"


def word(grade: str, metric: str | None = None) -> str:
    """Return the word of a grade, of `failed` or of `skipped`; signals have their own words."""
    table = _SIGNAL_WORDS if metric in ("rsrp_dbm", "rssi_dbm") else _WORDS
    return _(table.get(grade, _WORDS.get(grade, grade)))


_UNNAMED: Final[Mapping[str, str]] = {"SP-FIL": N_("this file"), "SP-LST": N_("this list")}
"""What an unnamed thing is called in sentences of these codes; in any other it is a target."""


def sentence(code: str, **values: object) -> str:
    """Return the meaning of a failure code or verdict cause, with its fields filled. Never raises."""
    known = CODES.get(code)
    if known is None:
        return _("Unknown error: {code}.").format(code=clean(code))
    return fill(_(known.sentence), values, _UNNAMED.get(known.screen[:6], N_("the target")))


def advice(code: str, **values: object) -> str:
    """Return the advice for a failure code or verdict cause; empty for an unknown one."""
    known = CODES.get(code)
    return fill(_(known.advice), {"command": known.command} | values) if known is not None else ""


_OF_CERTIFICATES: Final = {
    "tls_untrusted": N_("Set ca_file in the settings to the CA of the collector, or try another network."),
    "tls_hostname": N_("Check the collector's address in the settings, then try another network."),
    "tls_expired": N_("Check this device's date and time; if they are right, contact the monitoring centre."),
    "tls_not_yet_valid": N_("Check this device's date and time; if they are right, contact the monitoring centre."),
    "tls_not_spoken": N_("Check the collector's address and port in the settings, then try another network."),
}


def upload_advice(stopped: str, why: str | None) -> str:
    """Return what helps after an upload; for a certificate by what is wrong with it, `why`."""
    if stopped != "collector_tls" or why is None:
        return advice(stopped)
    if why == "ca_file_unusable":
        return advice(why)
    return _(_OF_CERTIFICATES.get(why, N_("Try another network; if that fails too, contact the monitoring centre.")))


def target_name(kind: str, name: str) -> str:
    """Return the name of a target for people: the label of a kind whose own name says nothing, else its name."""
    info = kinds.info(kind)
    return clean(name) if info.named or not info.label else _(info.label)


def screen_code(code: str) -> str:
    """Return `[SP-NET-01]`, or the bare code in brackets when it is not in the table."""
    known = CODES.get(code)
    return f"[{known.screen if known is not None else clean(code)}]"


def fill(message: str, values: Mapping[str, Any], unnamed: str = N_("the target")) -> str:
    """Fill a message's fields; an unknown value becomes a word instead of an exception: for a name, `unnamed`."""

    class Fields(dict[str, str]):
        def __missing__(self, key: str) -> str:
            return _(unnamed) if key in ("name", "names") else "…"

    text = message.format_map(Fields({k: clean(str(v)) for k, v in values.items() if v not in (None, "")}))
    # a name keeps its case at the start of a sentence; placeholder words do not
    return text[:1].upper() + text[1:] if text.startswith(_(unnamed)) else text


def clean(text: str) -> str:
    """Remove control characters from external text, so that it cannot control a terminal."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "?" for c in text)


def to_ascii(text: str) -> str:
    """Reduce text to ASCII; letters lose their accents, characters without an equivalent become `?`."""
    if text.isascii():
        return text
    flat = unicodedata.normalize("NFKD", text.translate(_ASCII))
    return "".join(c for c in flat if not unicodedata.combining(c)).encode("ascii", "replace").decode()


_NARROW: Final = re.compile(r"[ -~\u00a0-\u00ac\u00ae-\u02ff–—‘’“”•…≤≥≈←↑→↓─│▁▂▃▄▅▆▇█✓✗]*")
"""Characters of one column each, our own symbols among them."""


def columns(text: str) -> int:
    """Count the columns that a terminal needs for `text`."""
    if _NARROW.fullmatch(text):
        return len(text)  # nearly every text: Rich's tables stay unloaded
    from rich.cells import cell_len

    return cell_len(text)


def fit(text: str, width: int) -> str:
    """Cut `text` to `width` columns, with an ellipsis if shortened."""
    if columns(text) <= width:
        return text
    kept = ""
    for char in text:
        if columns(kept + char) > width - 1:
            break
        kept += char
    return kept.rstrip() + "…" if width > 0 else ""


def pad(text: str, width: int, *, right: bool = False) -> str:
    """Cut or fill `text` to exactly `width` columns."""
    text = fit(text, width)
    room = " " * (width - columns(text))
    return room + text if right else text + room


def wrap(text: str, width: int, indent: str = "") -> list[str]:
    """Break text into lines of at most `width` columns; further lines begin with `indent`.

    A word longer than a line, such as a path, is continued below, broken before a slash where it has one.
    """
    width = max(width, 10)
    if columns(text) == len(text) and max(map(len, text.split()), default=0) <= width - len(indent):
        return textwrap.wrap(text, width, subsequent_indent=indent, break_on_hyphens=False)
    lines: list[str] = []
    for space, word in _SPACED.findall(text):
        for place, part in enumerate(_parts(word, width - len(indent))):
            if lines and place == 0 and columns(f"{lines[-1]}{space}{part}") <= width:
                lines[-1] += space + part
            else:
                lines.append((indent if lines else space) + part)
    return lines


_SPACED: Final = re.compile(r"(\s*)(\S+)")
"""Words with the blanks before them, which keep columns in line."""


def _parts(word: str, room: int) -> Iterator[str]:
    """Yield a word in parts of at most `room` columns."""
    while columns(word) > room:
        most = next(n for n in range(min(len(word), room), 0, -1) if columns(word[:n]) <= room or n == 1)
        slash = word.rfind("/", 1, most + 1)
        cut = slash if slash > 0 else most
        yield word[:cut]
        word = word[cut:]
    yield word


def fold(text: str, width: int) -> str:
    """Wrap prose at words, each line by itself; its indentation is kept.

    A long word, such as a path, and a quoted one with its blanks stay whole: a command must still work when copied.
    """
    return "\n".join(folded for line in text.split("\n") for folded in _folded(line, width))


_PIECES: Final = re.compile(r"(?<!\S)'[^']*'(?:\S+|(?!\S))|\S+")
"""Words, or what a shell reads as one between single quotes."""


def _folded(line: str, width: int) -> list[str]:
    if columns(line) <= width:
        return [line]
    indent = line[: len(line) - len(line.lstrip(" "))]
    lines: list[str] = []
    for piece in _PIECES.findall(line):
        if lines and columns(f"{lines[-1]} {piece}") <= width:
            lines[-1] += f" {piece}"
        else:
            lines.append(f"{indent}{'  ' if lines else ''}{piece}")
    return lines


def listed(names: Sequence[str], most: int = 4) -> str:
    """Join names for a sentence: `a, b, c, d + 2`."""
    shown = [clean(name) for name in dict.fromkeys(names)]
    rest = len(shown) - most
    return ", ".join(shown[:most]) + (f" + {rest}" if rest > 0 else "")


def spark(values: Sequence[float | None], width: int = 9) -> str:
    """Draw a small curve of the last values; a lost one is a cross. Nearly equal values give a flat line."""
    tail = list(values)[-width:]
    known = [v for v in tail if v is not None]
    if len(tail) < 2 or not known:
        return ""
    low, high = min(known), max(known)
    if high - low <= 0.1 * abs(high):
        return "".join("×" if v is None else _LEVELS[1] for v in tail)
    top = len(_LEVELS) - 1
    return "".join("×" if v is None else _LEVELS[round((v - low) / (high - low) * top)] for v in tail)


def millis(value: float) -> str:
    """Format milliseconds with significant digits: `0,4 ms`, `62 ms`."""
    digits = 0 if value >= 0.95 or value < 0.005 else 1 if value >= 0.095 else 2
    return f"{number(value, digits)} ms"


def percent(ratio: float) -> str:
    """Format a ratio as percent: `0 %`, `3,3 %`; a loss is never rounded to zero."""
    value = ratio * 100
    if 0 < value < 0.05:
        return "< 0,1 %" if number(0.1, 1) == "0,1" else "< 0.1 %"
    return f"{number(value, 0 if value == round(value) or value >= 10 else 1)} %"


def quantity(metric: str, value: float) -> str:
    """Format a value with its unit, taken from the end of its name; without one, a plain number."""
    if metric.endswith("_bps"):
        return rate(value)
    if metric.endswith("_ratio"):
        return percent(value)
    if metric.endswith("_dbm"):
        return f"{number(value)} dBm"
    return millis(value) if metric.endswith("_ms") else number(value)


def limit(metric: str, value: float) -> str:
    """Format a threshold with its unit and without trailing zeros: `2 Mbps`."""
    return quantity(metric, value).replace(",0 ", " ").replace(".0 ", " ")
