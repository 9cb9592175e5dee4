"""Create network namespaces for tests, join them by veth pairs, and always remove them.

Addresses lie in 10.0.0.0/8 and fd00::/8 and exist inside these namespaces only. Needs root and `ip`.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import secrets
import select
import signal
import subprocess
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.support.requirements import needs, needs_root

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000
NOBODY = 65534

MARKS = [
    pytest.mark.root,
    pytest.mark.system("ip", "iproute2"),
    pytest.mark.system("nft", "nftables"),
    pytest.mark.system("sysctl", "procps"),
]
"""What a test module that uses namespaces sets as its `pytestmark`."""
PACKAGES = {
    "ip": "iproute2",
    "ss": "iproute2",
    "tc": "iproute2",
    "nft": "nftables",
    "sysctl": "procps",
    "ping": "iputils-ping",
    "fping": "fping",
    "iperf3": "iperf3",
    "curl": "curl",
    "setpriv": "util-linux",
    "faketime": "faketime",
}
"""The programs that tests run inside a namespace, and the Debian package of each."""


@dataclass(frozen=True, slots=True)
class Namespace:
    """A network namespace by name."""

    name: str

    def run(self, *command: str, check: bool = True, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command inside and return its stdout; a failure raises with its error output.

        A test whose program is not installed skips here, with the package, even where its marker was forgotten.
        """
        if command[0] in PACKAGES:
            needs(command[0], PACKAGES[command[0]])
        done = subprocess.run(
            ["ip", "netns", "exec", self.name, *command],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
        return done

    def command(self, *command: str) -> list[str]:
        """Return the command line that runs `command` inside, for long-running processes (see the `spawn` fixture)."""
        return ["ip", "netns", "exec", self.name, *command]

    def ip(self, *args: str) -> None:
        """Run `ip` inside."""
        self.run("ip", *args)

    def sysctl(self, key: str, value: str) -> None:
        """Set a kernel setting of this namespace."""
        self.run("sysctl", "-q", "-w", f"{key}={value}")

    def drop(self, match: str, hook: str = "input") -> None:
        """Drop packets with nftables: `match` in its syntax, such as `icmp type echo-request`."""
        self.run("nft", "add", "table", "inet", "test")
        chain = f"{{ type filter hook {hook} priority 0 ; policy accept ; }}"
        self.run("nft", "add", "chain", "inet", "test", hook, chain)
        self.run("nft", "add", "rule", "inet", "test", hook, *match.split(), "drop")

    def call(self, function: Callable[[], T], *, uid: int | None = None, timeout: float = 60) -> T:
        """Run a Python function inside, in a forked child, and return its (pickled) result.

        With `uid` the child gives up all privileges first. What the function raises is raised here.
        """
        read_end, write_end = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads: the child only measures
            child = os.fork()
        if child == 0:
            os.close(read_end)
            _child(self.name, function, uid, write_end)
        os.close(write_end)
        try:
            answer = _read_all(read_end, timeout)
        finally:
            os.close(read_end)
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        ok, value = pickle.loads(answer)
        if not ok:
            raise RuntimeError(f"inside {self.name}:\n{value}")
        return value  # type: ignore[no-any-return]


def _child(name: str, function: Callable[[], Any], uid: int | None, write_end: int) -> None:
    try:
        handle = os.open(f"/run/netns/{name}", os.O_RDONLY)
        if ctypes.CDLL(None, use_errno=True).setns(handle, _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        os.close(handle)
        if uid is not None:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
        answer = pickle.dumps((True, function()))
    except BaseException:
        answer = pickle.dumps((False, traceback.format_exc()))
    with suppress(BrokenPipeError):
        view = memoryview(answer)
        while view:
            view = view[os.write(write_end, view) :]
    os._exit(0)


def _read_all(handle: int, timeout: float) -> bytes:
    parts: list[bytes] = []
    until = time.monotonic() + timeout
    while True:
        if not select.select([handle], [], [], max(0.0, until - time.monotonic()))[0]:
            raise TimeoutError(f"no result from the namespace within {timeout} s")
        part = os.read(handle, 65536)
        if not part:
            return b"".join(parts)
        parts.append(part)


@contextmanager
def namespace(label: str = "n") -> Iterator[Namespace]:
    """Provide a fresh namespace with only its loopback up."""
    needs_root()
    needs("ip", PACKAGES["ip"])
    name = f"spt-{label}-{secrets.token_hex(4)}"
    subprocess.run(["ip", "netns", "add", name], check=True, capture_output=True)
    space = Namespace(name)
    try:
        space.ip("link", "set", "lo", "up")
        yield space
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)
        with suppress(OSError):
            Path("/run/netns", name).unlink()


def join(
    left: Namespace, right: Namespace, subnet: int = 1, *, names: Sequence[str] = ("eth0", "eth0")
) -> tuple[str, str]:
    """Join two namespaces by a veth pair; returns the IPv4 addresses, `10.87.<subnet>.1` on the left and `.2`.

    IPv6 is `fd87:<subnet>::1` and `::2`, usable at once (no duplicate address detection).
    """
    ends = [f"spt{secrets.token_hex(4)}" for _ in names]
    subprocess.run(
        ["ip", "link", "add", ends[0], "type", "veth", "peer", "name", ends[1]], check=True, capture_output=True
    )
    addresses = []
    for host, (space, end, name) in enumerate(zip((left, right), ends, names, strict=True), start=1):
        subprocess.run(["ip", "link", "set", end, "netns", space.name], check=True, capture_output=True)
        space.ip("link", "set", end, "name", name)
        addresses.append(f"10.87.{subnet}.{host}")
        space.ip("address", "add", f"{addresses[-1]}/24", "dev", name)
        space.ip("address", "add", f"fd87:{subnet}::{host}/64", "dev", name, "nodad")
        space.ip("link", "set", name, "up")
    return addresses[0], addresses[1]


@contextmanager
def pair(subnet: int = 1) -> Iterator[tuple[Namespace, Namespace]]:
    """Two namespaces joined by a veth pair: `10.87.<subnet>.1` and `.2`, `fd87:<subnet>::1` and `::2`."""
    with namespace("a") as left, namespace("b") as right:
        join(left, right, subnet)
        yield left, right
