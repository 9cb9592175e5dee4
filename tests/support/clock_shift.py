"""Start a program that sees another time of day."""

from __future__ import annotations


def shifted_clock(shift: str) -> dict[str, str]:
    """Return the variables that give a program another time of day; monotonic clocks stay as they are.

    `shift` is libfaketime's: `+600s`, `-10y`, `@2009-01-01 00:00:00`. The program `faketime` is no help here: it stays
    as the parent, and a signal that ends it does not reach the program itself.
    """
    return {
        "LD_PRELOAD": "/usr/$LIB/faketime/libfaketimeMT.so.1",
        "FAKETIME": shift,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",
        "DONT_FAKE_MONOTONIC": "1",
    }
