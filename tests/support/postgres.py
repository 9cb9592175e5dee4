"""Run a real PostgreSQL server for tests."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.requirements import needs
from tests.support.survivors import marked


@contextmanager
def running() -> Iterator[Postgres]:
    """Provide a server that runs inside the block."""
    server = Postgres()
    try:
        server.start()
        yield server
    finally:
        server.close()


class Postgres:
    """A PostgreSQL server on a socket in its own directory."""

    def __init__(self, folder: Path | None = None, *, port: int | None = None) -> None:
        """`folder` is its directory, new unless given. With `port` it listens on 127.0.0.1, too."""
        needs("initdb", "postgresql")
        self.bin = Path(needs("pg_ctl", "postgresql")).resolve().parent
        # a short path: a Unix socket's may not exceed 107 bytes
        self.dir = folder or Path(tempfile.mkdtemp(prefix="sigprobe-pg-"))
        self.port = port
        self.user = None
        if os.geteuid() == 0:  # the server refuses to run as root
            self.user = pwd.getpwnam("postgres")
            os.chown(self.dir, self.user.pw_uid, self.user.pw_gid)
        self.run("initdb", "-D", "data", "-A", "trust", "-U", "sigprobe", "--no-sync", "-E", "UTF8", "--locale=C")
        self._databases = 0

    def run(self, program: str, *args: str) -> subprocess.CompletedProcess[str]:
        """Run one of PostgreSQL's programs as the server's user."""
        who = {} if self.user is None else {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}
        return subprocess.run(
            [str(self.bin / program), *args],
            cwd=self.dir,
            env=marked({"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(self.dir)}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if program != "pg_ctl" else subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
            timeout=120,
            **who,  # type: ignore[call-overload]
        )

    def start(self) -> None:
        """Start the server and wait until it answers."""
        where = "listen_addresses=''" if self.port is None else f"listen_addresses=127.0.0.1 -p {self.port}"
        self.run("pg_ctl", "-D", "data", "-l", "log", "-w", "-o", f"-k {self.dir} -c {where}", "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop it; `immediate` leaves the files as a crash does."""
        self.run("pg_ctl", "-D", "data", "-m", mode, "-w", "stop")

    def new_database(self) -> str:
        """Return the URL of a fresh database."""
        self._databases += 1
        name = f"t{self._databases}"
        at = [] if self.port is None else ["-p", str(self.port)]
        self.run("createdb", "-h", str(self.dir), *at, "-U", "sigprobe", name)
        if self.port is not None:
            return f"postgresql://sigprobe@127.0.0.1:{self.port}/{name}"
        return f"postgresql://sigprobe@/{name}?host={self.dir}"

    def standby(self) -> Postgres:
        """Return a hot standby that follows this server, not started yet."""
        other = Postgres.__new__(Postgres)
        other.bin, other.user, other.port, other._databases = self.bin, self.user, None, 0
        other.dir = Path(tempfile.mkdtemp(prefix="sigprobe-pg-"))
        if self.user is not None:
            os.chown(other.dir, self.user.pw_uid, self.user.pw_gid)
        self.run("pg_basebackup", "-h", str(self.dir), "-U", "sigprobe", "-D", f"{other.dir}/data", "-R", "-c", "fast")
        return other

    def close(self) -> None:
        """Stop and remove it."""
        if (self.dir / "data" / "postmaster.pid").exists():
            self.stop("immediate")
        shutil.rmtree(self.dir, ignore_errors=True)
