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
    """A configured target in plain values, enough to test the route to it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    kind: str
    host: str
    port: int = 0
    tls: bool = False


class Seen(BaseModel):
    """The result of an earlier check of this run: a failure code, or None if its target answered."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    code: str | None = None
    address: str | None = None
    lossy: bool = False


class Options(CommonOptions):
    """The inputs of the path check. The run sets them; a person cannot."""

    kind: Literal["path"] = "path"
    name: Literal["path"] = "path"
    references: Annotated[tuple[str, ...], Field(max_length=16)] = ()
    collectors: tuple[str, ...] = ()
    targets: tuple[Aim, ...] = ()
    resolvers: tuple[str, ...] = ()
    seen: tuple[Seen, ...] = ()

    def default_timeout_s(self) -> float:
        """Return under five seconds, and the time of a second look after a failure."""
        return MAX_S + SECOND_LOOK_S

    def configured_address(self) -> str:
        """Return the word for the gateway in use, where every path begins."""
        return "default-gateway"

    def estimate(self) -> Estimate:
        """Return the limits of a walk without a failure."""
        return Estimate(min(MAX_S, self.timeout_s()), MAX_BYTES)
