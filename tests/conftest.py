"""What every test may use: the skip rule for system packages, a clean home, free ports, processes that end."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.support import survivors
from tests.support.command_line import Run, in_process, own_process
from tests.support.process_state import StartedPrograms, unchanged
from tests.support.requirements import ROOT, needs, needs_root
from tests.support.running_site import Site

# how long an example takes says more about the machine's other work than about the code
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
# `make quick`: the inner loop wants the promise tried, not searched
hypothesis.settings.register_profile(
    "quick", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], max_examples=10
)
hypothesis.settings.load_profile("untimed")


@pytest.hookimpl(trylast=True)  # pytest-rerunfailures has then connected each worker to the process that started it
def pytest_configure(config: pytest.Config) -> None:
    """As root, run the whole session in a network namespace that holds nothing but loopback; each worker in its own.

    `sigprobe test` looks at gateway and resolvers by itself; here there are none, so no test can reach another host
    even by mistake. Without root nothing can be promised that way, and tests leave the path check out where they can.
    """
    config.pluginmanager.register(survivors)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # a shell starts its background jobs so, and the programs that tests interrupt would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    starts_workers = getattr(config.option, "dist", "no") != "no" and not hasattr(config, "workerinput")
    if starts_workers:
        return  # it runs no test itself, and its workers have to reach it
    if os.geteuid() != 0 or not sys.platform.startswith("linux") or os.environ.get("SIGPROBE_TESTS_NET") == "host":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET | _CLONE_NEWNS) == 0:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        # /sys shows the interfaces of the namespace it was mounted in
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        subprocess.run(["mount", "-t", "sysfs", "sysfs", "/sys"], check=True)


_TRIALS = ROOT / "tests" / "trials"
_E2E = ROOT / "tests" / "e2e"
_CLONE_NEWNS = 0x00020000
_CLONE_NEWNET = 0x40000000


_STARTS_PROCESSES = frozenset({"spawn", "sigprobe_process", "site", "postgres", "driving", "bus"})
"""Fixtures behind which another program runs."""


_LONGEST = ("tests/trials/scenarios", "tests/trials", "tests/e2e", "tests/measure/path", "tests/measure")
"""Folders whose files take longest. They go first; else `--dist loadfile` ends with one busy worker."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as `process` every test that starts another program, and put the files that take long first."""
    for item in items:
        needs_one = _STARTS_PROCESSES & set(getattr(item, "fixturenames", ()))
        on_postgresql = getattr(getattr(item, "callspec", None), "params", {}).get("database") == "postgresql"
        if needs_one or on_postgresql or item.path.is_relative_to(_TRIALS) or item.path.is_relative_to(_E2E):
            item.add_marker("process")
    real = {item.path for item in items if any(item.get_closest_marker(name) for name in ("process", "root", "slow"))}

    turns: dict[Path, tuple[int, bool]] = {}
    for path in {item.path for item in items}:
        long = [number for number, folder in enumerate(_LONGEST) if path.is_relative_to(ROOT / folder)]
        turns[path] = min(long, default=len(_LONGEST)), path not in real

    items.sort(key=lambda item: turns[item.path])  # stable: files stay whole, and their tests in order


_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Note that a test has failed, also by its timeout: what it then leaves behind is no second failure."""
    report = yield
    if report.failed:  # type: ignore[attr-defined]
        item.stash[_FAILED] = True
    return report


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Apply the `root` and `system` markers."""
    item.stash[_FAILED] = False
    if item.get_closest_marker("root"):
        needs_root()
    for mark in item.iter_markers("system"):
        needs(*mark.args)


_started = StartedPrograms()


@pytest.fixture(autouse=True)
def unchanged_process(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """Fail a test that leaves this process changed, or that starts a program without the marker `process`.

    Provides the programs started so far.
    """
    _started.seen.clear()
    with unchanged(failed=lambda: request.node.stash.get(_FAILED, False)):
        yield _started.seen
    marked = any(request.node.get_closest_marker(name) for name in ("process", "root", "system"))
    assert marked or not _started.seen, f"it starts a program, so mark it with `process`: {_started.seen}"


@pytest.fixture(autouse=True)
def clean_home(unchanged_process: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep every test away from the user's own settings, queue, proxies and tokens."""
    home = tmp_path / "home"
    home.mkdir()
    for name in list(os.environ):
        if name.startswith(("SIGPROBE_", "XDG_")) and name != "SIGPROBE_TESTS_REQUIRE":
            monkeypatch.delenv(name)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    # the modem of the machine that runs the tests is none of their business
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={home / 'no-bus'}")
    return home


@pytest.fixture
def free_port() -> Callable[[], int]:
    """A function that names a TCP port of 127.0.0.1 that was free a moment ago."""

    def pick() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    return pick


@pytest.fixture
def spawn() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start programs, each in a session of its own; all its processes are ended when the test ends."""
    with survivors.spawning() as start:
        yield start


@pytest.fixture
def sigprobe() -> Run:
    """Run the command line as a user types it, in this process; returns what `subprocess.run` would."""
    return in_process


@pytest.fixture
def sigprobe_process() -> Run:
    """Run the command line in a process of its own: for what the interpreter, the kernel or another thread does."""
    return own_process


@pytest.fixture
def site(tmp_path: Path, sigprobe: Run, free_port: Callable[[], int]) -> Iterator[Site]:
    """A running collector with its tokens; stopped when the test ends."""
    site = Site(tmp_path, sigprobe, free_port())
    site.start()
    yield site
    site.stop()
