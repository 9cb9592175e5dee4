"""Build a short WhatsApp text of one run, and the link that opens it there.

It names the place by TPS and regency only: coordinates do not belong in a group chat.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

from sigprobe.render import words
from sigprobe.render.run_table import TableRow, rows
from sigprobe.render.screen import advice_of, header_parts, headline_of, sentences
from sigprobe.render.view import RunView

MOST: Final = 699
"""Characters at most: a message that must be unfolded is not read."""

_SERVICE_CODE: Final = re.compile(r"\*(?=[0-9*]+#)")
_BOLD: Final = str.maketrans({"*": "", "_": " ", "~": "", "`": ""})


def share_text(view: RunView) -> str:
    """Return the message: verdict first, then the numbers, then the action. Always under 700 characters."""
    who, *rest = [_plain(part) for part in header_parts(view)]
    head = [f"*{who}*", " · ".join(rest), f"*{_plain(headline_of(view))}*"]
    numbers = [_plain(_number(row)) for row in rows(view)]
    tail = [_plain(text) for text, _code in sentences(view)]
    advice = _plain(advice_of(view))
    foot = [advice] if advice else []
    # the least important parts are dropped first
    while len(_joined(head, numbers, tail, foot)) > MOST and (numbers or tail):
        (tail if len(tail) > 1 or not numbers else numbers).pop()
    return words.fit(_joined(head, numbers, tail, foot), MOST) if not numbers else _joined(head, numbers, tail, foot)


def _number(row: TableRow) -> str:
    """Return one number with its word; without a number the word alone, since a sentence below gives the cause."""
    if not row.value or row.value == "–":
        return f"{row.label}: {row.word}" if row.word else f"{row.label} {' '.join(row.notes)}".rstrip()
    word = f"({row.word})" if row.word else ""
    return " ".join(part for part in (f"{row.label}:", row.value, word, *row.notes) if part)


def _joined(*blocks: list[str]) -> str:
    text = "\n".join(line for block in blocks for line in block if line)
    return f"{text}\n_sigprobe_"


def _plain(text: str) -> str:
    """Remove WhatsApp's marks for bold and italic, which would swallow parts of names.

    A service code such as *888# keeps its star, as a character that WhatsApp does not take for bold.
    """
    text = _SERVICE_CODE.sub("\N{ASTERISK OPERATOR}", text)
    return words.clean(text).translate(_BOLD).strip()


def whatsapp_link(text: str) -> str:
    """Return a link that opens WhatsApp with the message prepared. Opening it sends nothing."""
    return f"https://wa.me/?text={quote(text, safe='')}"
