"""Run three PostgreSQL nodes under Patroni and etcd, from the files in `deploy/`, on loopback addresses.

Each node has an address of its own (127.0.0.11 to .13), so the shipped files run as they are. A node is lost in two
ways: its server's processes alone are killed, or everything on that machine is (Patroni, server and etcd member).
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from tests.support.requirements import ROOT, needs
from tests.support.survivors import marked

DEPLOY: Final = ROOT / "deploy" / "postgresql"
NODES: Final = ("db1", "db2", "db3")
_PLAIN: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def address(node: str) -> str:
    """Return the loopback address of a node."""
    return f"127.0.0.1{node.removeprefix('db')}"


class PatroniCluster:
    """The cluster; `start` waits until a primary with a synchronous standby is there."""

    def __init__(self) -> None:
        needs("patroni", "patroni")
        needs("etcd", "etcd-server")
        needs("initdb", "postgresql")
        self.folder = Path(tempfile.mkdtemp(prefix="sigprobe-ha-"))
        self.user = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        if self.user is not None:
            os.chown(self.folder, self.user.pw_uid, self.user.pw_gid)
        self.processes: dict[str, dict[str, subprocess.Popen[bytes]]] = {node: {} for node in NODES}

    def start(self) -> None:
        """Start all members and nodes, and wait for a primary and its standby."""
        for node in NODES:
            self.start_etcd(node)
        for node in NODES:
            self.start_node(node)
        self.wait_whole(180)

    def start_etcd(self, node: str) -> None:
        """Start (or start again) the etcd member beside a node."""
        self._spawn(node, "etcd", ["etcd", "--log-level", "error", "--unsafe-no-fsync"], self._env("etcd.env", node))

    def start_node(self, node: str) -> None:
        """Start (or start again) Patroni, which runs the server."""
        folder = self.folder / node
        folder.mkdir(exist_ok=True)
        if self.user is not None:
            os.chown(folder, self.user.pw_uid, self.user.pw_gid)
        self._spawn(node, "patroni", ["patroni", str(DEPLOY / "patroni.yml")], self._env("node.env", node))

    def _env(self, name: str, node: str) -> dict[str, str]:
        env = {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(self.folder)}
        for line in (DEPLOY / name).read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition("=")
            if key and not key.startswith("#"):
                env[key] = value
        own = "ETCD_NAME" if name == "etcd.env" else "PATRONI_NAME"
        for key, value in env.items():
            if "HOSTS" not in key and not key.endswith("INITIAL_CLUSTER"):
                env[key] = value.replace("127.0.0.11", address(node))
        env[own] = node
        if name == "etcd.env":
            env["ETCD_DATA_DIR"] = str(self.folder / f"etcd-{node}")
        else:
            env["PATRONI_POSTGRESQL_DATA_DIR"] = str(self.folder / node / "data")
            env["PATRONI_POSTGRESQL_PGPASS"] = str(self.folder / node / "pgpass")
        return env

    def _spawn(self, node: str, what: str, command: list[str], env: dict[str, str]) -> None:
        who: dict[str, Any] = {}
        if self.user is not None:
            who = {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}
        with (self.folder / f"{node}-{what}.log").open("ab") as log:
            self.processes[node][what] = subprocess.Popen(
                command,
                cwd=self.folder,
                env=marked(env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **who,
            )

    def url(self, database: str = "sigprobe") -> str:
        """Return the database URL for a collector: it lists every node."""
        hosts = ",".join(address(node) for node in NODES)
        return f"postgresql://postgres:change-me-1@{hosts}/{database}?target_session_attrs=read-write"

    def members(self) -> list[dict[str, Any]]:
        """Return the members that Patroni reports; an empty list while none answers."""
        for node in NODES:
            with (
                suppress(OSError, ValueError),
                _PLAIN.open(f"http://{address(node)}:8008/cluster", timeout=2) as answer,
            ):
                return list(json.load(answer)["members"])
        return []

    def primary(self) -> str | None:
        """Return the node that reports itself as the primary."""
        for node in NODES:
            with suppress(OSError), _PLAIN.open(f"http://{address(node)}:8008/primary", timeout=2) as answer:
                if answer.status == 200:
                    return node
        return None

    def wait_whole(self, limit_s: float) -> str:
        """Wait until there are a primary, a synchronous standby and every node; the primary's name."""
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            roles = [m["role"] for m in self.members() if m.get("state") in ("running", "streaming")]
            if "leader" in roles and "sync_standby" in roles and len(roles) == len(NODES):
                found = self.primary()
                if found is not None:
                    return found
            time.sleep(0.5)
        raise TimeoutError(f"the cluster is not whole after {limit_s} s: {self.members()}")

    def kill_server(self, node: str) -> None:
        """Kill the PostgreSQL processes of a node at once, as a crash of the server does."""
        for pid in self._server_pids(node):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def kill_machine(self, node: str) -> None:
        """Kill everything on a node at once, as the loss of the machine does."""
        pids = self._server_pids(node)
        for process in self.processes[node].values():
            with suppress(ProcessLookupError):
                process.kill()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self.processes[node].values():
            process.wait(30)

    def start_machine(self, node: str) -> None:
        """Start a lost node again."""
        self.start_etcd(node)
        self.start_node(node)

    def _server_pids(self, node: str) -> list[int]:
        data = str(self.folder / node / "data")
        found = []
        try:
            main = int((Path(data) / "postmaster.pid").read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return []
        found.append(main)
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError, ValueError, IndexError):
                    if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == main:
                        found.append(int(entry.name))
        return found

    def close(self) -> None:
        """Stop everything by its pid and remove the folder."""
        for node in NODES:
            pids = self._server_pids(node)
            for process in self.processes[node].values():
                with suppress(ProcessLookupError):
                    process.kill()
                process.wait(30)
            for pid in {*pids, *self._server_pids(node)}:  # Patroni may have started one meanwhile
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)
