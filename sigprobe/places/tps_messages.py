"""What is said about a TPS number: what was most likely meant, and that its village is not listed."""

from __future__ import annotations

import re

from sigprobe import places
from sigprobe.words.i18n import _


def suggestion(text: str) -> str:
    """`Did you mean …?` with the numbers one slip away and their places; empty when there are none."""
    code = re.sub(r"[\s.\-]+", "", text.strip().strip("'\""))
    near = [f"{found} ({places.place(found).title})" for found in places.near_misses(code)]
    return _("Did you mean {names}?").format(names=", ".join(near)) if near else ""


def doubt(tps_id: str | None) -> str:
    """That a number's village is not in the list, with the list's vintage; empty when nothing speaks against it.

    A word and never a refusal: lists age, and a province that the list does not hold raises no doubt.
    """
    info = places.table_info()
    if tps_id is None or info is None or not places.place(tps_id).doubtful:
        return ""
    text = _("{value}: its village is not in the list of villages of {as_of}; please check the number.")
    return f"{text.format(value=tps_id, as_of=info.as_of)} {suggestion(tps_id)}".rstrip()
