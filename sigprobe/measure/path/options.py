"""Options and inputs of the `path` check."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from sigprobe.measure.kind import CommonOptions, Estimate
from sigprobe.measure.path.data import MAX_BYTES, MAX_S

NAME: Final = "path"
SECOND_LOOK_S: Final = 16.0
"""How much longer a walk may take where something failed."""


class Aim(BaseModel):
    """What a configured target is about, in plain values: enough to ask whether the way to it is open."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    kind: str
    host: str
    port: int = 0
    tls: bool = False


class Seen(BaseModel):
    """What a check of this run has already brought: a failure code, or None when its target answered well."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    code: str | None = None
    address: str | None = None
    lossy: bool = False


class Options(CommonOptions):
    """What the run gives the path; nothing of it is written by hand."""

    kind: Literal["path"] = "path"
    name: Literal["path"] = "path"
    references: Annotated[tuple[str, ...], Field(max_length=16)] = ()
    collectors: tuple[str, ...] = ()
    targets: tuple[Aim, ...] = ()
    resolvers: tuple[str, ...] = ()
    seen: tuple[Seen, ...] = ()

    def default_timeout_s(self) -> float:
        """Under five seconds, and the second look where something failed."""
        return MAX_S + SECOND_LOOK_S

    def configured_address(self) -> str:
        """Return the word for the gateway in use, where every path begins."""
        return "default-gateway"

    def estimate(self) -> Estimate:
        """Its own limits while nothing fails."""
        return Estimate(min(MAX_S, self.timeout_s()), MAX_BYTES)
