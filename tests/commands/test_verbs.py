"""The other verbs as people and scripts meet them: init, config, status, results, doctor, explain."""

from __future__ import annotations

import json
from pathlib import Path

from tests.commands.conftest import CLOSED, PING, TPS, Settings
from tests.support.running_site import Run, Site


def test_init_then_check_then_test(sigprobe: Run, tmp_path: Path, site: Site) -> None:
    """From nothing to a first result without a question: `init` by flags, `config check`, `test`; `upload` sends it."""
    path = tmp_path / "settings" / "config.yaml"
    flags = ["--no-input", "--tps", TPS, "--collector", site.url, "--token-file", str(site.token_file)]
    done = sigprobe("init", *flags, "--lat", "-6.91474", "--lon", "107.60981", "--config", str(path))
    assert done.returncode == 0, done.stderr
    assert str(path) in done.stdout and "sigprobe test" in done.stdout
    assert "ok" in sigprobe("config", "check", "--config", str(path)).stdout
    shown = json.loads(sigprobe("config", "show", "--json", "--origin", "--config", str(path)).stdout)
    assert shown["config"]["probe"]["tps_id"] == TPS
    assert any(str(path) in str(origin) or "file" in str(origin) for origin in shown["origins"].values())
    # the targets that init writes lie beyond this machine: a test measures on loopback instead
    text = path.read_text()
    head, _targets, _rest = text.partition("\ntargets:")
    path.write_text(f"{head}\ntargets: [{json.dumps(PING)}]\n")
    done = sigprobe("test", "--json", "--only", "ping", "--no-upload", "--config", str(path))
    assert done.returncode == 0, done.stderr
    tags = json.loads(done.stdout)["results"][0]["tags"]
    assert tags["tps_id"] == TPS
    assert sigprobe("init", *flags, "--config", str(path)).returncode == 2, "a second init replaces nothing unasked"


def test_status_for_programs_and_people(settings: Settings, sigprobe: Run) -> None:
    """`status --json` has the promised fields, with null for what never was; the screen ends in the next command."""
    config = settings(PING)
    empty = json.loads(sigprobe("status", "--json", "--config", str(config)).stdout)
    assert {"pending", "acked", "rejected", "oldest_pending_at", "last_upload_at"} <= set(empty)
    assert (empty["pending"], empty["oldest_pending_at"], empty["last_upload_at"]) == (0, None, None)
    sigprobe("test", "-q", "--only", "ping", "--config", str(config))
    full = json.loads(sigprobe("status", "--json", "--config", str(config)).stdout)
    assert full["pending"] == 2 and full["oldest_pending_at"].endswith("Z")
    shown = sigprobe("status", "--lang", "id", "--config", str(config))
    assert shown.stdout.splitlines()[-1].startswith("Berikutnya: sigprobe ")


def test_results_by_state(site: Site, settings: Settings, sigprobe: Run) -> None:
    """All states unless one is asked for; every form holds the same records; an empty choice says what it is."""
    upload = {"collectors": [{"url": site.url, "token_file": str(site.token_file)}]}
    config = settings(PING, CLOSED, upload=upload)
    sigprobe("test", "-q", "--only", "ping", "--config", str(config))
    sigprobe("test", "-q", "--only", "http", "--no-upload", "--config", str(config))

    def listed(*flags: str) -> list[dict[str, object]]:
        done = sigprobe("results", "--json", *flags, "--config", str(config))
        assert done.returncode == 0, done.stderr
        found: list[dict[str, object]] = json.loads(done.stdout)
        return found

    assert [entry["state"] for entry in listed()] == ["acked", "acked", "pending", "pending"]
    assert len(listed("--state", "acked")) == len(listed("--state", "pending")) == 2
    assert len(listed("--state", "acked", "--state", "pending")) == 4
    assert listed("--state", "rejected") == []
    lines = sigprobe("results", "--ndjson", "--config", str(config)).stdout.splitlines()
    assert [json.loads(line) for line in lines] == [entry["result"] for entry in listed()]
    screen = sigprobe("results", "--lang", "en", "--config", str(config)).stdout
    assert len(screen.splitlines()) == 5 and "waiting" in screen and "sent" in screen
    none = sigprobe("results", "--state", "rejected", "--lang", "en", "--config", str(config)).stdout
    assert "has this state" in none
    wrong = sigprobe("results", "--state", "lost", "--config", str(config))
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "pending, acked, rejected" in wrong.stderr


def test_doctor_finds_faults_and_mends_each(settings: Settings, sigprobe: Run, tmp_path: Path) -> None:
    """Broken surroundings: exit 1, and every line that is not ok has a fix to paste; `--json` says the same."""
    token = tmp_path / "token"
    token.touch()
    token.write_text("t")
    token.chmod(0o644)
    config = settings(
        PING,
        location={"source": "gpsd", "gpsd": "127.0.0.1:9"},
        upload={"collectors": [{"url": "http://127.0.0.1:9/", "token_file": str(token)}]},
    )
    done = sigprobe("doctor", "--json", "--config", str(config))
    assert done.returncode == 1, done.stderr
    findings = json.loads(done.stdout)
    assert all(finding["state"] in ("ok", "warn", "fail") for finding in findings)
    assert [finding for finding in findings if finding["state"] != "ok" and not finding["fix"]] == []
    assert any(f["fix"] == f"chmod 600 {token}" for f in findings if f["state"] == "fail")
    assert any("gpsd" in f["fix"] for f in findings if f["state"] == "fail")
    for language in ("id", "en"):
        shown = sigprobe("doctor", "--lang", language, "--config", str(config))
        assert shown.returncode == 1
        assert f"> chmod 600 {token}" in shown.stdout
    token.chmod(0o600)
    findings = json.loads(sigprobe("doctor", "--json", "--config", str(config)).stdout)
    assert any("127.0.0.1:9" in f["detail"] and f["state"] == "fail" and f["fix"] for f in findings), "nobody answers"


def test_doctor_with_a_good_collector(site: Site, settings: Settings, sigprobe: Run) -> None:
    """A collector that takes our token is ok, its clock is the measure, and nothing is stored there by asking."""
    config = settings(PING, upload={"collectors": [{"url": site.url, "token_file": str(site.token_file)}]})
    findings = json.loads(sigprobe("doctor", "--json", "--config", str(config)).stdout)
    assert [f["state"] for f in findings if f["detail"] == site.url] == ["ok"]
    assert site.stored() == []
    site.token_file.write_text("of-somebody-else")
    findings = json.loads(sigprobe("doctor", "--json", "--config", str(config)).stdout)
    assert any(f["state"] == "fail" and "SP-SYN-03" in (f["fix"] or "") for f in findings)


def test_explain(sigprobe: Run) -> None:
    """A code in either spelling gives the same; a slip gets the nearest one, and exit 2."""
    for language in ("id", "en"):
        by_screen = sigprobe("explain", "SP-NET-01", "--lang", language)
        by_code = sigprobe("explain", "no_signal", "--lang", language)
        assert (by_screen.returncode, by_screen.stdout) == (0, by_code.stdout)
        assert "sigprobe upload" in by_screen.stdout
    slip = sigprobe("explain", "SP-NET-1", "--lang", "en")
    assert (slip.returncode, slip.stdout) == (2, "")
    assert "SP-NET-0" in slip.stderr
    assert "timeout" in sigprobe("explain", "tmeout", "--lang", "id").stderr
    assert sigprobe("explain", "timeout", "--lang", "en").stdout.splitlines()[1].startswith("Meaning     The target")
