"""Detect a protection service's challenge page in place of a site.

The site itself may work: a check cannot pass the page, and must not report the service as failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_MARKS: Final = (
    ("cf-mitigated", ("challenge",)),
    ("x-amzn-waf-action", ("challenge", "captcha")),
    ("x-vercel-mitigated", ("challenge",)),
    ("x-dd-b", ("1", "2")),  # DataDome
)


def challenge(headers: Mapping[str, str] | None) -> str | None:
    """Return the header that marks an answer as such a page, as `name: value`; None for any other answer."""
    for name, values in _MARKS:
        value = "" if headers is None else headers.get(name, "")
        if value.strip().lower() in values:
            return f"{name}: {value.strip()[:40]}"
    return None
