"""The text of one run for WhatsApp, short enough to be read at a glance, and the link that opens it there.

It says where by TPS and regency only: coordinates do not belong into a group chat.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from sigprobe.render import words
from sigprobe.render.run_table import rows
from sigprobe.render.screen import advice_of, header_parts, headline_of, sentences
from sigprobe.render.view import RunView

MOST: Final = 699
"""Characters at most: a message that must be unfolded is not read."""

_BOLD: Final = str.maketrans({"*": "", "_": " ", "~": "", "`": ""})


def share_text(view: RunView) -> str:
    """The message: verdict first, then the numbers, then what to do. Under 700 characters, whatever was measured."""
    who, *rest = [_plain(part) for part in header_parts(view)]
    head = [f"*{who}*", " · ".join(rest), f"*{_plain(headline_of(view))}*"]
    numbers = [
        _plain(" ".join(p for p in (f"{row.label}:", row.value, f"({row.word})" if row.word else "", *row.notes) if p))
        for row in rows(view)
    ]
    tail = [_plain(text) for text, _code in sentences(view)]
    advice = _plain(advice_of(view))
    foot = [advice] if advice else []
    # what matters least goes first when there is too much
    while len(_joined(head, numbers, tail, foot)) > MOST and (numbers or tail):
        (tail if len(tail) > 1 or not numbers else numbers).pop()
    return words.fit(_joined(head, numbers, tail, foot), MOST) if not numbers else _joined(head, numbers, tail, foot)


def _joined(*blocks: list[str]) -> str:
    text = "\n".join(line for block in blocks for line in block if line)
    return f"{text}\n_sigprobe_"


def _plain(text: str) -> str:
    """Text that WhatsApp shows as it is: its marks for bold and italic would swallow parts of names."""
    return words.clean(text).translate(_BOLD).strip()


def whatsapp_link(text: str) -> str:
    """A link that opens WhatsApp with the message ready to send; nothing is sent by making it."""
    return f"https://wa.me/?text={quote(text, safe='')}"
