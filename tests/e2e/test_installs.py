"""The two installs on one device: which queue each command means, and that nobody gets a second one unseen.

The device's own /etc and /var/lib are covered in a mount namespace of each command; people are users of their own,
who may read what root may (the interpreter can lie in root's home) and write what their group may.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from sigprobe.config import parse
from sigprobe.files import locations
from sigprobe.runs.setup import queue_path
from tests.support.requirements import ROOT, missing, needs

GROUP = 59_990
SERVICE, MEMBER, STRANGER = 59_991, 59_992, 59_993
SHARED = "/var/lib/sigprobe/buffer.db"
SETTINGS = "probe: {site: test}\nlanguage: en\ntargets: [{kind: ping, name: device, address: 127.0.0.1, count: 1}]\n"
SCRIPT = """
set -e
mount --rbind /etc "$1/old" && mount -t tmpfs none /etc
for name in "$1"/old/*; do ln -s "$name" /etc/; done
rm -f /etc/sigprobe && mkdir /etc/sigprobe
mount --bind "$1/etc" /etc/sigprobe && mount --bind "$1/lib" /var/lib
shift
exec "$@"
"""


class Device:
    """A laptop with a system install, and the people who use it."""

    def __init__(self, place: Path) -> None:
        self.place = place
        for name in ("old", "etc", "lib", "homes"):
            (place / name).mkdir()
        place.chmod(0o755)
        (place / "etc" / "config.yaml").write_text(SETTINGS)
        self.directory = place / "lib" / "sigprobe"

    def make_directory(self) -> None:
        """As `adduser` and `install -d`, or the unit's StateDirectory, make it."""
        self.directory.mkdir()
        os.chown(self.directory, SERVICE, GROUP)
        self.directory.chmod(0o2770)

    def home(self, user: int) -> Path:
        """The home of somebody."""
        home = self.place / "homes" / str(user)
        if not home.exists():
            home.mkdir()
            os.chown(home, user, user)
        return home

    def run(self, user: int, *args: str, groups: int | None = GROUP, **env: str) -> subprocess.CompletedProcess[str]:
        """One sigprobe command of somebody."""
        who = ["setpriv", f"--reuid={user}", f"--regid={user}"]
        who += ["--clear-groups"] if groups is None else [f"--groups={groups}"]
        who += ["--inh-caps=-all,+dac_read_search", "--ambient-caps=+dac_read_search"]
        who += ["--bounding-set=-all,+dac_read_search"]
        command = ["unshare", "-m", "sh", "-c", SCRIPT, "sh", str(self.place), *who]
        return subprocess.run(
            [*command, sys.executable, "-m", "sigprobe", *args],
            text=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=120,
            check=False,
            cwd=ROOT,
            env={**os.environ, "HOME": str(self.home(user)), "SIGPROBE_LOCATION__SOURCE": "none", **env},
        )

    def test(self, user: int, *args: str, groups: int | None = GROUP, **env: str) -> subprocess.CompletedProcess[str]:
        """One test of somebody, which sends nothing."""
        return self.run(user, "test", "--json", "--no-upload", *args, groups=groups, **env)

    def status(self, user: int, *args: str, groups: int | None = GROUP, **env: str) -> dict[str, object]:
        """What `status --json` tells somebody."""
        done = self.run(user, "status", "--json", *args, groups=groups, **env)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    def findings(self, user: int, groups: int | None = GROUP) -> dict[str, dict[str, str]]:
        """What `doctor --json` tells somebody, by name."""
        done = self.run(user, "doctor", "--json", groups=groups)
        return {found["name"]: found for found in json.loads(done.stdout)}

    def queues_of(self, user: int) -> list[Path]:
        """Queues in somebody's home."""
        return list(self.home(user).rglob("*.db"))


@pytest.fixture
def device(tmp_path: Path) -> Device:
    needs("setpriv", "util-linux")
    if subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        missing("mount namespaces are not permitted here", "sudo make test")
    (tmp_path / "device").mkdir()
    return Device(tmp_path / "device")


@pytest.mark.root
def test_the_service_and_the_officers_share_one_queue(device: Device) -> None:
    """Settings of the system without buffer.path: one queue and one probe, whoever tests, whatever the umask."""
    device.make_directory()
    # as the unit sets it, and it means the same file
    service = device.test(SERVICE, XDG_DATA_HOME="/var/lib")
    assert service.returncode == 0, service.stderr
    kept = json.loads(service.stdout)["saved"]
    officer = device.test(MEMBER)
    assert officer.returncode == 0, officer.stderr
    by_service, by_officer = device.status(SERVICE, XDG_DATA_HOME="/var/lib"), device.status(MEMBER)
    assert by_service["path"] == by_officer["path"] == SHARED
    assert by_service["probe_id"] == by_officer["probe_id"]
    assert by_service["pending"] == by_officer["pending"] == 2 * kept
    assert by_officer["other_queues"] == []
    assert device.queues_of(MEMBER) == []
    rights = {path.name: stat.S_IMODE(path.stat().st_mode) for path in device.directory.glob("buffer.db")}
    assert rights == {"buffer.db": 0o660}
    for args in (("results", "--ndjson"), ("export", str(device.home(MEMBER) / "out.gz")), ("report", "--json")):
        done = device.run(MEMBER, *args)
        assert done.returncode == 0, (args, done.stderr)
    assert device.queues_of(MEMBER) == []


@pytest.mark.root
def test_an_officer_outside_the_group_is_told_and_gets_no_second_queue(device: Device) -> None:
    """Exit 6 before anything is measured, with both ways on; and nothing is made in his home."""
    device.make_directory()
    for args in (("test", "--no-upload"), ("status",), ("upload",), ("agent",)):
        done = device.run(STRANGER, *args, groups=None)
        assert done.returncode == 6, (args, done.stdout, done.stderr)
        assert 'sudo usermod -aG sigprobe "$USER"' in done.stderr
        assert "sigprobe init" in done.stderr
        assert SHARED in done.stderr
    assert device.queues_of(STRANGER) == []
    found = device.findings(STRANGER, groups=None)
    assert found["Install"]["detail"] == f"system install: /etc/sigprobe/config.yaml; queue: {SHARED}"
    assert found["Group"]["state"] == found["Queue"]["state"] == "fail"
    assert found["Group"]["fix"] == 'sudo usermod -aG sigprobe "$USER"'


@pytest.mark.root
def test_settings_of_ones_own_mean_a_queue_of_ones_own(device: Device) -> None:
    """The user's file, or one that is named: his own queue beside the shared one. Naming the system's: not."""
    device.make_directory()
    own = device.home(MEMBER) / ".local" / "share" / "sigprobe" / "buffer.db"
    (device.place / "etc" / "other.yaml").write_text(SETTINGS)
    assert device.status(MEMBER, "--config", "/etc/sigprobe/other.yaml")["path"] == str(own)
    assert device.status(MEMBER, SIGPROBE_CONFIG="/etc/sigprobe/other.yaml")["path"] == str(own)
    assert device.status(MEMBER, "--config", "/etc/sigprobe/config.yaml")["path"] == SHARED
    configured = str(device.home(MEMBER) / "here.db")
    assert device.status(MEMBER, SIGPROBE_BUFFER__PATH=configured)["path"] == configured
    mine = device.home(MEMBER) / ".config" / "sigprobe" / "config.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text(SETTINGS)
    assert device.status(MEMBER)["path"] == str(own)
    # and with the system's settings again, what waits in the own one is named
    mine.unlink()
    shared = device.status(MEMBER)
    assert (shared["path"], shared["other_queues"]) == (SHARED, [str(own)])


@pytest.mark.root
def test_without_the_directory_doctor_warns(device: Device) -> None:
    """Nothing to share was ever made: each has his own queue, and doctor says so with the command that mends it."""
    own = device.home(MEMBER) / ".local" / "share" / "sigprobe" / "buffer.db"
    assert device.status(MEMBER)["path"] == str(own)
    found = device.findings(MEMBER)["Install"]
    assert found["state"] == "warn"
    assert str(own) in found["detail"]
    assert "install -d -o sigprobe -g sigprobe -m 2770 /var/lib/sigprobe" in found["fix"]


@pytest.mark.root
def test_config_show_names_the_queue_that_is_meant(device: Device) -> None:
    """As a comment of the YAML, and as a key of the JSON; `buffer.path` itself stays what the file has."""
    device.make_directory()
    text = device.run(MEMBER, "config", "show", "--origin").stdout
    assert text.splitlines()[:2] == ["# /etc/sigprobe/config.yaml", f"# queue: {SHARED}"]
    document = json.loads(device.run(MEMBER, "config", "show", "--json", "--origin").stdout)
    assert (document["queue"], document["config"]["buffer"]["path"]) == (SHARED, None)
    assert document["origins"]["buffer.path"] == "default"


def test_the_rule_needs_no_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same choice, worked out on stand-ins for the two directories of the system."""
    system, shared = tmp_path / "config.yaml", tmp_path / "lib" / "buffer.db"
    monkeypatch.setattr(locations, "system_file", lambda: system)
    monkeypatch.setattr(locations, "SYSTEM_QUEUE", shared)
    loaded, other = (parse(SETTINGS.encode(), path, {}) for path in (system, tmp_path / "mine.yaml"))
    assert queue_path(loaded) == locations.queue_file()
    shared.parent.mkdir()
    assert queue_path(loaded) == shared
    assert queue_path(other) == locations.queue_file()
    set_by_hand = parse(f"{SETTINGS}buffer: {{path: {tmp_path / 'x.db'}}}\n".encode(), system, {})
    assert queue_path(set_by_hand) == tmp_path / "x.db"
