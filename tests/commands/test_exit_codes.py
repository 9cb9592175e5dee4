"""The exit codes a script relies on, each reached for real."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.commands.conftest import CLOSED, PING, Settings
from tests.support import netns
from tests.support.running_site import Run, status
from tests.support.servers.tcp import Peer, tcp_server

Spawn = Callable[..., "subprocess.Popen[str]"]


@contextmanager
def mounted(place: Path, options: str) -> Iterator[Path]:
    """A small file system of its own in memory; root ignores modes, so only a mount can be full or read-only."""
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.root
@pytest.mark.system("ip", "iproute2")
def test_a_blank_spot_is_exit_0(settings: Settings) -> None:
    """No network at all: every check is a failed result with its own cause, all are saved, exit 0."""
    config = settings(
        {"kind": "ping", "name": "gateway", "address": "default-gateway", "count": 1},
        {"kind": "ping", "name": "far", "address": "192.0.2.1", "count": 1},
        {"kind": "dns", "name": "names", "hostname": "kpu.test", "resolvers": ["192.0.2.53"], "timeout_ms": 2000},
        {"kind": "http", "name": "page", "url": "http://192.0.2.80/", "timeout_ms": 2000},
        {"kind": "throughput", "name": "speed", "engine": "http", "url": "http://192.0.2.80/", "timeout_ms": 4000},
    )
    with netns.namespace("blank") as space:
        space.ip("link", "set", "lo", "down")
        done = space.run(sys.executable, "-m", "sigprobe", "test", "--json", "--config", str(config), check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    causes = {result["target"]["name"]: (result["failure"] or {}).get("code") for result in document["results"]}
    assert {result["outcome"] for result in document["results"]} == {"failed"}
    assert causes["gateway"] == "no_gateway"
    assert {causes[name] for name in ("far", "names", "page", "speed")} <= {"network_unreachable", "no_network"}
    ping = next(result for result in document["results"] if result["target"]["name"] == "far")
    assert ping["data"]["loss_ratio"] == 1.0 and ping["data"]["rtt_avg_ms"] is None
    assert (document["saved"], document["pending"]) == (7, 7)
    assert document["verdict"]["cause"] == "no_network"


@pytest.mark.root
@pytest.mark.system("mount", "mount")
def test_a_read_only_disk_is_exit_6(settings: Settings, sigprobe: Run, tmp_path: Path) -> None:
    """What cannot be kept is said loudly: exit 6 and a sentence with its code, in both languages; nothing on stdout."""
    with mounted(tmp_path / "disk", "size=2m,ro") as disk:
        config = settings(PING, buffer={"path": str(disk / "buffer.db")})
        for language, said in (("id", "TIDAK TERSIMPAN"), ("en", "NOT SAVED")):
            done = sigprobe("test", "--json", "--lang", language, "--config", str(config))
            assert (done.returncode, done.stdout) == (6, "")
            assert "SP-DSK-" in done.stderr and said in done.stderr and str(disk) in done.stderr
            assert "Traceback" not in done.stderr


@pytest.mark.root
@pytest.mark.system("mount", "mount")
def test_a_full_disk_is_exit_6(settings: Settings, sigprobe: Run, tmp_path: Path) -> None:
    """A disk that fills up while results are written: exit 6, what to do is said, and what was kept stays whole."""
    with mounted(tmp_path / "disk", "size=2m") as disk:
        many = [{**CLOSED, "name": f"closed-{n}"} for n in range(60)]
        config = settings(*many, buffer={"path": str(disk / "buffer.db")})
        assert sigprobe("test", "-q", "--config", str(config)).returncode == 0
        with (disk / "filler").open("wb", buffering=0) as filler:
            try:
                while filler.write(bytes(4096)):
                    pass
            except OSError:
                pass
        codes, said = [], ""
        for _ in range(12):  # the queue keeps some room of its own, which is used first
            done = sigprobe("test", "--json", "--only", "http", "--config", str(config))
            codes.append(done.returncode)
            if done.returncode:
                said = done.stderr
                break
        assert codes[-1] == 6, codes
        assert "SP-DSK-" in said and "NOT SAVED" in said and "Traceback" not in said
        (disk / "filler").unlink()
        kept = sigprobe("results", "--ndjson", "--config", str(config)).stdout.splitlines()
        assert len(kept) >= 61 * len(codes) and all(json.loads(line)["id"] for line in kept)
        assert sigprobe("test", "-q", "--config", str(config)).returncode == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("form", ["--json", "--ndjson", "screen"])
def test_a_signal_keeps_what_is_finished(
    form: str, number: signal.Signals, code: int, settings: Settings, sigprobe: Run, spawn: Spawn
) -> None:
    """Ctrl-C or SIGTERM in the middle: exit 130 or 143, finished steps and an `interrupted` run are kept."""

    def silent(peer: Peer) -> None:
        peer.head()
        peer.wait()

    with tcp_server(silent) as server:
        config = settings(PING, {"kind": "http", "name": "slow", "url": server.url("/"), "timeout_ms": 60_000})
        flags = [] if form == "screen" else [form]
        process = spawn(
            [sys.executable, "-m", "sigprobe", "test", *flags, "--lang", "en", "--config", str(config)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            env=dict(os.environ),
        )
        assert process.stderr is not None
        for line in process.stderr:  # the ping is on disk once its line is drawn
            if "device" in line and "ms" in line:
                break
        until = time.monotonic() + 30
        while not server.connections and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == code, stderr
    assert "Traceback" not in stderr
    kept = [json.loads(line) for line in sigprobe("results", "--ndjson", "--config", str(config)).stdout.splitlines()]
    assert (kept[0]["target"]["name"], kept[0]["outcome"]) == ("device", "ok")
    assert (kept[-1]["kind"], kept[-1]["failure"]["code"]) == ("run", "interrupted")
    assert status(sigprobe, config)["pending"] == len(kept)
    if form == "--json":
        assert json.loads(stdout)["saved"] == len(kept)
    elif form == "--ndjson":
        assert [json.loads(line) for line in stdout.splitlines()] == kept
    else:
        assert "Stopped. Finished checks are stored." in stdout + stderr


BAD_SETTINGS = {
    "broken YAML": ("probe: [\n", "2:1"),
    "unknown key": ('probe: {site: "a"}\ntargets: [{kind: ping, name: a, address: x, cuont: 3}]\n', "2:45"),
    "unknown kind": ('probe: {site: "a"}\ntargets: [{kind: pnig, name: a}]\n', "2:18"),
    "wrong type": ('probe: {site: "a"}\ntargets: [{kind: ping, name: a, address: x, count: many}]\n', "2:52"),
    "TPS as a number": ("probe: {tps_id: 3273011001005}\ntargets: [{kind: ping, name: a, address: x}]\n", "1:17"),
    "duplicate key": ('probe: {site: "a"}\nprobe: {site: "b"}\ntargets: [{kind: ping, name: a, address: x}]\n', "2:1"),
}


@pytest.mark.parametrize("name", BAD_SETTINGS)
def test_bad_settings_are_exit_2_from_every_verb(name: str, sigprobe: Run, tmp_path: Path) -> None:
    """A mistake in the settings: exit 2 with file:line:column, before anything is measured, whatever the command."""
    text, place = BAD_SETTINGS[name]
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    for verb in (["test", "--json"], ["upload"], ["config", "check"]):
        done = sigprobe(*verb, "--config", str(path), "--lang", "id")
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert f"{path}:{place}: " in done.stderr, done.stderr


def test_missing_settings_are_exit_2(sigprobe: Run, tmp_path: Path) -> None:
    """Without settings, or with a file that is not there, the next step is named."""
    for flags in ([], ["--config", str(tmp_path / "none.yaml")]):
        done = sigprobe("test", *flags)
        assert (done.returncode, done.stdout) == (2, "")
        assert "sigprobe init" in done.stderr


def test_all_mistakes_at_once(sigprobe: Run, tmp_path: Path) -> None:
    """Three mistakes are three lines, not three tries."""
    path = tmp_path / "bad.yaml"
    path.write_text(
        "probe: {tps_id: 3273011001005}\ntargets: [{kind: ping, name: a, address: x, count: 0}]\nprofil: x\n"
    )
    done = sigprobe("config", "check", "--config", str(path))
    assert len([line for line in done.stderr.splitlines() if line.startswith(f"{path}:")]) == 3, done.stderr


def test_a_reader_that_leaves(settings: Settings, sigprobe: Run, spawn: Spawn) -> None:
    """`sigprobe results --ndjson | head -1` ends without a traceback."""
    config = settings(PING, CLOSED)
    sigprobe("test", "-q", "--config", str(config))
    command = f"{sys.executable} -m sigprobe results --ndjson --config {config} | head -c 1"
    shell = spawn(["sh", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ))
    stdout, stderr = shell.communicate(timeout=60)
    assert stdout == "{"
    assert "Traceback" not in stderr and "Exception ignored" not in stderr


READING = [
    ("status", "--json"),
    ("status",),
    ("results", "--ndjson"),
    ("results",),
    ("share",),
    ("report", "--json"),
    ("ready",),
    ("nearest", "--lat", "-6.9", "--lon", "107.6"),
    ("schedule", "show"),
    ("export", "{folder}/stick.gz", "--force"),
]


@pytest.mark.root
@pytest.mark.parametrize(
    ("options", "warning"),
    [("size=600k", "SP-DSK-01"), ("size=600k,remount,ro", "SP-DSK-02")],
    ids=["full", "read-only"],
)
def test_reading_needs_no_room(options: str, warning: str, settings: Settings, tmp_path: Path, sigprobe: Run) -> None:
    """On a full or read-only disk whatever only reads works, says why nothing can be saved, and exits with 0."""
    with mounted(tmp_path / "disk", "size=600k") as disk:
        config = str(settings(PING, buffer={"path": str(disk / "q" / "buffer.db")}))
        assert sigprobe("test", "--no-upload", "--config", config).returncode == 0
        before = sigprobe("results", "--ndjson", "--config", config).stdout
        (disk / "q" / "buffer.db.ballast").unlink()
        if "ro" in options:
            subprocess.run(["mount", "-o", options, str(disk)], check=True)
        else:
            with suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
                while True:
                    filler.write(b"x" * 1024)
        for words in READING:
            done = sigprobe(*(w.format(folder=tmp_path) for w in words), "--lang", "en", "--config", config)
            assert (done.returncode, done.stderr.count(warning)) == (0, 1), (words, done.stderr)
        assert sigprobe("results", "--ndjson", "--config", config).stdout == before and len(before.splitlines()) == 3
        done = sigprobe("test", "--no-upload", "--config", config)
        assert done.returncode == 6, "the control"
