"""Build the messages for a mistyped TPS number, or one whose village is not listed."""

from __future__ import annotations

import re
from typing import Final

from sigprobe import places
from sigprobe.words.i18n import _

_SHAPE: Final = re.compile(r"[0-9]{10}(?!000)[0-9]{3}")


def suggestion(text: str) -> str:
    """Return `Did you mean …?` with the TPS numbers one typing error away and their places; empty without any."""
    code = places.meant_as_tps(text) or ""
    alike = _SHAPE.fullmatch(code) is not None and code != re.sub(r"[\s.\-]+", "", text) and places.place(code).known
    found = (code,) if alike else places.near_misses(code)
    near = [f"{one} ({places.place(one).title})" for one in found]
    return _("Did you mean {names}?").format(names=", ".join(near)) if near else ""


def site_doubt(site: str | None) -> str:
    """Return a message if a site name looks like a mistyped TPS number, with suggestions; empty for any other name."""
    code = None if site is None else places.meant_as_tps(site)
    if site is None or code is None or not code.isdigit():
        return ""
    text = _("{value} looks like a TPS number with a mistake, not like the name of a place.")
    return f"{text.format(value=site)} {suggestion(site)}".rstrip()


def doubt(tps_id: str | None) -> str:
    """Return a message if the village of a TPS number is not listed, with the list's date; empty otherwise.

    It is a remark, never a refusal: lists age. A province that is missing from the list raises no doubt.
    """
    info = places.table_info()
    if tps_id is None or info is None or not places.place(tps_id).doubtful:
        return ""
    text = _("{value}: its village is not in the list of villages of {as_of}; please check the number.")
    return f"{text.format(value=tps_id, as_of=info.as_of)} {suggestion(tps_id)}".rstrip()
