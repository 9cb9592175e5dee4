"""Kind `web`: fetch a page with its resources on the same host, as a browser would.

The page first, then its resources over a few connections side by side, each kept open. The resources are those that
the HTML names (`page_parts.py`): no script is run and no style sheet is read, so what those would ask for in
turn is not counted. Other hosts are counted and never asked.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from sigprobe.measure.kind import Kind, Measured
from sigprobe.measure.web.data import ResourceData, WebData, empty_data
from sigprobe.measure.web.options import MB, Options
from sigprobe.net import http_body, http_client, sockets
from sigprobe.net.limits import Context, Progress
from sigprobe.net.urls import same_host, shown_url
from sigprobe.record.result import Failure, Outcome

if TYPE_CHECKING:
    from sigprobe.measure.web.page_parts import Part

MAX_LISTED: Final = 20
MAX_SHOWN_URL: Final = 300


def measure(
    options: Options,
    context: Context,
    *,
    resolve: http_client.Resolve = sockets.look_up,
    clock: Callable[[], float] = time.monotonic,
) -> Measured:
    """Fetch the page and its resources. A server that fails in any way is a result with the numbers known so far.

    No token and no header of the environment is sent, and no proxy is used. Cookies are sent back within the chain of
    redirects that set them, and dropped at its end.
    """
    data = empty_data()
    if context.stop.is_set():
        return Measured(Outcome.SKIPPED, data, Failure("interrupted"))
    if context.budget.exhausted():
        return Measured(Outcome.SKIPPED, data, Failure("data_budget"))
    context.progress(Progress("page", None, None, 0.0))
    byte_budget = http_client.ByteBudget(options.max_mb * MB, context.budget)
    client = http_client.Client(context, byte_budget, accept_encoding="gzip, deflate", resolve=resolve, clock=clock)
    with http_client.Connection(client) as connection:
        page = connection.get(options.url, max_bytes=options.max_mb * MB)
        http_client.fill_first(data, page, connection.trace)
        data["page_bytes"] = page.bytes_received if page.status is not None else None
        data["page_compressed"] = None if page.status is None else page.encoding is not None
        http_client.fill_totals(data, [connection], page.bytes_received)
        if page.code is None and not page.cut:
            data["page_ms"] = http_client.since(page.started_s, page.ended_s)
        used = data["address"]
        failure = http_client.failure_of(page, byte_budget)
        if failure is not None:
            left_out = failure.code in ("interrupted", "data_budget", "data_cap")
            outcome = Outcome.SKIPPED if left_out else Outcome.FAILED
            if failure.code in ("redirect_elsewhere", "http_challenge") or page.cut:
                outcome = Outcome.DEGRADED  # its server has answered
            data["total_failure"] = failure.code
            return Measured(outcome, data, failure, used)
        content = http_body.decoded(page.body, page.encoding or "")
        if content is None or http_body.is_packed(content):
            # whole, but what it is made of is not known
            data["total_failure"] = "http_unreadable"
            return Measured(
                Outcome.DEGRADED,
                data,
                Failure("http_unreadable", f"Content-Encoding {page.encoding or 'missing'}"[:80]),
                used,
            )
        own, others = _parts(page, content, context)
        chosen = own[: options.max_resources]
        data["other_host_resources"] = len(others)
        data["other_hosts"] = len({urlsplit(part.url).hostname for part in others})
        crew = _Crew(chosen, client, options.max_mb * MB)
        crew.work(connection, min(options.connections, len(chosen)))
    _fill_parts(data, page, own, crew.done, byte_budget)
    http_client.fill_totals(
        data, crew.connections, page.bytes_received + sum(got.bytes_received for _, got in crew.done)
    )
    return _outcome(data, client, len(own) > len(chosen), used)


def _parts(page: http_client.Fetched, content: bytes, context: Context) -> tuple[list[Part], list[Part]]:
    """Return the page's resources on its own host, and on others."""
    from sigprobe.measure.web.page_parts import parts_of

    kind = page.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind not in ("", "text/html", "application/xhtml+xml"):
        return [], []
    text = http_body.text_of(content, page.headers.get("Content-Type", ""))
    found = parts_of(text, page.url, stop=lambda: context.deadline.expired() or context.stop.is_set())
    own = [part for part in found if same_host(part.url, page.url) and part.url != page.url]
    others = [part for part in found if not same_host(part.url, page.url)]
    return own, others


class _Crew:
    """Fetch resources from one list over a few connections until it is empty, or data or time are used up."""

    def __init__(self, parts: Sequence[Part], client: http_client.Client, max_bytes: int) -> None:
        self._waiting: queue.SimpleQueue[Part] = queue.SimpleQueue()
        for part in parts:
            self._waiting.put(part)
        self._total = len(parts)
        self._client = client
        self._max_bytes = max_bytes
        self._errors: list[Exception] = []
        self._lock = threading.Lock()
        self.done: list[tuple[Part, http_client.Fetched]] = []
        self.connections: list[http_client.Connection] = []

    def work(self, first: http_client.Connection, count: int) -> None:
        """Fetch everything over `count` connections, including the page's own. Re-raises an internal error."""
        self.connections = [first, *(http_client.Connection(self._client) for _ in range(count - 1))]
        threads = [
            threading.Thread(target=self._serve, args=(one,), daemon=True, name="web") for one in self.connections[1:]
        ]
        for thread in threads:
            thread.start()
        self._serve(first)
        for thread in threads:
            thread.join()
        for one in self.connections[1:]:
            one.close()
        if self._errors:
            raise self._errors[0]

    def _serve(self, connection: http_client.Connection) -> None:
        try:
            while not self._over():
                part = self._waiting.get_nowait()
                got = connection.get(part.url, max_bytes=self._max_bytes, keep=False)
                with self._lock:
                    self.done.append((part, got))
                    fraction = len(self.done) / self._total
                self._client.context.progress(Progress("page", None, None, fraction))
        except queue.Empty:
            return
        except Exception as error:  # noqa: BLE001 - handed to the caller, who raises it; Ctrl-C waits for nobody
            self._errors.append(error)

    def _over(self) -> bool:
        client = self._client
        stopped = client.context.stop.is_set() or client.context.deadline.expired()
        return bool(self._errors) or stopped or client.byte_budget.exhausted()


def _fill_parts(
    data: dict[str, Any],
    page: http_client.Fetched,
    own: Sequence[Part],
    done: Sequence[tuple[Part, http_client.Fetched]],
    byte_budget: http_client.ByteBudget,
) -> None:
    rows = [(_row(part, got, byte_budget), got) for part, got in done]
    failed = [row for row, _ in rows if row["failure"] is not None]
    ranked = sorted((row for row, _ in rows), key=lambda row: (row["failure"] is None, -(row["ms"] or 0.0)))
    data.update(
        resources_found=len(own),
        resources_fetched=len(rows) - len(failed),
        resources_failed=len(failed),
        resources_left_out=len(own) - len(rows),
        resources_compressed=sum(1 for row, _ in rows if row["compressed"]),
        resources=ranked[:MAX_LISTED],
    )
    ends = [got.ended_s for _, got in rows if got.ended_s is not None]
    # what the server answered whole is finished, whatever it said
    if len(rows) == len(own) and all(row["failure"] in (None, "http_status") for row, _ in rows):
        data["total_ms"] = http_client.since(page.started_s, max([page.ended_s or page.started_s, *ends]))


def _row(part: Part, got: http_client.Fetched, byte_budget: http_client.ByteBudget) -> ResourceData:
    failure = http_client.failure_of(got, byte_budget)
    return {
        "url": shown_url(part.url)[:MAX_SHOWN_URL],
        "use": part.use,
        "status_code": got.status,
        "ms": http_client.since(got.started_s, got.ended_s) if got.code is None and not got.cut else None,
        "bytes_received": got.bytes_received,
        "compressed": None if got.status is None else got.encoding is not None,
        "failure": None if failure is None else failure.code,
    }


def _outcome(data: dict[str, Any], client: http_client.Client, capped: bool, used: str | None) -> Measured:
    """Return the outcome. The resources requested are enough, even if the page has more."""
    context = client.context
    failed, left_out = data["resources_failed"], data["resources_left_out"]
    data["ended"] = "resource_cap" if capped else "complete"
    if not failed and not left_out:
        return Measured(Outcome.OK, data, None, used)
    code = "resource_cap" if capped else "page_incomplete"
    if context.stop.is_set():
        data["ended"], code = None, "interrupted"
    elif client.byte_budget.exhausted():
        data["ended"], code = "data_cap", client.byte_budget.reason()
    elif context.deadline.expired():
        data["ended"], code = "time_cap", "timeout"
    if data["total_ms"] is None:
        data["total_failure"] = code
    if code == "interrupted":
        return Measured(Outcome.SKIPPED, data, Failure(code), used)
    if code == "resource_cap" and not failed:
        return Measured(Outcome.OK, data, None, used)
    shown = code if code in ("data_budget", "data_cap") else "page_incomplete"
    detail = f"{failed} failed, {left_out} left out, of {data['resources_found']} resources"
    return Measured(Outcome.DEGRADED, data, Failure(shown, detail), used)


KIND: Final = Kind(
    "web",
    1,
    Options,
    WebData,
    measure,
    exclusive=True,
)
