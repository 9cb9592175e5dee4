"""Define the offset from which a clock counts as wrong. One limit for the screen, `doctor` and the verdict."""

from __future__ import annotations

from typing import Final

CLOCK_WRONG_S: Final = 60.0
"""A clock is wrong if it is off by more than this, beyond the uncertainty of the measurement."""

SERVER_DATE_ERROR_S: Final = 240.0
"""Uncertainty of a time that a foreign server states: its own clock may be off, and its answer may be cached."""
