"""The alerts are read by Prometheus's own tool, fire when they should, and name metrics that the collector has."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.testclient import TestClient

from sigprobe.collector import store
from sigprobe.collector.worker.loop import Worker
from tests.support.collector_client import Collector, make_result
from tests.support.requirements import ROOT, needs

DEPLOY = ROOT / "deploy"


def promtool(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([needs("promtool", "prometheus"), *args], capture_output=True, text=True, check=False)


def rules() -> list[dict[str, Any]]:
    read = yaml.safe_load((DEPLOY / "alerts.yml").read_text(encoding="utf-8"))
    return [rule for group in read["groups"] for rule in group["rules"]]


@pytest.mark.process
@pytest.mark.system("promtool", "prometheus")
def test_the_rules() -> None:
    """They are valid, and each fires and stays silent as its two cases say."""
    checked = promtool("check", "rules", str(DEPLOY / "alerts.yml"))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tried = promtool("test", "rules", str(DEPLOY / "alerts_test.yml"))
    assert tried.returncode == 0, tried.stdout + tried.stderr
    names = [case["name"] for case in yaml.safe_load((DEPLOY / "alerts_test.yml").read_text(encoding="utf-8"))["tests"]]
    assert sorted(names) == sorted(f"{rule['alert']}: {what}" for rule in rules() for what in ("fires", "stays silent"))


@pytest.mark.process
@pytest.mark.system("promtool", "prometheus")
@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_a_rule_that_never_or_always_fires_is_noticed(rule: dict[str, Any], tmp_path: Path) -> None:
    """The control for the test above: both cases of each alert can fail."""
    shutil.copy(DEPLOY / "alerts_test.yml", tmp_path)
    text = (DEPLOY / "alerts.yml").read_text(encoding="utf-8")
    for expression, case in (("vector(1)", "stays silent"), ("vector(1) > 2", "fires")):
        read = yaml.safe_load(text)
        for group in read["groups"]:
            for other in group["rules"]:
                if other["alert"] == rule["alert"]:
                    other["expr"] = expression
        (tmp_path / "alerts.yml").write_text(yaml.safe_dump(read), encoding="utf-8")
        tried = promtool("test", "rules", str(tmp_path / "alerts_test.yml"))
        assert tried.returncode != 0 and f"{rule['alert']}: {case}" in tried.stdout + tried.stderr


def test_the_metrics_exist(make_collector: Callable[..., Collector], postgres: Any, tmp_path: Path) -> None:
    """Every `sigprobe_` metric of an alert is one that a collector on one of the two engines tells."""
    told = ""
    for url in (f"sqlite:///{tmp_path}/c.db", postgres.new_database()):
        collector = make_collector(store.open_store(url))
        worker = Worker(collector.engine)
        collector.send(make_result(1))
        worker.settle()
        worker.stop()
        told += collector.client.get("/metrics").text
    known = set(re.findall(r"^(sigprobe_\w+)", told, re.MULTILINE))
    wanted = {name for rule in rules() for name in re.findall(r"\bsigprobe_\w+", rule["expr"])}
    assert wanted and wanted <= known, wanted - known


def test_metrics_while_the_database_is_away(make_collector: Callable[..., Collector], tmp_path: Path) -> None:
    """Counters go on, and one number says that the database is away."""
    (tmp_path / "gone").mkdir()
    collector = make_collector(store.open_store(f"sqlite:///{tmp_path}/gone/c.db"))
    collector.send(make_result(1))
    client: TestClient = collector.client
    assert "sigprobe_database_up 1.0" in client.get("/metrics").text, "the control"
    collector.engine.dispose()
    client.app.state.collector.reader.dispose()  # type: ignore[attr-defined]
    client.app.state.watch._known = None  # type: ignore[attr-defined]
    (tmp_path / "gone").rename(tmp_path / "moved")
    told = client.get("/metrics").text
    assert "sigprobe_database_up 0.0" in told
    assert 'sigprobe_records_total{status="accepted"} 1.0' in told
    assert "sigprobe_worker_age_seconds" not in told
    (tmp_path / "moved").rename(tmp_path / "gone")
