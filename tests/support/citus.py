"""A Citus cluster that is there already: `SIGPROBE_TEST_CITUS` is the URL of a database on its coordinator.

Its workers are those that the coordinator knows. Each test gets a database of its own on all machines.
"""

from __future__ import annotations

import os
import uuid
from typing import Final

import pytest

URL: Final = os.environ.get("SIGPROBE_TEST_CITUS", "")
REASON: Final = (
    "needs PostgreSQL with Citus; to run this test, give a coordinator: "
    "SIGPROBE_TEST_CITUS=postgresql://postgres@127.0.0.1:5501/postgres"
)


def new_database() -> str:
    """Return the URL of a fresh database on all machines of the cluster, or skip."""
    if not URL:
        pytest.skip(REASON)
    import psycopg
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    with psycopg.connect(URL, autocommit=True) as connection:
        nodes = connection.execute(
            "SELECT nodename, nodeport, groupid = 0 FROM pg_dist_node WHERE isactive ORDER BY groupid"
        ).fetchall()
    parts = conninfo_to_dict(URL)
    name = f"sigprobe_{uuid.uuid4().hex[:12]}"
    own = (parts.get("host"), int(str(parts.get("port") or 5432)))
    machines = [own, *((host, port) for host, port, first in nodes if not first)]
    for host, port in machines:
        address = {**parts, "host": host, "port": port}
        with psycopg.connect(make_conninfo(**address), autocommit=True) as connection:
            connection.execute("SET citus.enable_create_database_propagation = off")
            connection.execute(f"CREATE DATABASE {name}")
        with psycopg.connect(make_conninfo(**{**address, "dbname": name}), autocommit=True) as connection:
            connection.execute("CREATE EXTENSION citus")
    with psycopg.connect(make_conninfo(**{**parts, "dbname": name}), autocommit=True) as connection:
        connection.execute("SELECT citus_set_coordinator_host(%s, %s)", own)
        for host, port in machines[1:]:
            connection.execute("SELECT citus_add_node(%s, %s)", (host, port))
    before, _, rest = URL.rpartition("/")
    return f"{before}/{name}" + (f"?{rest.partition('?')[2]}" if "?" in rest else "")


def new_distributed_database() -> str:
    """Return the same with the collector's tables, spread over the machines."""
    from sigprobe.collector import store
    from sigprobe.collector.store import distribution

    url = new_database()
    engine = store.open_store(url)
    distribution.distribute(engine, 8)
    engine.dispose()
    return url
