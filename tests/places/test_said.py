"""Where place names and slips are said: settings, `--tps`, doctor, the collector's pages, the header of a test."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sigprobe.collector.results import view
from sigprobe.collector.results.queries import Tally
from sigprobe.config import ConfigError, parse
from sigprobe.device import doctor
from sigprobe.words import i18n

Run = Callable[..., subprocess.CompletedProcess[str]]
TEMPLATE = """probe: {{tps_id: "{tps}"}}
location: {{source: none}}
buffer: {{path: "{queue}"}}
targets:
  - {{kind: ping, name: device, address: 127.0.0.1, count: 1}}
"""


@pytest.fixture(autouse=True)
def english() -> None:
    i18n.set_language("en")


def config(folder: Path, tps: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(TEMPLATE.format(tps=tps, queue=folder / "queue" / "buffer.db"))
    return path


def test_settings_say_what_was_meant() -> None:
    """A wrong number in the settings is an error that names the number one slip away and its place."""
    with pytest.raises(ConfigError) as caught:
        parse(TEMPLATE.format(tps="2273011001005", queue="/q.db").encode(), Path("c.yaml"), {})
    (problem,) = caught.value.problems
    assert problem.line == 1 and "3273011001005 (Kota Bandung)" in problem.message


def test_an_unlisted_village_is_a_warning_with_the_lists_vintage() -> None:
    """A right shape whose village is not listed loads, with one warning at its line; a listed one loads silently."""
    loaded = parse(TEMPLATE.format(tps="3273011099005", queue="/q.db").encode(), Path("c.yaml"), {})
    (warning,) = loaded.warnings
    assert warning.startswith("c.yaml:1:") and "2025-04" in warning
    for tps in ("3273011001005", "9671011001001"):
        assert parse(TEMPLATE.format(tps=tps, queue="/q.db").encode(), Path("c.yaml"), {}).warnings == ()


def test_doctor_names_place_source_and_licence() -> None:
    """The doctor shows which place the number stands for and where the names come from."""
    fine = doctor.check_place("3273011001005")
    assert fine.state == "ok" and "Sukarasa" in fine.detail
    assert "idn-area-data" in fine.detail and "ODbL" in fine.detail and "2025-04" in fine.detail
    assert doctor.check_place("3273011099005").state == "warn"


def test_the_collectors_overview_names_the_regency() -> None:
    """A TPS number in the overview has its regency beside it; a site and a broken number have nothing made up."""
    when = datetime(2026, 11, 22, tzinfo=UTC)
    regions = [
        view.summary(Tally(subject, {"ok": 1}, when), "en", i18n._).region
        for subject in ("3273011001005", "kpu-kota-bandung", "32<script>", "3273", "2073011001005")
    ]
    assert regions == ["Kota Bandung", None, None, None, None]


def test_commands_say_it_and_go_on(sigprobe: Run, tmp_path: Path) -> None:
    """`config check` warns and passes, `--tps` with a slip suggests and refuses, a test names the city."""
    doubtful = config(tmp_path, "3273011099005")
    checked = sigprobe("config", "check", "--config", str(doubtful), "--lang", "en")
    assert checked.returncode == 0 and "3273011099005" in checked.stderr and "2025-04" in checked.stderr
    right = config(tmp_path, "3273011001005")
    common = ("--only", "ping", "--no-upload", "--config", str(right), "--lang", "en")
    slip = sigprobe("test", "--tps", "327301101005", *common)
    assert slip.returncode == 2 and "3273011001005 (Kota Bandung)" in slip.stderr
    done = sigprobe("test", *common)
    assert done.returncode == 0 and "TPS 3273011001005 · Kota Bandung" in done.stdout
    other = sigprobe("test", "--tps", "3273011099005", *common)
    assert other.returncode == 0 and "Warning" in other.stderr and "2025-04" in other.stderr
