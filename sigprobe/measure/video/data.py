"""Shapes of the numbers that a `video` check records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from typing_extensions import TypedDict

if TYPE_CHECKING:
    pass


Ended = Literal["media_cap", "media_end", "data_cap", "time_cap"]


class RungData(TypedDict):
    """One rung that was used: what it was announced with, and what came of it. `failed` counts requests."""

    bandwidth_bps: int | None
    resolution: str | None
    segments: int
    media_s: float
    bytes_received: int
    failed: int
