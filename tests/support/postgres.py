"""A real PostgreSQL of our own."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.support.requirements import needs


class Postgres:
    """A real PostgreSQL of our own, on a socket in a directory of its own."""

    def __init__(self) -> None:
        needs("initdb", "postgresql")
        self.bin = Path(needs("pg_ctl", "postgresql")).resolve().parent
        # a short path: a Unix socket's may not exceed 107 bytes
        self.dir = Path(tempfile.mkdtemp(prefix="sigprobe-pg-"))
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
            env={"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(self.dir)},
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
        self.run("pg_ctl", "-D", "data", "-l", "log", "-w", "-o", f"-k {self.dir} -c listen_addresses=''", "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop it; `immediate` is what a crash leaves behind."""
        self.run("pg_ctl", "-D", "data", "-m", mode, "-w", "stop")

    def new_database(self) -> str:
        """Return the URL of a fresh database."""
        self._databases += 1
        name = f"t{self._databases}"
        self.run("createdb", "-h", str(self.dir), "-U", "sigprobe", name)
        return f"postgresql://sigprobe@/{name}?host={self.dir}"

    def close(self) -> None:
        """Stop and remove it."""
        if (self.dir / "data" / "postmaster.pid").exists():
            self.stop("immediate")
        shutil.rmtree(self.dir, ignore_errors=True)
