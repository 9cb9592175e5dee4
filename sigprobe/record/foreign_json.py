"""Parse JSON from external sources: another program, a network, a file that may be damaged."""

from __future__ import annotations

import json
from typing import Any


def read_json(text: bytes | str) -> Any:
    """Parse one JSON value. Raises ValueError for anything else, and nothing but ValueError.

    Bytes must be UTF-8. NaN and Infinity are not JSON. Excessive nesting and numbers of thousands of digits are
    refused.
    """
    try:
        return json.loads(text if isinstance(text, str) else text.decode("utf-8"), parse_constant=_refuse)
    except RecursionError as error:
        raise TooDeepError("nested too deeply") from error


def read_object(text: bytes | str) -> dict[str, Any]:
    """Parse a JSON object. Raises ValueError for anything else."""
    found = read_json(text)
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - one kind of error for any text that is no object
    return found


def object_or_none(text: bytes | str) -> dict[str, Any] | None:
    """Parse a JSON object; None for anything else."""
    try:
        return read_object(text)
    except ValueError:
        return None


class TooDeepError(ValueError):
    """JSON that is nested too deeply."""


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is not JSON")
