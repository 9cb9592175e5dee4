"""pgBackRest with the shipped configuration: a backup, and a restore to a point in time."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
import yaml
from sqlalchemy import text

from sigprobe.collector import store
from tests.collector.backup.test_sqlite_file import add
from tests.support.postgres import Postgres
from tests.support.requirements import ROOT, needs
from tests.support.survivors import marked

pytestmark = [pytest.mark.process, pytest.mark.system("pgbackrest", "pgbackrest")]
DEPLOY = ROOT / "deploy" / "postgresql"


class Backed(Postgres):
    """A server whose WAL goes to pgBackRest, by the files in `deploy/postgresql/`."""

    def __init__(self) -> None:
        super().__init__()
        self.config = self.dir / "pgbackrest.conf"
        own = (DEPLOY / "pgbackrest.conf").read_text(encoding="utf-8")
        own = own.replace("/var/lib/pgbackrest", str(self.dir / "repo"))
        own = own.replace("/var/lib/postgresql/15/sigprobe", str(self.dir / "data"))
        paths = f"lock-path={self.dir}/lock\nspool-path={self.dir}/spool\n"
        self.config.write_text(
            own.replace("[global]\n", f"[global]\n{paths}") + f"pg1-socket-path={self.dir}\npg1-user=sigprobe\n",
            encoding="utf-8",
        )
        settings = yaml.safe_load((DEPLOY / "archive.yml").read_text(encoding="utf-8"))["postgresql"]["parameters"]
        command = settings["archive_command"].replace("pgbackrest ", f"pgbackrest --config={self.config} ")
        with (self.dir / "data" / "postgresql.conf").open("a") as file:
            file.write(f"archive_mode = {settings['archive_mode']}\narchive_command = '{command}'\n")

    def pgbackrest(self, *args: str) -> str:
        """Run pgBackRest as the server's user."""
        who = {} if self.user is None else {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}
        done = subprocess.run(
            [needs("pgbackrest", "pgbackrest"), f"--config={self.config}", "--stanza=sigprobe", *args],
            cwd=self.dir,
            env=marked({"PATH": os.environ["PATH"], "LC_ALL": "C"}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            **who,  # type: ignore[call-overload]
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return str(done.stdout)


@pytest.fixture
def server() -> Iterator[Backed]:
    needs("pgbackrest", "pgbackrest")
    found = Backed()
    try:
        found.start()
        yield found
    finally:
        found.close()


def ids(url: str) -> set[str]:
    engine = store.open_store(url)
    with engine.connect() as connection:
        found = {str(row.id) for row in connection.execute(text("SELECT id FROM results"))}
    engine.dispose()
    return found


def test_restore_to_a_point_in_time(server: Backed) -> None:
    """All that was acknowledged before that time is there, and nothing that came after it."""
    url = server.new_database()
    engine = store.open_store(url)
    early = add(engine, 20)
    server.pgbackrest("stanza-create")
    server.pgbackrest("check")
    server.pgbackrest("--type=full", "backup")
    # pgBackRest keeps the end of a backup in whole seconds, and takes one that ended before the target
    ended = int(time.time())
    while int(time.time()) <= ended + 1:
        time.sleep(0.05)
    later = add(engine, 30, first=100)
    with engine.connect() as connection:
        point: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    time.sleep(0.05)
    wrong = add(engine, 40, first=200)
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_switch_wal()"))
    engine.dispose()
    assert ids(url) == {*early, *later, *wrong}
    server.stop()
    server.pgbackrest("--type=time", f"--target={point:%Y-%m-%d %H:%M:%S.%f}+00", "--target-action=promote", "restore")
    server.start()
    end = time.monotonic() + 60
    while (
        "f"
        not in server.run(
            "psql", "-h", str(server.dir), "-U", "sigprobe", "-d", "postgres", "-Atc", "SELECT pg_is_in_recovery()"
        ).stdout
    ):
        assert time.monotonic() < end
        time.sleep(0.2)
    assert ids(url) == {*early, *later}


def test_the_archive_settings_are_what_patroni_reads() -> None:
    """They fit the dynamic configuration that the nodes start with."""
    first = yaml.safe_load((DEPLOY / "patroni.yml").read_text(encoding="utf-8"))
    more = yaml.safe_load(Path(DEPLOY / "archive.yml").read_text(encoding="utf-8"))
    assert set(more) <= set(first["bootstrap"]["dcs"])
    assert "%p" in more["postgresql"]["parameters"]["archive_command"]
