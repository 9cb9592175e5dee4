"""Answer errors as problem+json with sigprobe's mark."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from sigprobe.protocol import batches

log = logging.getLogger(__name__)


def described(*problems: tuple[int, str]) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of answers that are problems: status and text of each."""
    content = {batches.PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": text, "content": content} for status, text in problems}


_RETRIED: Final = (429, 503)
"""Answers that always say when to come back."""


class ProblemError(Exception):
    """Raised to end a request with a problem of ours."""

    def __init__(
        self, status: int, title: str, detail: str | None = None, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(title)
        self.status = status
        self.title = title
        self.detail = detail
        self.headers = dict(headers or {})


class DatabaseSilentError(ProblemError):
    """Raised when the database has not answered by our deadline."""

    def __init__(self) -> None:
        super().__init__(503, "the database does not answer")


def is_database_fault(error: BaseException) -> bool:
    """Return whether an error is the database's own, and no fault of the request."""
    return isinstance(error, SQLAlchemyError | DatabaseSilentError)


def problem(status: int, title: str, detail: str | None = None, headers: Mapping[str, str] | None = None) -> Response:
    """Return the answer to a request that is refused."""
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


def _answer(request: Request, refusal: Response) -> Response:
    """Return the problem itself for a program; a page for a browser, where one is installed (see `pages`)."""
    if refusal.status_code in _RETRIED and "retry-after" not in refusal.headers:
        refusal.headers["Retry-After"] = str(request.app.state.collector.retry_after.next_s())
    page = getattr(request.app.state, "error_page", None)
    if page is None or not _wants_page(request):
        return refusal
    shown: Response = page(request, refusal)
    return shown


def _wants_page(request: Request) -> bool:
    accepted = request.headers.get("accept", "")
    return "text/html" in accepted and not request.url.path.startswith(("/v1/", "/backend/"))


async def _ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    if isinstance(error, DatabaseSilentError) and request.method != "GET":
        request.app.state.collector.database_failed(error.title)
    return _answer(request, problem(error.status, error.title, error.detail, error.headers))


async def _framework(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _answer(request, problem(error.status_code, str(error.detail), None, error.headers))


async def _validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    # the place and the rule, never the value: a value may be private or hostile
    faults = [f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors()]
    return _answer(request, problem(422, "the request is not valid", "; ".join(faults)[:1000]))


async def _database(request: Request, error: Exception) -> Response:
    # a database that restarts or is full is a reason to wait, not a fault of the batch; nothing was acknowledged
    reason = database_fault(error)
    log.error("the database failed", extra={"reason": reason, "path": request.url.path})
    if request.method == "GET" and _is_slow_read(error):
        # a time limit of readers: it says nothing about batches
        return _answer(request, problem(503, "reading took too long"))
    request.app.state.collector.database_failed(reason)
    return _answer(request, problem(503, "the database is not available"))


def _is_slow_read(error: Exception) -> bool:
    if isinstance(error, PoolTimeoutError):
        return True
    return _code(error) in ("57014", "SQLITE_INTERRUPT")


def database_fault(error: BaseException) -> str:
    """The kind of a database's fault, with its SQLSTATE or SQLite code; never statement, parameters or address."""
    name, code = type(_original(error)).__name__, _code(error)
    return f"{name} {code}" if code else name


def _original(error: BaseException) -> BaseException:
    """Return the driver's own error."""
    return getattr(error, "orig", None) or error


def _code(error: BaseException) -> str | None:
    """Return the driver's SQLSTATE or SQLite code, if it gives one."""
    original = _original(error)
    return getattr(original, "sqlstate", None) or getattr(original, "sqlite_errorname", None)


async def _unexpected(request: Request, _error: Exception) -> Response:
    return _answer(request, problem(500, "an unexpected fault in the collector"))
