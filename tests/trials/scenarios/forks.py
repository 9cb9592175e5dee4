"""Start a scenario's processes by forking one that has everything imported: a start then takes milliseconds.

    with Forks() as forks:
        child = forks.start({"run": "probe", "namespace": …, "arguments": ["test", "--json"]}, stdin, stdout, stderr)
        child.wait(60)

The server runs in a network namespace without any link. It has run `sigprobe test` once, so that the modules and the
settings' models are ready. Each child enters the scenario's namespace as `ip netns exec` does: its own mounts, its own
`/sys`, and the files of `/etc/netns`.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn, Self

ROOT: Final = Path(__file__).parents[3]
_CLONE_NEWNS: Final = 0x20000
_CLONE_NEWNET: Final = 0x40000000
_MS_BIND, _MS_REC, _MS_SLAVE = 0x1000, 0x4000, 1 << 19
_MNT_DETACH: Final = 2


@dataclass(slots=True)
class Child:
    """A forked process. Its exit code arrives over a pipe that ends with it."""

    pid: int
    _ended: int

    def wait(self, seconds: float) -> int | None:
        """Return the exit code, -1 for a process that was killed, None while it runs. Call until it is not None."""
        if not select.select([self._ended], [], [], seconds)[0]:
            return None
        told = os.read(self._ended, 16)
        os.close(self._ended)
        return int(told) if told else -1

    def end(self, seconds: float) -> int:
        """Wait for the process, and kill it when the time is over."""
        code = self.wait(seconds)
        while code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            code = self.wait(1.0)
        return code


class Forks:
    """Client of the server process. Threads may share it."""

    def __enter__(self) -> Self:
        """Start the server, and wait until it is ready."""
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket = mine
        self._turn = threading.Lock()
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, "-m", "tests.trials.scenarios.forks", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
            )
        if mine.recv(64) != b"ready":
            raise RuntimeError("the server of forks did not start")
        return self

    def __exit__(self, *_: object) -> None:
        """End the server. Children go on until their own end."""
        self._socket.close()
        try:
            self._server.wait(10)
        except subprocess.TimeoutExpired:  # a busy machine
            self._server.kill()
            self._server.wait()

    def start(self, request: dict[str, Any], stdin: int, stdout: int, stderr: int) -> Child:
        """Fork a child with these three files."""
        read_end, write_end = os.pipe()
        try:
            with self._turn:
                socket.send_fds(self._socket, [json.dumps(request).encode()], [stdin, stdout, stderr, write_end])
                answer = self._socket.recv(64)
        finally:
            os.close(write_end)
        if not answer:
            os.close(read_end)
            raise RuntimeError("the server of forks has ended")
        return Child(int(answer), read_end)


# --- the server ----------------------------------------------------------------------------------------------


def serve(handle: int) -> None:
    """Fork a child for each request until the client goes away."""
    libc = ctypes.CDLL(None, use_errno=True)
    _be_prompt(-10)  # it only forks; a child has the priority of its request
    _checked(libc.unshare(_CLONE_NEWNET))
    _warm_up()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are reaped by the kernel
    link = socket.socket(fileno=handle)
    link.send(b"ready")
    while True:
        request, files, _flags, _address = socket.recv_fds(link, 1 << 20, 4)
        if not request:
            return
        child = os.fork()
        if child == 0:
            link.close()
            _child(json.loads(request), files)
        for file in files:
            os.close(file)
        link.send(str(child).encode())


def _warm_up() -> None:
    """Run `sigprobe test` once, where nothing can be reached, and import the peers."""
    from sigprobe import cli
    from tests.trials.scenarios import peers

    assert peers
    targets: list[dict[str, Any]] = [
        {"kind": "ping", "name": "a", "address": "default-gateway", "count": 1},
        {"kind": "dns", "name": "b", "hostname": "b.example", "resolvers": ["127.0.0.1"], "timeout_ms": 100},
        {"kind": "http", "name": "c", "url": "https://127.0.0.1:9/", "timeout_ms": 100},
        {"kind": "throughput", "name": "d", "url": "http://127.0.0.1:9/", "max_mb": 1, "max_s": 1},
    ]
    with tempfile.TemporaryDirectory(prefix="spt-") as folder:
        settings = {
            "probe": {"tps_id": "3273011001005"},
            "location": {"source": "none"},
            "targets": targets,
            "verdict": {"references": ["127.0.0.2"]},
            "buffer": {"path": f"{folder}/queue.db"},
            "upload": {"collectors": []},
        }
        path = Path(folder, "config.yaml")
        path.write_text(json.dumps(settings))
        said, wrong = io.StringIO(), io.StringIO()
        code = cli.run(["test", "--json", "--no-upload", "--max-time", "6", "--config", str(path)], out=said, err=wrong)
        if code or '"verdict"' not in said.getvalue():
            raise RuntimeError(f"warm-up: {code}: {wrong.getvalue()}{said.getvalue()}")
    until = time.monotonic() + 5
    while threading.active_count() > 1 and time.monotonic() < until:
        time.sleep(0.01)


def _child(request: dict[str, Any], files: Sequence[int]) -> NoReturn:
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number, file in enumerate(files[:3]):
            os.dup2(file, number)
        for file in files[:3]:
            os.close(file)
        sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
        random.seed()
        _be_prompt(request.get("nice", 0))
        _enter(request["namespace"], request.get("binds", {}), request.get("written", {}))
        os.environ.update(request.get("env", {}))
        if request["run"] == "peers":
            from tests.trials.scenarios import peers

            peers.main()
            code = 0
        else:
            from sigprobe import cli

            code = cli.run(request["arguments"])
    except BaseException as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os.write(files[3], str(code).encode())
        os._exit(code)


def _be_prompt(nice: int) -> None:
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, nice)


def _enter(namespace: str, binds: dict[str, str], written: dict[str, str]) -> None:
    """Enter a network namespace with mounts of this process's own; `binds` and `written` are by their final path."""
    libc = ctypes.CDLL(None, use_errno=True)
    handle = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    _checked(libc.setns(handle, _CLONE_NEWNET))
    os.close(handle)
    _checked(libc.unshare(_CLONE_NEWNS))
    _checked(libc.mount(b"none", b"/", None, _MS_REC | _MS_SLAVE, None))
    libc.umount2(b"/sys", _MNT_DETACH)
    _checked(libc.mount(namespace.encode(), b"/sys", b"sysfs", 0, None))
    for final in ("resolv.conf", "hosts"):
        source = Path("/etc/netns", namespace, final)
        if source.exists():
            _checked(libc.mount(str(source).encode(), f"/etc/{final}".encode(), None, _MS_BIND, None))
    if written:
        _checked(libc.mount(b"none", b"/run", b"tmpfs", 0, None))
    for name, text in written.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    for name, source_file in binds.items():
        _checked(libc.mount(source_file.encode(), name.encode(), None, _MS_BIND, None))


def _checked(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    serve(int(sys.argv[1]))
