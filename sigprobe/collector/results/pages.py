"""Show the pages: results as they arrive, and one record alone."""

from __future__ import annotations

import re
import uuid
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from sigprobe.collector.results import queries, view
from sigprobe.collector.results.queries import Filters
from sigprobe.collector.web.state import State, state_of
from sigprobe.collector.web.templates_env import link, page_language, render
from sigprobe.collector.web.threads import READ_S, in_thread
from sigprobe.words import i18n

router = APIRouter(include_in_schema=False)

_NUMBER: Final = re.compile(r"[0-9]{1,19}")
PAGE_ROWS: Final = 50
SUMMARY_ROWS: Final = 12
_MOST: Final = 2**63 - 1


@router.get("/")
async def get_results_page(request: Request) -> Response:
    """Newest first, with the overview per operator and TPS; filters and paging by query."""
    state = state_of(request)
    # the markup is rendered in the thread, too: a heavy page must not block the event loop
    return await in_thread(_results_page, request, state, limiter=state.read_threads, deadline_s=READ_S)


def _results_page(request: Request, state: State) -> Response:
    lang = page_language(request)
    _ = i18n.load(lang).gettext
    asked = request.query_params
    filters = Filters(*((asked.get(name) or "").strip() or None for name in ("tps_id", "operator", "outcome")))
    before = int(asked["before"]) if _NUMBER.fullmatch(asked.get("before", "")) else None
    if before is not None and before > _MOST:
        before = None
    rows = queries.list_newest(state.reader, filters, before=before, limit=PAGE_ROWS + 1)
    places, operators = (
        [view.summary(tally, lang, _) for tally in queries.read_tallies(state.reader, scope, limit=SUMMARY_ROWS)]
        for scope in ("place", "operator")
    )
    older = link(request, before=str(rows[PAGE_ROWS - 1].receive_no)) if len(rows) > PAGE_ROWS else None
    return render(
        request,
        "results.html",
        signed_in=True,
        rows=[view.row(stored, lang, _) for stored in rows[:PAGE_ROWS]],
        places=places,
        operators=operators,
        filters=filters,
        filtered=filters != Filters(),
        outcomes=[(name, symbol, _(word)) for name, (symbol, word) in view.OUTCOMES.items()],
        by_place=lambda subject: link(request, tps_id=subject, before=None),
        by_operator=lambda subject: link(request, operator=subject, before=None),
        older=older,
        newest=link(request, before=None) if before is not None else None,
        address=_own_address(request, state),
    )


def _own_address(request: Request, state: State) -> str:
    scheme = "https" if state.settings.secure_cookies else request.url.scheme
    return f"{scheme}://{request.url.netloc}/"


@router.get("/results/{name}")
async def get_record_page(request: Request, name: str) -> Response:
    """Show all values of one record, with its stored JSON."""
    state = state_of(request)
    return await in_thread(_record_page, request, state, name, limiter=state.read_threads, deadline_s=READ_S)


def _record_page(request: Request, state: State, name: str) -> Response:
    try:
        stored = queries.find_result(state.reader, str(uuid.UUID(name)))
    except ValueError:
        stored = None
    if stored is None:
        return render(request, "missing.html", status=404, signed_in=True)
    lang = page_language(request)
    return render(
        request,
        "record.html",
        signed_in=True,
        row=view.row(stored, lang, i18n.load(lang).gettext),
        probe_id=stored.probe_id,
        doubled=queries.has_double(state.reader, stored),
        json=view.pretty_json(stored.line),
    )
