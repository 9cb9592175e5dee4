"""Draw the remaining causes of an uncertain verdict, and the steps that would settle it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sigprobe.places.contacts import contact
from sigprobe.verdict import Verdict
from sigprobe.words.candidate_words import CAUSES, SETTLE
from sigprobe.words.i18n import _

SHOWN: Final = 3


def candidates_text(verdict: Verdict, operator: str | None, folder: Path | None = None) -> str:
    """Return the likeliest causes in order and the next step, in one or two sentences; empty without causes."""
    shown = verdict.candidates[:SHOWN]
    if not shown:
        return ""
    known = contact(operator, folder)
    causes = [_(CAUSES[c.cause]) for c in shown if c.cause in CAUSES]
    steps = dict.fromkeys(c.settle for c in shown)
    told = [_(SETTLE[step]).format(ussd=known.ussd) for step in steps if step in SETTLE]
    text = _("Possible: {causes}.").format(causes=_(" or ").join(_commas(causes)))
    return text + (" " + _("To find out: {steps}.").format(steps=_(", then ").join(told)) if told else "")


def _commas(items: list[str]) -> list[str]:
    return [", ".join(items[:-1]), items[-1]] if len(items) > 1 else items
