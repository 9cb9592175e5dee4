"""No query walks a table that grows, with 100,000 rows in each: as the engine's own plan says."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import Connection, Engine, event, insert, text

from sigprobe.collector.access import queries as access_queries
from sigprobe.collector.access.reader import all_routes
from sigprobe.collector.incidents import schema as incident_tables
from sigprobe.collector.ingest import queries as ingest_queries
from sigprobe.collector.ingest.records import sort_lines
from sigprobe.collector.store import schema
from sigprobe.record.result import Clock, Result, Tags
from tests.support.collector_client import Collector, make_result, settle

NOW = datetime(2029, 2, 14, 7, 6, tzinfo=UTC)
ROWS = 100_000
PAGES = (
    "/",
    "/?tps_id=0000000000007",
    "/?tps_id=none",
    "/?operator=5101",
    "/?operator=none",
    "/?outcome=failed",
    "/?outcome=none",
    "/?operator=5101&outcome=failed",
    "/?operator=op1&outcome=none",
    "/?tps_id=none&operator=none&outcome=ok",
    "/?tps_id=s7&operator=op1",
    "/v1/results",
    "/v1/results?limit=1000",
    "/v1/results?tps_id=0000000000007",
    "/v1/results?tps_id=none&cursor=MTox",
    "/insiden",
    "/v1/incidents",
    "/healthz",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/login",
    "/login?once=none",
)
GROWING = "results|tallies|batches|incidents|incident_changes"


def fill(connection: Connection) -> None:
    """Rows of many TPS, sites and boots, two operators and two outcomes, a batch each, and a tally for each TPS."""
    sqlite = connection.dialect.name == "sqlite"
    numbers = (
        f"WITH RECURSIVE s(n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM s WHERE n < {ROWS}) "
        if sqlite
        else f"WITH s(n) AS (SELECT generate_series(2, {ROWS})) "
    )
    uuid, pad = (
        ("printf('%032x', n)", "printf('%013d', {})")
        if sqlite
        else ("lpad(to_hex(n), 32, '0')::uuid", "lpad(({})::text, 13, '0')")
    )
    made = {
        "id": uuid,
        "receive_no": "n" if sqlite else f"n + {2 * schema.FIRST_ARRIVAL}",
        "seq": "n",
        "tps_id": pad.format("n % 7000"),
        "site": "CASE WHEN n % 9 = 0 THEN 's' || (n % 900) END",
        "operator_plmn": "'510' || (n % 2)",
        "operator_name": "'op' || (n % 2)",
        "outcome": "CASE WHEN n % 2 = 0 THEN 'ok' ELSE 'failed' END",
        "boot_id": "'boot-' || (n % 500)",
        "since_boot_s": "n % 1000",
        "batch_id": uuid,
        "place": "0",
    }
    names = [column.name for column in schema.results.columns]
    values = ", ".join(made.get(name, f"results.{name}") for name in names)
    connection.execute(
        text(f"INSERT INTO results ({', '.join(names)}) {numbers}SELECT {values} FROM s, results WHERE results.seq = 1")
    )
    step = "datetime('2029-02-14', '+' || n || ' seconds')" if sqlite else "now() + n * interval '1 second'"
    connection.execute(
        text(
            "INSERT INTO tallies (scope, subject, outcome, count, last_received_at) "
            f"{numbers}SELECT 'place', {pad.format('n')}, 'ok', 1, {step} FROM s"
        )
    )
    ids = f"unhex({uuid})" if sqlite else f"uuid_send({uuid})"
    connection.execute(
        text(
            "INSERT INTO batches (id, carrier, received_at, n, ids, published_no, summed) "
            f"{numbers}SELECT {uuid}, 'laptop-1', {step}, 1, {ids}, n, true FROM s"
        )
    )
    connection.execute(text("UPDATE receive_order SET last_no = :last"), {"last": ROWS})


def fill_incidents(connection: Connection) -> None:
    """Add ended incidents, a few open ones, and maintenance that is over."""
    many = 20_000
    began = datetime(2025, 1, 1, tzinfo=UTC)
    day = timedelta(days=1)
    lists = ("parts_failing", "parts_working", "results", "timeline")
    evidence = {"tokens": 9, "probes": 9, "others": {}} | {name: [] for name in lists}
    found = {
        **{"aspect": "works", "kind": "operator", "plmn": "51010", "target": None, "confidence": 0.9, "silent": False},
        **{
            "late": False,
            "stations": 9,
            "failing": 8,
            "evidence": json.dumps(evidence),
            "last_change": 1,
            "changed_at": NOW,
        },
    }
    connection.execute(
        insert(incident_tables.incidents),
        [
            {
                **found,
                "id": str(uuid.UUID(int=n)),
                "area": f"{n % 9999:04}",
                "since": began + n * timedelta(minutes=1),
                "found_at": began + n * timedelta(minutes=1),
                "ended_at": began + n * timedelta(minutes=9) if n > 20 else None,
            }
            for n in range(many)
        ],
    )
    change = {"number": 1, "at": NOW, "what": "found", "body": "{}"}
    connection.execute(
        insert(incident_tables.changes), [{**change, "incident_id": str(uuid.UUID(int=n))} for n in range(many)]
    )
    work = {"plmn": None, "target": None, "person": "a", "reason": "b", "announced_at": NOW, "ended_at": None}
    connection.execute(
        insert(incident_tables.maintenance),
        [
            {
                **work,
                "id": str(uuid.UUID(int=n)),
                "area": "",
                "begins_at": NOW - (n + 99) * day,
                "ends_at": NOW - n * day,
            }
            for n in range(many // 10)
        ],
    )


Asked = dict[str, Any]


@contextmanager
def listening() -> Iterator[Asked]:
    """Every statement that any engine is asked meanwhile, with the parameters of its last time.

    Readers have an engine of their own beside the one for writing.
    """
    asked: Asked = {}

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        # a statement for many rows at once has a list of parameters where the driver runs it once for each
        asked[statement] = parameters[0] if many and isinstance(parameters, list) and parameters else parameters

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def plan(connection: Connection, statement: str, parameters: Any = None) -> str:
    """How the engine would run a statement."""
    words = "EXPLAIN QUERY PLAN " if connection.dialect.name == "sqlite" else "EXPLAIN "
    return "\n".join(str(row[-1]) for row in connection.exec_driver_sql(words + statement, parameters or None))


GROWN = rf"(results_first|{GROWING})"


def walks(found: str, statement: str) -> bool:
    """Whether a plan reads a whole table, or a whole index of it without a limit.

    The indexes of what waits for the worker, and of open incidents, are no such indexes: they hold nothing else.
    """
    found = re.sub(r"[^\n]*\b(?:batches_un(?:published|summed)|incidents_open)\b[^\n]*", "", found)
    if re.search(rf"SCAN {GROWN}(?! USING)|Seq Scan on {GROWN}\b", found):
        return True
    whole = (
        rf"SCAN {GROWN} USING"
        rf"|(?:Index|Index Only|Bitmap Heap) Scan[^\n]* on {GROWN}\b(?![^\n]*\n\s+(?:Index|Recheck) Cond)"
    )
    return bool(re.search(whole, found)) and "LIMIT" not in statement.upper()


def timed(seq: int, offset_ms: float | None) -> Result:
    """A record of a boot that is stored many times over."""
    clock = Clock(700_000_000_000, None, None, offset_ms, 50.0)
    return make_result(seq, boot_id="boot-7", tags=Tags(tps_id="0000000000007", clock=clock))


def use_everything(collector: Collector, name: str) -> None:
    """Call each page and endpoint, and each way in which records, tokens and sessions change."""
    client, engine = collector.client, collector.engine
    some = str(uuid.UUID(int=7))
    for path in (*PAGES, f"/results/{name}", "/results/none", f"/insiden/{some}", f"/v1/incidents/{some}"):
        client.get(path, headers={"Authorization": f"Bearer {collector.admin}"})
    assert client.post("/login", data={"token": collector.admin}).status_code == 303
    for path in PAGES:
        assert client.get(path).status_code in (200, 303, 401, 403), path
    assert client.post("/logout").status_code == 303
    client.get("/login", params={"once": access_queries.create_once(engine)})
    first, anchor = timed(ROWS + 1, None), timed(ROWS + 2, 0.0)
    for batch in ((first,), (anchor,), (first, anchor), (make_result(ROWS + 3, id=first.id),)):
        collector.send(*batch)
    settle(engine)
    access_queries.list_tokens(engine)
    access_queries.revoke_token(engine, "laptop-1")


@pytest.mark.slow
def test_no_query_walks_a_table_that_grows(engine: Engine, make_collector: Callable[..., Collector]) -> None:
    """Each statement behind pages, interface, health, ingest and access finds its rows by an index."""
    one = make_result()
    rows = sort_lines([one.to_line()]).rows
    ingest_queries.add_results(engine, rows, carrier="laptop-1", token_id=None, now=NOW - timedelta(days=1))
    settle(engine)
    with engine.execution_options(write=True).begin() as connection:
        fill(connection)
        fill_incidents(connection)
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql("ANALYZE")
    collector = make_collector(engine, trust_clock=True)
    with listening() as asked:
        use_everything(collector, one.id)
    grown = {s: p for s, p in asked.items() if re.search(rf"\b({GROWING})\b", s) and "PARTITION" not in s}
    assert len(grown) > 12, "the control: statements were seen"
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM results")).scalar_one() > ROWS
        waiting = (
            "SELECT id FROM batches WHERE NOT summed"
            if engine.dialect.name != "sqlite"
            else ("SELECT id FROM batches WHERE summed = 0 ORDER BY published_no")
        )
        assert "batches_unsummed" in plan(connection, waiting), "the worker would walk all batches"
        for control in ("SELECT id FROM results WHERE carrier = 'none'", "SELECT sum(count) FROM tallies"):
            assert walks(plan(connection, control), control), control
        for statement, parameters in grown.items():
            found = plan(connection, statement, parameters)
            assert not walks(found, statement), f"{statement}\n{found}"


def test_every_route_is_asked(make_collector: Callable[..., Collector]) -> None:
    """A page or endpoint that comes later must be called here too."""
    app = make_collector().client.app
    assert isinstance(app, FastAPI)
    asked = {path.partition("?")[0] for path in PAGES} | {"/results/{name}", "/logout", "/v1/batches"}
    asked |= {"/insiden/{name}", "/v1/incidents/{name}"}
    others = {path for _, path in all_routes(app.routes)} - asked
    assert {path for path in others if not path.startswith(("/backend/", "/static"))} == set()
