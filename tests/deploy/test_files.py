"""The files in `deploy/` are read by the programs that they are for."""

from __future__ import annotations

import ctypes
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests.support.collector_process import COMMAND, Spawn
from tests.support.requirements import ROOT, needs

pytestmark = pytest.mark.process

DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("sigprobe-*"))


def as_here(unit: Path, folder: Path) -> Path:
    """Copy a unit with the program of this environment in place of the installed one; a template gets a port."""
    text = unit.read_text(encoding="utf-8").replace("/opt/sigprobe/bin/sigprobe", f"{Path(sys.prefix)}/bin/sigprobe")
    copy = folder / unit.name.replace("@.", "@8470.")
    copy.write_text(text, encoding="utf-8")
    return copy


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
@pytest.mark.system("systemd-analyze", "systemd")
def test_units(unit: Path, tmp_path: Path) -> None:
    """systemd reads each without a complaint, and finds it well confined."""
    for other in UNITS:
        as_here(other, tmp_path)
    copy = as_here(unit, tmp_path)
    analyze = needs("systemd-analyze", "systemd")
    read = subprocess.run([analyze, "verify", str(copy)], capture_output=True, text=True, check=False)
    assert (read.returncode, read.stderr) == (0, ""), read.stderr
    if unit.suffix == ".service":
        command = [analyze, "security", "--offline=true", "--threshold=20", str(copy)]
        judged = subprocess.run(command, capture_output=True, text=True, check=False)
        assert judged.returncode == 0, judged.stdout[-400:]


@pytest.mark.system("systemd-analyze", "systemd")
def test_a_unit_without_confinement_is_noticed(tmp_path: Path) -> None:
    """The control for the test above."""
    unit = tmp_path / "sigprobe-open.service"
    unit.write_text(f"[Service]\nExecStart={sys.executable}\nNonsense=1\n", encoding="utf-8")
    read = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert "Nonsense" in read.stderr
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(unit)]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


def test_the_commands_of_units_exist(sigprobe: object) -> None:
    """Each ExecStart names a command and options of this version."""
    for unit in UNITS:
        for line in re.findall(r"^ExecStart=(.*)$", unit.read_text(encoding="utf-8"), re.MULTILINE):
            words = shlex.split(line.replace("%i", "8470"))
            if words[0] == "/bin/sh":
                words = shlex.split(words[2].removeprefix("exec "))
            assert words[:2] == ["/opt/sigprobe/bin/sigprobe", "collector"]
            shown = sigprobe("collector", words[2], "--help").stdout  # type: ignore[operator]
            for option in (word for word in words[3:] if word.startswith("--")):
                assert option in shown, f"{unit.name}: {option}"


def test_the_collector_runs_confined(spawn: Spawn, tmp_path: Path) -> None:
    """What the units take away that could break a Python program: writable code pages, capabilities, new rights."""
    refuse_exec_gain, no_new_privileges = 65, 38

    def confine() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(no_new_privileges, 1, 0, 0, 0)
        libc.prctl(refuse_exec_gain, 1, 0, 0, 0)  # a kernel before 6.3 does not know it

    process = spawn(
        [*COMMAND, "serve", "--port", "0", "--log-level", "error"],
        env={**os.environ, "SIGPROBE_DATABASE": f"sqlite:///{tmp_path}/c.db"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=confine,
    )
    assert process.stderr is not None
    found = next((found for line in process.stderr if (found := re.search(r"http://\S+/", line))), None)
    assert found is not None
    assert requests.get(found[0] + "healthz", timeout=30).status_code == 200


@pytest.mark.system("nginx", "nginx")
def test_nginx(tmp_path: Path) -> None:
    """nginx reads the file as it is, but for the certificate; a broken one is refused."""
    key = tmp_path / "key.pem"
    cert = tmp_path / "cert.pem"
    openssl = needs("openssl", "openssl")
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(cert),
         "-days", "2", "-subj", "/CN=collector.example.org"],
        check=True, capture_output=True,
    )  # fmt: skip
    text = (DEPLOY / "nginx" / "sigprobe.conf").read_text(encoding="utf-8")
    text = text.replace("/etc/ssl/sigprobe/fullchain.pem", str(cert)).replace("/etc/ssl/sigprobe/privkey.pem", str(key))

    def read(content: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "site.conf").write_text(content, encoding="utf-8")
        (tmp_path / "nginx.conf").write_text(
            f"pid {tmp_path}/pid; error_log stderr; events {{}}\n"
            f"http {{ access_log off; include {tmp_path}/site.conf; }}\n",
            encoding="utf-8",
        )
        command = [needs("nginx", "nginx"), "-t", "-e", "stderr", "-c", str(tmp_path / "nginx.conf")]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    good = read(text)
    assert good.returncode == 0 and "[warn]" not in good.stderr, good.stderr
    assert read(text.replace("proxy_next_upstream_tries", "proxy_next_tries")).returncode != 0
    assert "ssl_protocols       TLSv1.2 TLSv1.3;" in text


@pytest.mark.system("haproxy", "haproxy")
def test_haproxy() -> None:
    """haproxy reads its file."""
    command = [needs("haproxy", "haproxy"), "-c", "-f", str(DEPLOY / "postgresql" / "haproxy.cfg")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


INSTRUCTIONS = {
    *("FROM", "RUN", "WORKDIR", "COPY", "ENV", "USER", "VOLUME", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"),
}


def test_the_containerfile(sigprobe: object) -> None:
    """Every instruction is known, every copied path exists, it does not run as root, and its command is one of ours.

    It is not built here: that needs a registry.
    """
    text = (DEPLOY / "container" / "Containerfile").read_text(encoding="utf-8").replace("\\\n", "")
    steps = [line.split(None, 1) for line in text.splitlines() if line and not line.startswith("#")]
    assert {name for name, _rest in steps} <= INSTRUCTIONS
    for rest in (rest for name, rest in steps if name == "FROM"):
        assert rest.startswith("debian:12-slim")
    for rest in (rest for name, rest in steps if name == "COPY" and not rest.startswith("--from")):
        for source in rest.split()[:-1]:
            assert (ROOT / source).exists(), source
    names = [name for name, _rest in steps]
    assert names.index("USER") < names.index("ENTRYPOINT")
    assert next(rest for name, rest in steps if name == "USER") != "root"
    command = json.loads(next(rest for name, rest in steps if name == "CMD"))
    shown = sigprobe("collector", command[0], "--help").stdout  # type: ignore[operator]
    assert all(word in shown for word in command if word.startswith("--"))
    for rest in (rest for name, rest in steps if name == "RUN"):
        shell = subprocess.run([shutil.which("sh") or "sh", "-n"], input=rest, text=True, check=False)
        assert shell.returncode == 0, rest
