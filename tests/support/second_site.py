"""A second site's PostgreSQL, made from the files in `deploy/second-site/`."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from tests.support.requirements import ROOT, needs
from tests.support.survivors import marked

DEPLOY: Final = ROOT / "deploy" / "second-site"


class SecondSite:
    """An asynchronous standby on 127.0.0.1; `database` is the name of the collector's database."""

    def __init__(self, database: str = "sigprobe") -> None:
        self.bin = Path(needs("pg_ctl", "postgresql")).resolve().parent
        self.folder = Path(tempfile.mkdtemp(prefix="sigprobe-site2-"))
        self.data = self.folder / "data"
        self._who: dict[str, Any] = {}
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self._who = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = int(probe.getsockname()[1])
        self.url = f"postgresql://postgres:change-me-1@127.0.0.1:{self.port}/{database}"

    def clone(self, port: int) -> None:
        """Copy the first site through the line at this port, and follow it."""
        secrets = self.folder / "pgpass"
        secrets.write_text("*:*:*:replicator:change-me-2\n", encoding="utf-8")
        secrets.chmod(0o600)
        if self._who:
            os.chown(secrets, self._who["user"], self._who["group"])
        first = f"host=127.0.0.1 port={port} user=replicator passfile={secrets}"
        # readable for the server's account, wherever the project itself is
        files = self.folder / "files"
        shutil.copytree(DEPLOY, files)
        files.chmod(0o755)
        self._run(["sh", str(files / "clone.sh")], FIRST_SITE=first, DATA=str(self.data), PGBIN=str(self.bin))
        options = f"-c port={self.port}"
        log = str(self.folder / "log")
        self._run([str(self.bin / "pg_ctl"), "start", "-w", "-D", str(self.data), "-l", log, "-o", options])

    def _run(self, command: list[str], **env: str) -> None:
        with (self.folder / "commands.log").open("ab") as told:
            subprocess.run(
                command,
                check=True,
                timeout=300,
                cwd=self.folder,
                env=marked({"PATH": os.environ["PATH"], "LC_ALL": "C", **env}),
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=told,
                **self._who,
            )

    def close(self) -> None:
        """Stop the server and remove it."""
        if (self.data / "postmaster.pid").exists():
            with suppress(subprocess.SubprocessError):
                self._run([str(self.bin / "pg_ctl"), "stop", "-w", "-D", str(self.data), "-m", "immediate"])
        shutil.rmtree(self.folder, ignore_errors=True)
