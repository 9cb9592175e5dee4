"""Boot a Debian 12 with a real systemd in a container, and try every unit that this project ships or writes.

    sudo python bench/units.py [--tree FOLDER] [--mirror URL]

It bootstraps Debian into FOLDER (kept for the next run; else a temporary one), installs a wheel of this checkout with
the locked versions, boots, and checks: the collector and its worker become ready under all restrictions, are started
again after SIGKILL, stop in order; the backup runs; a test runs from the timer's service of a user and of the whole
device, and from the agent. One line per check; exits 1 if one fails. Needs root, debootstrap, systemd-container, and a
network for Debian's packages and PyPI. Takes about four minutes the first time, two afterwards.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = (
    "systemd systemd-sysv libpam-systemd dbus dbus-user-session adduser python3 python3-venv ca-certificates curl"
)
BOOT_S = 300

SETTINGS = """probe: {site: rehearsal}
location: {source: none}
targets: [{kind: ping, name: device, address: 127.0.0.1, count: 2, interval_ms: 10}]
verdict: {references: []}
"""

INSIDE = r"""#!/bin/bash
# prints "ok NAME" or "FAILED NAME" for each check, with the journal of what failed
S=/opt/sigprobe/bin/sigprobe
exec > /rehearsal.out 2>&1
check() {
  local name=$1; shift
  if "$@" > /tmp/said 2>&1; then echo "ok $name"; else echo "FAILED $name"; cat /tmp/said; fi
}
eventually() { for _ in $(seq 60); do "$@" && return 0; sleep 0.5; done; return 1; }
ready() { curl -fsS http://127.0.0.1:8470/readyz; }
main_pid() { systemctl show -p MainPID --value sigprobe-collector@8470; }
another() { [ "$(main_pid)" != "$1" ] && [ "$(main_pid)" != 0 ] && ready; }
ended_well() { [ "$(systemctl "$@" -p Result --value)" = success ]; }

adduser --quiet --system --group --home /var/lib/sigprobe --no-create-home sigprobe
systemctl daemon-reload
systemctl start sigprobe-collector@8470 sigprobe-collector-worker
check "the collector is ready" eventually ready
check "the worker runs" systemctl is-active sigprobe-collector-worker
before=$(main_pid)
systemctl kill -s KILL sigprobe-collector@8470
check "the collector is started again after SIGKILL" eventually another "$before"
check "the backup runs and is verified" systemctl start sigprobe-collector-backup
check "the worker stops" systemctl stop sigprobe-collector-worker
check "the worker stopped in order" ended_well show sigprobe-collector-worker
check "the collector stops" systemctl stop sigprobe-collector@8470
check "the collector stopped in order" ended_well show sigprobe-collector@8470

export HOME=/root
mkdir -p /etc/sigprobe && cp /rehearsal.yaml /etc/sigprobe/config.yaml
check "the device's timer is installed" $S schedule install --system
check "a test of the device's timer" systemctl start sigprobe-test
check "the device's agent is installed" $S schedule install --system --agent
check "the device's agent runs" systemctl is-active sigprobe-agent
check "the device's agent is removed" $S schedule remove --system
check "nothing is left of it" test ! -e /etc/systemd/system/sigprobe-agent.service
rm /etc/sigprobe/config.yaml

useradd --create-home petugas
loginctl enable-linger petugas
id=$(id -u petugas)
as() { runuser -u petugas -- env HOME=/home/petugas XDG_RUNTIME_DIR=/run/user/$id "$@"; }
check "a user's manager runs" eventually test -S /run/user/$id/bus
as mkdir -p /home/petugas/.config/sigprobe && as cp /rehearsal.yaml /home/petugas/.config/sigprobe/config.yaml
check "a user's timer is installed" as $S schedule install
check "a test of the user's timer" as systemctl --user start sigprobe-test
check "the user's agent is installed" as $S schedule install --agent
check "the user's agent runs" as systemctl --user is-active sigprobe-agent
check "the user's agent is removed" as $S schedule remove
journalctl --no-pager -u 'sigprobe*' > /rehearsal.journal
systemctl poweroff
"""

UNIT = """[Unit]
After=multi-user.target
[Service]
ExecStart=/rehearsal.sh
[Install]
WantedBy=graphical.target
"""
CHECKS = INSIDE.count("\ncheck ")


def run(*command: str) -> None:
    """Run a command and stop with its output if it fails."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def bootstrap(tree: Path, mirror: str) -> None:
    """Make a Debian 12 with systemd and Python, unless there is one."""
    if not (tree / "usr/bin/systemctl").exists():
        print(f"bootstrapping Debian 12 into {tree}", flush=True)
        run(
            "debootstrap", "--variant=minbase", f"--include={PACKAGES.replace(' ', ',')}", "bookworm", str(tree), mirror
        )


def install(tree: Path) -> None:
    """Install this checkout, with the locked versions, and its units."""
    print("installing this checkout", flush=True)
    shutil.copy("/etc/resolv.conf", tree / "etc/resolv.conf")
    with tempfile.TemporaryDirectory() as folder:
        run(
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-build-isolation",
            "--no-deps",
            "-w",
            folder,
            str(ROOT),
        )
        wheel = next(Path(folder).glob("sigprobe-*.whl"))
        libraries = tree / "opt/sigprobe"
        shutil.rmtree(libraries, ignore_errors=True)
        run("chroot", str(tree), "python3", "-m", "venv", "--without-pip", "/opt/sigprobe")
        site = next(libraries.glob("lib/python3*/site-packages"))
        # by this machine's pip, which knows where packages come from here, for the container's Python
        version = site.parent.name.removeprefix("python")
        run(
            *(sys.executable, "-m", "pip", "install", "--quiet", "--target", str(site), "--python-version", version),
            *("--only-binary=:all:", "--constraint", str(ROOT / "constraints.txt"), f"{wheel}[collector]"),
        )
    script = libraries / "bin/sigprobe"
    script.write_text("#!/opt/sigprobe/bin/python3\nfrom sigprobe.cli import main\nmain()\n")
    script.chmod(0o755)
    for unit in (ROOT / "deploy/systemd").glob("sigprobe-*"):
        shutil.copy(unit, tree / "etc/systemd/system")
    (tree / "etc/sigprobe").mkdir(exist_ok=True)
    database = "SIGPROBE_DATABASE=sqlite:////var/lib/sigprobe/collector.db\n"
    (tree / "etc/sigprobe/collector.env").write_text(database)
    (tree / "rehearsal.yaml").write_text(SETTINGS)
    (tree / "rehearsal.sh").write_text(INSIDE)
    (tree / "rehearsal.sh").chmod(0o755)
    (tree / "etc/systemd/system/rehearsal.service").write_text(UNIT)
    (tree / "rehearsal.out").unlink(missing_ok=True)
    run("chroot", str(tree), "systemctl", "enable", "rehearsal")


def main() -> int:
    """Prepare, boot and report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tree", type=Path)
    parser.add_argument("--mirror", default="http://deb.debian.org/debian")
    arguments = parser.parse_args()
    missing = [name for name in ("debootstrap", "systemd-nspawn") if shutil.which(name) is None]
    if os.geteuid() != 0 or missing:
        print("this needs root, debootstrap and systemd-nspawn: apt-get install debootstrap systemd-container")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        tree = (arguments.tree or Path(folder) / "tree").absolute()
        tree.mkdir(parents=True, exist_ok=True)
        bootstrap(tree, arguments.mirror)
        install(tree)
        print("booting", flush=True)
        subprocess.run(
            ("systemd-nspawn", "--quiet", "--directory", str(tree), "--register=no", "--keep-unit", "--boot"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            timeout=BOOT_S,
            check=False,
        )
        said = (tree / "rehearsal.out").read_text() if (tree / "rehearsal.out").exists() else ""
        journal = tree / "rehearsal.journal"
        good = sum(line.startswith("ok ") for line in said.splitlines())
        print(said, end="")
        print(f"{good} of {CHECKS} checks passed")
        if good < CHECKS and journal.exists():
            print(journal.read_text()[-6000:])
    return 0 if good == CHECKS else 1


if __name__ == "__main__":
    sys.exit(main())
