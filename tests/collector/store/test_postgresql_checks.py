"""What lies before the server, and what its COMMIT means, is checked at the start."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from sigprobe.collector import store
from tests.collector.backup.test_sqlite_file import add
from tests.support import survivors
from tests.support.collector_process import run
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import Postgres

pytestmark = pytest.mark.process


@pytest.mark.system("pgbouncer", "pgbouncer")
def test_a_pooler_in_transaction_mode_is_refused(postgres: Postgres) -> None:
    """At the start, with the reason and both remedies; nothing is created in the database."""
    direct = postgres.new_database()
    with PgBouncer(postgres, "transaction") as pooler:
        with pytest.raises(store.StoreError, match=r"pool_mode = session.*directly"):
            store.open_store(pooler.url(direct))
        done = run("token", "list", database=pooler.url(direct))
        assert done.returncode == 1 and "pool_mode = session" in done.stderr
    engine = store.engine.open_unchanged(direct)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")) == 0
    engine.dispose()


@pytest.mark.system("pgbouncer", "pgbouncer")
@pytest.mark.parametrize("size", [1, 20])
def test_a_pooler_in_session_mode_works(postgres: Postgres, size: int) -> None:
    """The control: the same pooler that keeps a session for each connection, even with a single one."""
    direct = postgres.new_database()
    with PgBouncer(postgres, "session", size) as pooler:
        engine = store.open_store(pooler.url(direct))
        assert len(add(engine, 5)) == 5
        engine.dispose()


class Synchronous(Postgres):
    """A server of its own, whose settings a test may change."""

    def set(self, name: str, value: str) -> None:
        """Change a setting of the running server."""
        for statement in (f"ALTER SYSTEM SET {name} = '{value}'", "SELECT pg_reload_conf()"):
            self.run("psql", "-h", str(self.dir), "-U", "sigprobe", "-d", "postgres", "-qc", statement)


@pytest.fixture
def server() -> Iterator[Synchronous]:
    found = Synchronous()
    try:
        found.start()
        yield found
    finally:
        found.close()


@pytest.mark.process
def test_several_servers_need_a_synchronous_standby(server: Synchronous) -> None:
    """With two hosts in the address; a single host may be alone, and with a standby both start."""
    alone = server.new_database()
    several = alone.replace("host=", f"host={server.dir},")
    store.open_store(alone).dispose()
    with pytest.raises(store.StoreError, match="synchronous_mode_strict"):
        store.open_store(several)
    # a standby that does no more than keep the WAL
    who = {} if server.user is None else {"user": server.user.pw_uid, "group": server.user.pw_gid}
    (server.dir / "wal").mkdir()
    server.dir.joinpath("wal").chmod(0o777)
    keeper = subprocess.Popen(
        [
            str(server.bin / "pg_receivewal"), "--directory", str(server.dir / "wal"), "--synchronous",
            "--dbname", f"host={server.dir} user=sigprobe application_name=keeper",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **who,  # type: ignore[call-overload]
    )  # fmt: skip
    try:
        server.set("synchronous_standby_names", "keeper")
        engine = store.open_store(several)
        assert len(add(engine, 3)) == 3
        # a level that does not wait for the standby's disk is raised
        server.set("synchronous_commit", "local")
        end = time.monotonic() + 30
        while True:
            engine.dispose()
            with engine.connect() as connection:
                source = connection.execute(
                    text("SELECT setting, source FROM pg_settings WHERE name = 'synchronous_commit'")
                ).one()
            if source.source == "session":
                break
            assert time.monotonic() < end, source
            time.sleep(0.1)
        assert source.setting == "on"
        engine.dispose()
    finally:
        survivors.end(keeper)


@pytest.mark.process
def test_a_server_that_loses_its_standbys_meanwhile(server: Synchronous) -> None:
    """New connections are refused as a fault of the database, so batches get 503 instead of a receipt."""
    from sqlalchemy.exc import SQLAlchemyError

    several = server.new_database().replace("host=", f"host={server.dir},")
    engine = store.engine.open_unchanged(several)
    with pytest.raises(SQLAlchemyError, match="synchronous_standby_names is empty"):
        engine.connect()
    engine.dispose()
