"""Errors that say they are ours: problem+json with the mark, for everything this server refuses or fails at."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from sigprobe.protocol import batches

log = logging.getLogger(__name__)


class ProblemError(Exception):
    """Ends a request with a problem of ours."""

    def __init__(
        self, status: int, title: str, detail: str | None = None, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(title)
        self.status = status
        self.title = title
        self.detail = detail
        self.headers = dict(headers or {})


def problem(status: int, title: str, detail: str | None = None, headers: Mapping[str, str] | None = None) -> Response:
    """The answer to a request that is refused."""
    return Response(
        batches.problem_body(status, title, detail),
        status,
        {"Cache-Control": "no-store", **(headers or {})},
        media_type=batches.PROBLEM_TYPE,
    )


def install(app: FastAPI) -> None:
    """Answer every error of the app in our own form, those of the framework too."""
    app.add_exception_handler(ProblemError, _ours)
    app.add_exception_handler(HTTPException, _framework)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(SQLAlchemyError, _database)
    app.add_exception_handler(Exception, _unexpected)


async def _ours(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    return problem(error.status, error.title, error.detail, error.headers)


async def _framework(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem(error.status_code, str(error.detail), None, error.headers)


async def _validation(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    # the place and the rule, never the value: a value may be anybody's, and anything
    faults = [f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors()]
    return problem(422, "the request is not valid", "; ".join(faults)[:1000])


async def _database(_request: Request, error: Exception) -> Response:
    # a database that restarts or is full is a reason to wait, not a fault of the batch; nothing was acknowledged
    log.error("the database failed: %s", type(getattr(error, "orig", None) or error).__name__)
    return problem(503, "the database is not available", None, {"Retry-After": "10"})


async def _unexpected(_request: Request, _error: Exception) -> Response:
    return problem(500, "an unexpected fault in the collector")
