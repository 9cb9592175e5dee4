"""The pages: results as they arrive, and one record by itself."""

from __future__ import annotations

import uuid
from typing import Final

from anyio import to_thread
from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from sigprobe.collector import store
from sigprobe.collector.access.login import signed_in
from sigprobe.collector.results import view
from sigprobe.collector.results.api import make_cursor, read_cursor
from sigprobe.collector.store import Filters, StoredResult, Tally
from sigprobe.collector.web.problems import ProblemError
from sigprobe.collector.web.state import State, state_of
from sigprobe.collector.web.templates_env import link, page_language, render
from sigprobe.words import i18n

router = APIRouter(include_in_schema=False)

PAGE_ROWS: Final = 50
SUMMARY_ROWS: Final = 12


@router.get("/")
async def get_results_page(request: Request) -> Response:
    """Newest first, with the overview per operator and TPS; filters and paging by query."""
    state = state_of(request)
    if not await signed_in(request, state):
        return RedirectResponse("/login", 303)
    lang = page_language(request)
    _ = i18n.load(lang).gettext
    asked = request.query_params
    filters = Filters(*((asked.get(name) or "").strip() or None for name in ("tps_id", "operator", "outcome")))
    try:
        before = read_cursor(asked["before"]) if "before" in asked else None
    except ProblemError:
        before = None
    rows, places, operators = await to_thread.run_sync(_read, state, filters, before, limiter=state.read_threads)
    older = link(request, before=make_cursor(rows[PAGE_ROWS - 1].receive_no)) if len(rows) > PAGE_ROWS else None
    return render(
        request,
        "results.html",
        signed_in=True,
        rows=[view.row(stored, lang, _) for stored in rows[:PAGE_ROWS]],
        places=[view.summary(tally, lang, _) for tally in places],
        operators=[view.summary(tally, lang, _) for tally in operators],
        filters=filters,
        filtered=filters != Filters(),
        outcomes=[(name, symbol, _(word)) for name, (symbol, word) in view.OUTCOMES.items()],
        by_place=lambda subject: link(request, tps_id=subject, before=None),
        by_operator=lambda subject: link(request, operator=subject, before=None),
        older=older,
        newest=link(request, before=None) if before is not None else None,
        address=_own_address(request, state),
    )


def _read(state: State, filters: Filters, before: int | None) -> tuple[list[StoredResult], list[Tally], list[Tally]]:
    return (
        store.list_newest(state.engine, filters, before=before, limit=PAGE_ROWS + 1),
        store.read_tallies(state.engine, "place", limit=SUMMARY_ROWS),
        store.read_tallies(state.engine, "operator", limit=SUMMARY_ROWS),
    )


def _own_address(request: Request, state: State) -> str:
    scheme = "https" if state.settings.secure_cookies else request.url.scheme
    return f"{scheme}://{request.url.netloc}/"


@router.get("/results/{name}")
async def get_record_page(request: Request, name: str) -> Response:
    """Everything about one record, with its stored JSON."""
    state = state_of(request)
    if not await signed_in(request, state):
        return RedirectResponse("/login", 303)
    stored = None
    try:
        wanted = str(uuid.UUID(name))
    except ValueError:
        wanted = None
    if wanted is not None:
        stored = await to_thread.run_sync(store.find_result, state.engine, wanted, limiter=state.read_threads)
    if stored is None:
        return render(request, "missing.html", status=404, signed_in=True)
    lang = page_language(request)
    return render(
        request,
        "record.html",
        signed_in=True,
        row=view.row(stored, lang, i18n.load(lang).gettext),
        probe_id=stored.probe_id,
        json=view.pretty_json(stored.line),
    )
