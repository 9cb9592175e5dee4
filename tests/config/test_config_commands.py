"""`config` and `init` as a person and a script meet them: with and without a terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from sigprobe.config import load
from tests.config.run_config import RUNNER
from tests.support.command_line import in_process

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def command() -> Run:
    """Run `config` or `init` without a terminal."""
    return in_process


# --- config ---------------------------------------------------------------------------------------------------


def test_check_of_a_good_file(command: Run, good: Path) -> None:
    """One line on stdout, exit 0."""
    done = command("config", "check", "--config", str(good))
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{good}: ok, 2 checks (gateway, path)\n", "")


def test_check_of_a_bad_file(command: Run, good: Path) -> None:
    """All mistakes on stderr, nothing on stdout, exit 2."""
    good.write_text("probe: {tps_id: 1}\nlanguage: fr\n")
    done = command("config", "check", "--config", str(good))
    assert (done.returncode, done.stdout) == (2, "")
    assert [line.split(" ")[0] for line in done.stderr.splitlines()[:-1]] == [
        f"{good}:1:1:",
        f"{good}:1:17:",
        f"{good}:2:11:",
    ]
    assert done.stderr.rstrip().endswith("[SP-CFG-02]")


def test_check_without_any_file(command: Run) -> None:
    """The way on is named: init."""
    done = command("config", "check")
    if Path("/etc/sigprobe/config.yaml").exists():
        pytest.skip("this machine has a system install of its own")
    assert done.returncode == 2
    assert "Run: sigprobe init [SP-CFG-01]" in done.stderr


def test_show_origin(command: Run, good: Path) -> None:
    """Each value in use stands there with the place that it came from; it loads back as YAML."""
    environ = {"SIGPROBE_SCHEDULE__EVERY_MIN": "5"}
    done = command("config", "show", "--origin", "--config", str(good), env=environ)
    assert done.returncode == 0
    where = {
        line.split(":")[0].strip(): line.rpartition("# ")[2] for line in done.stdout.splitlines() if "  # " in line
    }
    assert where["tps_id"] == f"{good}:1"
    assert where["every_min"] == "env SIGPROBE_SCHEDULE__EVERY_MIN"
    assert where["profile"] == "default"
    assert yaml.safe_load(done.stdout)["schedule"] == {"every_min": 5}


def test_show_json(command: Run, good: Path) -> None:
    """One JSON document with path, config and, when asked for, origins."""
    document = json.loads(command("config", "show", "--json", "--origin", "--config", str(good)).stdout)
    assert document["path"] == str(good)
    assert document["config"]["probe"]["tps_id"] == "3273011001005"
    assert document["origins"]["buffer.max_mb"] == "default"


def test_the_token_is_never_shown(command: Run, good: Path) -> None:
    """SIGPROBE_TOKEN is a secret and no key; it stands in no output."""
    environ = {"SIGPROBE_TOKEN": "s3cr3t-token"}
    for extra in ([], ["--json", "--origin"], ["--origin"]):
        done = command("config", "show", *extra, "--config", str(good), env=environ)
        assert done.returncode == 0
        assert "s3cr3t-token" not in done.stdout + done.stderr


@pytest.mark.parametrize(("name", "title"), [("config", "sigprobe configuration"), ("result", "sigprobe result")])
def test_schema(command: Run, name: str, title: str) -> None:
    """A JSON Schema on stdout."""
    document = json.loads(command("config", "schema", name).stdout)
    assert document["title"] == title
    assert document["$schema"].endswith("2020-12/schema")


def test_the_real_command_line_mounts_both(sigprobe: Run, good: Path, tmp_path: Path) -> None:
    """The same holds through `python -m sigprobe`, where verbs are loaded only when called."""
    assert sigprobe("config", "check", "--config", str(good)).returncode == 0
    written = sigprobe("init", "--config", str(tmp_path / "new.yaml"), "--site", "x", "--no-input")
    assert (written.returncode, written.stderr) == (0, "")
    good.write_text("")
    assert sigprobe("config", "check", "--config", str(good)).returncode == 2


def test_the_offer_of_a_test_finds_the_real_one() -> None:
    """`init` hands over to `test` through the command line's own root, which knows it though it loads lazily."""
    import typer

    from sigprobe.commands.support import typer_shell

    root = typer_shell.root()
    assert root.get_command(typer.Context(root), "test") is not None


# --- init -----------------------------------------------------------------------------------------------------


def test_init_by_flags(command: Run, tmp_path: Path) -> None:
    """Every question is a flag too; the file it writes is right and names the next command."""
    path = tmp_path / "new" / "config.yaml"
    done = command(
        *("init", "--config", str(path), "--tps", "32.73.01.1001.005", "--collector", "https://c.example"),
        *("--token-file", "/etc/sigprobe/token", "--operator", "51010", "--lat", "-6.9", "--lon", "107.6"),
        *("--language", "id", "--no-input"),
    )
    assert done.returncode == 0
    said = done.stderr.splitlines()
    assert (
        said[0].startswith("TPS 3273011001005: ")
        and "does not exist" in said[1]
        and "133 MB a day" in said[2]
        and len(said) == 3
    )
    assert done.stdout == f"Settings saved: {path}\nNext: sigprobe test --config {path}\n"
    config = load(path, {}).config
    assert config.probe.tps_id == "3273011001005"
    assert [target.kind for target in config.targets] == ["ping", "dns", "http", "throughput"]
    assert config.upload.collectors[0].url == "https://c.example/"
    assert config.location.fixed is not None
    assert list(path.parent.iterdir()) == [path]


def test_init_without_a_collector(command: Run, tmp_path: Path) -> None:
    """The place is all that is needed; a site may be as odd as it likes."""
    path = tmp_path / "config.yaml"
    assert command("init", "--config", str(path), "--site", 'no: "x" # y').returncode == 0
    config = load(path, {}).config
    assert config.probe.site == 'no: "x" # y'
    assert [target.kind for target in config.targets] == ["ping", "dns", "http"]
    assert config.upload.collectors == ()


def test_init_never_overwrites_unasked(command: Run, good: Path) -> None:
    """A file that is there stays, unless --force says otherwise."""
    before = good.read_bytes()
    done = command("init", "--config", str(good), "--site", "x", "--yes")
    assert done.returncode == 2
    assert "--force" in done.stderr
    assert good.read_bytes() == before
    assert command("init", "--config", str(good), "--site", "x", "--force").returncode == 0
    assert load(good, {}).config.probe.site == "x"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "--tps"),
        (["--tps", "12"], '--tps: "12" is not a TPS number: a TPS number has 13 digits.'),
        (["--tps", "3273011001005", "--site", "x"], "--site: tps_id and site cannot be used together"),
        (["--site", "x", "--collector", "http://c.example"], "--collector: http is not safe"),
        (["--site", "x", "--lat", "-6.9"], "lon: is missing."),
        (["--site", "x", "--lat", "107", "--lon", "1"], "--lat: must be a number from -90 to 90"),
        (["--site", "x", "--language", "fr"], "--language: must be one of: id, en"),
    ],
)
def test_init_refuses(command: Run, tmp_path: Path, flags: list[str], said: str) -> None:
    """What is missing or wrong names its flag; exit 2, and no file."""
    path = tmp_path / "config.yaml"
    done = command("init", "--config", str(path), *flags)
    assert done.returncode == 2
    assert said in done.stderr
    assert not path.exists()


def test_init_where_nothing_can_be_written(command: Run, tmp_path: Path) -> None:
    """A directory that cannot be made is a sentence and exit 2."""
    (tmp_path / "file").write_text("")
    done = command("init", "--config", str(tmp_path / "file" / "config.yaml"), "--site", "x")
    assert done.returncode == 2
    assert "cannot write" in done.stderr


class Terminal:
    """`sigprobe init` at a terminal of its own."""

    def __init__(self, *args: str) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execv(sys.executable, [sys.executable, "-c", RUNNER, *args])
        self.seen = ""

    def until(self, text: str, seconds: float = 30) -> None:
        """Read until `text` has come since the last answer."""
        end = time.monotonic() + seconds
        while text not in self.seen:
            left = end - time.monotonic()
            assert left > 0, f"{text!r} did not come; there is: {self.seen}"
            ready, _, _ = select.select([self.fd], [], [], left)
            if ready:
                self.seen += os.read(self.fd, 4096).decode()

    def answer(self, question: str, text: str) -> None:
        """Wait for the question, then type the answer."""
        self.until(question)
        self.seen = ""
        os.write(self.fd, f"{text}\n".encode())

    def end(self) -> int:
        """Read the rest; the exit code."""
        try:
            while chunk := os.read(self.fd, 4096):
                self.seen += chunk.decode()
        except OSError:  # a terminal whose other side is gone reads as EIO
            pass
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.mark.process
@pytest.mark.filterwarnings("ignore:.*forkpty.*:DeprecationWarning")
def test_init_asks(tmp_path: Path) -> None:
    """Five questions and the offer of a test; each answer is checked as it is typed."""
    path = tmp_path / "config.yaml"
    terminal = Terminal("init", "--config", str(path))
    terminal.answer("Number of the TPS", "")
    terminal.answer("An answer is needed here", "12")
    terminal.answer('"12" is not a TPS number', "3273 011 001 005")
    terminal.answer("Address of the collector", "http://c.example")
    terminal.answer("http is not safe", "https://c.example")
    terminal.answer("File with the token", "")
    terminal.answer("Mobile operator", "Telkomsel")
    terminal.answer("Position if there is no GPS", "here")
    terminal.answer("was not understood", "-6,91474 107,60981")
    terminal.answer("Run a first test now?", "y")
    assert terminal.end() == 0
    assert f"tested with {path}" in terminal.seen
    config = load(path, {}).config
    assert config.probe.tps_id == "3273011001005"
    assert config.probe.operator == "Telkomsel"
    assert config.upload.collectors[0].url == "https://c.example/"
    assert config.upload.collectors[0].token_file == str(tmp_path / "token")
    assert config.location.fixed is not None
    assert (config.location.fixed.lat, config.location.fixed.lon) == (-6.91474, 107.60981)


@pytest.mark.process
@pytest.mark.filterwarnings("ignore:.*forkpty.*:DeprecationWarning")
def test_init_gives_up_in_the_end(tmp_path: Path) -> None:
    """A terminal that answers nonsense for ever does not keep it busy for ever."""
    path = tmp_path / "config.yaml"
    terminal = Terminal("init", "--config", str(path))
    terminal.answer("Number of the TPS", "1")
    for _again in range(4):
        terminal.answer("is not a TPS number", "1")
    assert terminal.end() == 2
    assert "no usable answer after 5 tries" in terminal.seen
    assert not path.exists()


@pytest.mark.process
@pytest.mark.filterwarnings("ignore:.*forkpty.*:DeprecationWarning")
def test_init_asks_before_it_replaces(good: Path) -> None:
    """At a terminal an existing file is replaced only after a yes."""
    before = good.read_bytes()
    terminal = Terminal("init", "--config", str(good), "--site", "x")
    terminal.answer("Overwrite it?", "")
    assert terminal.end() == 2
    assert good.read_bytes() == before


@pytest.mark.process
@pytest.mark.filterwarnings("ignore:.*forkpty.*:DeprecationWarning")
def test_init_asks_nothing_with_no_input(tmp_path: Path) -> None:
    """--no-input holds at a terminal too."""
    path = tmp_path / "config.yaml"
    terminal = Terminal("init", "--config", str(path), "--site", "x", "--no-input")
    assert terminal.end() == 0
    assert load(path, {}).config.probe.site == "x"
