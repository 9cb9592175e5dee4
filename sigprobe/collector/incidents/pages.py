"""Show incidents: the list, open ones first, and one with its timeline and evidence."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from sigprobe.collector.incidents import api, queries, wording
from sigprobe.collector.web.problems import ProblemError
from sigprobe.collector.web.state import State, state_of
from sigprobe.collector.web.templates_env import link, page_language, render
from sigprobe.collector.web.threads import READ_S, in_thread
from sigprobe.words import i18n

router = APIRouter(include_in_schema=False)

PAGE_ROWS: Final = 50


@router.get("/insiden")
async def get_incidents_page(request: Request) -> Response:
    """Show open incidents, then those that have ended, newest first."""
    state = state_of(request)
    return await in_thread(_list_page, request, state, limiter=state.read_threads, deadline_s=READ_S)


def _list_page(request: Request, state: State) -> Response:
    lang = page_language(request)
    _ = i18n.load(lang).gettext
    word = request.query_params.get("before")
    try:
        before = None if word is None else api.decode(word)
    except ProblemError:
        before = None
    open_ones = [] if before else queries.list_incidents(state.reader, state="open", limit=queries.MOST_OPEN)
    ended = queries.list_incidents(state.reader, state="ended", before=before, limit=PAGE_ROWS + 1)
    older = link(request, before=api.encode(ended[PAGE_ROWS - 1])) if len(ended) > PAGE_ROWS else None
    return render(
        request,
        "incidents.html",
        signed_in=True,
        open_ones=[wording.row(incident, lang, _) for incident in open_ones],
        ended=[wording.row(incident, lang, _) for incident in ended[:PAGE_ROWS]],
        count=i18n.number(len(open_ones), lang=lang),
        older=older,
        newest=link(request, before=None) if before else None,
    )


@router.get("/insiden/{name}")
async def get_incident_page(request: Request, name: str) -> Response:
    """Show one incident: is it real, whose is it, what speaks against it."""
    state = state_of(request)
    return await in_thread(_one_page, request, state, name, limiter=state.read_threads, deadline_s=READ_S)


def _one_page(request: Request, state: State, name: str) -> Response:
    lang = page_language(request)
    _ = i18n.load(lang).gettext
    incident = queries.find_incident(state.reader, name)
    if incident is None:
        return render(request, "missing_incident.html", status=404, signed_in=True)
    return render(
        request,
        "incident.html",
        signed_in=True,
        row=wording.row(incident, lang, _),
        ended=incident.ended_at is not None,
        reasons_for=wording.reasons_for(incident, lang, _),
        reasons_against=wording.reasons_against(incident, lang, _),
        alternatives=wording.alternatives(incident, _),
        timeline=wording.timeline(incident, lang, _),
        steps=wording.steps(incident, queries.list_changes(state.reader, incident.id), lang, _),
        results=incident.evidence["results"],
    )
