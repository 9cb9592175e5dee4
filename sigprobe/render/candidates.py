"""Draw the remaining causes of an uncertain verdict, the steps that would settle it, and the contacts for them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sigprobe.places.contacts import contact
from sigprobe.verdict import OPERATOR, Verdict
from sigprobe.words.candidate_words import CAUSES, SETTLE
from sigprobe.words.i18n import _

SHOWN: Final = 3
ASK_OPERATOR: Final = frozenset({"operator_outage", "operator_resolver", "sim_inactive", "apn_wrong"})
"""Causes that the operator's care line can confirm."""


def contact_text(verdict: Verdict, operator: str | None, folder: Path | None = None) -> str:
    """Return the operator's care line where the operator is named or can settle a shown cause; empty elsewhere."""
    asked = verdict.owner == OPERATOR or any(c.cause in ASK_OPERATOR for c in verdict.candidates[:SHOWN])
    known = contact(operator, folder)
    if not asked or not known.care:
        return ""
    # one sentence each: a translation needs the whole
    if known.operator is None:
        text = _("Operators' care lines: {care}; complaints: {ministry} (as of {date}).")
    else:
        text = _("Care line of {operator}: {care}; complaints: {ministry} (as of {date}).")
    return text.format(operator=known.operator, care=known.care, ministry=known.ministry or "–", date=known.as_of)


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
