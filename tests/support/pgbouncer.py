"""Run a real PgBouncer in front of a test's PostgreSQL."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from tests.support.postgres import Postgres
from tests.support.requirements import needs
from tests.support.survivors import end


class PgBouncer:
    """A pooler on a socket of its own; use it as a context manager."""

    def __init__(self, server: Postgres, mode: str, pool_size: int = 20) -> None:
        self._program = needs("pgbouncer", "pgbouncer")
        self.dir = Path(tempfile.mkdtemp(prefix="sigprobe-pool-"))
        if server.user is not None:
            os.chown(self.dir, server.user.pw_uid, server.user.pw_gid)
        self._server = server
        (self.dir / "users").write_text('"sigprobe" ""\n', encoding="utf-8")
        (self.dir / "ini").write_text(
            "\n".join(
                (
                    "[databases]",
                    f"* = host={server.dir}",
                    "[pgbouncer]",
                    f"unix_socket_dir = {self.dir}",
                    "listen_port = 6432",
                    "auth_type = trust",
                    f"auth_file = {self.dir}/users",
                    f"logfile = {self.dir}/log",
                    f"pool_mode = {mode}",
                    f"default_pool_size = {pool_size}",
                )
            )
            + "\n",
            encoding="utf-8",
        )

    def url(self, direct: str) -> str:
        """Return the address of a database through the pooler, from its direct address."""
        name = direct.split("/")[3].partition("?")[0]
        return f"postgresql://sigprobe@/{name}?host={self.dir}&port=6432"

    def __enter__(self) -> PgBouncer:
        user = self._server.user
        who = {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self._process = subprocess.Popen(
            [self._program, "-q", str(self.dir / "ini")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **who,  # type: ignore[call-overload]
        )
        end = time.monotonic() + 30
        while True:
            with suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
                probe.connect(str(self.dir / ".s.PGSQL.6432"))
                return self
            assert time.monotonic() < end and self._process.poll() is None, (self.dir / "log").read_text()
            time.sleep(0.05)

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        end(self._process)
        shutil.rmtree(self.dir, ignore_errors=True)
