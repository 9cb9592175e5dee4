"""Settings of an `http` target."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from sigprobe.measure.kind import CommonOptions, Estimate
from sigprobe.net.urls import TargetUrl, shown_url
from sigprobe.record.messages import N_, MessageError

Status = Annotated[int, Field(ge=100, le=599)]


LIGHT_KB: Final = 16
"""At most so much of a page at each point of a drive."""


class Options(CommonOptions):
    """Keys of an `http` target. Without `expect_status` 200 to 399 is good; `max_kb` bounds the body read."""

    kind: Literal["http"] = "http"
    url: TargetUrl
    method: Literal["GET", "HEAD"] = "GET"
    expect_status: Status | Annotated[list[Status], Field(min_length=1, max_length=32)] | None = None
    expect_text: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    follow_redirects: bool = False
    max_kb: Annotated[int, Field(ge=1, le=65_536)] = 2048

    @model_validator(mode="after")
    def _has_body(self) -> Options:
        if self.method == "HEAD" and self.expect_text is not None:
            raise MessageError(N_("expect_text needs method: GET, because an answer to HEAD has no body."))
        return self

    def default_timeout_s(self) -> float:
        """Return fifteen seconds."""
        return 15.0

    def configured_address(self) -> str:
        """Return the URL without fragment and query values."""
        return shown_url(self.url)

    def estimate(self) -> Estimate:
        """Return the body's limit, though most pages are far below it."""
        return Estimate(self.timeout_s(), 8_000 + (0 if self.method == "HEAD" else self.max_kb * 1024))

    def lighter(self) -> Self:
        """Return a check of the first part of the page; of all of it if a text is expected."""
        if self.expect_text is not None:
            return self
        return self.model_copy(update={"max_kb": min(self.max_kb, LIGHT_KB)})
