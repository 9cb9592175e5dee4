"""The mobile operator, as far as it is known without asking a modem."""

from __future__ import annotations

from sigprobe import places
from sigprobe.result import Operator


def configured_operator(text: str | None) -> Operator:
    """The operator from `probe.operator` or `--operator`: PLMN digits or a name; empty fields when not given."""
    found = places.operator(text)
    return Operator() if found is None else Operator(plmn=found.plmn, name=found.name)
