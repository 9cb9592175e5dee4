"""Define the parts of a measurement kind: options, deadline, data estimate and result.

A kind is one package: `options.py` has its `Options`, `data.py` the typed dict of its numbers, and `kind.py` its
`KIND` with the function `measure(options, context) -> Measured`. A target that fails is a `Measured`. An exception
means that the check could not be run. `sigprobe.record.kinds` describes the kind for people.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from sigprobe.net.limits import Context
from sigprobe.record.result import Failure, Outcome

MAX_TIMEOUT_MS: Final = 600_000

Name = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


@dataclass(frozen=True, slots=True)
class Estimate:
    """Upper limits of a check: seconds, and payload bytes of both directions."""

    seconds: float
    bytes: int


class CommonOptions(BaseModel):
    """Keys that every kind takes. A kind adds its own, with their bounds, in its `options.py`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)

    kind: str
    name: Name
    timeout_ms: Annotated[int, Field(ge=100, le=MAX_TIMEOUT_MS)] | None = None

    def default_timeout_s(self) -> float:
        """Return the bound of the whole check in seconds when `timeout_ms` is not given."""
        raise NotImplementedError

    def configured_address(self) -> str:
        """Return the address for `target.address`: as configured, without userinfo and query values."""
        raise NotImplementedError

    def estimate(self) -> Estimate:
        """Return the upper limits of the check, for the first line on the screen and for the data budget."""
        raise NotImplementedError

    def lighter(self) -> Self:
        """Return the same check with less data, for a drive that repeats it every few seconds."""
        return self

    def timeout_s(self) -> float:
        """Return the bound of the whole check in seconds."""
        return self.default_timeout_s() if self.timeout_ms is None else self.timeout_ms / 1000


@dataclass(frozen=True, slots=True)
class Measured:
    """Result of one check. `data` holds every key of the kind's typed dict; unknown values are None."""

    outcome: Outcome
    data: Mapping[str, Any]
    failure: Failure | None = None
    address_used: str | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """One entry of the registry. `data` is the typed dict its numbers follow: the JSON Schema comes from it."""

    name: str
    version: int
    options: type[CommonOptions]
    data: type[Any]
    measure: Callable[[Any, Context], Measured]
    exclusive: bool = False
    """True when the check fills the link and so must run alone, after the latency checks."""
    configurable: bool = True
    """False when the check runs by itself in every test and may not be written among the targets."""
