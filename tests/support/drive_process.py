"""Run a drive in its own process and read its output."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

PING = {"kind": "ping", "name": "near", "address": "127.0.0.1", "count": 2, "interval_ms": 10}


class Driving:
    """A drive in its own process, read one point at a time."""

    def __init__(self, process: subprocess.Popen[str], base: Path) -> None:
        self.process = process
        self.base = base
        self.rows: list[dict[str, Any]] = []

    def row(self) -> dict[str, Any]:
        """Return the next line of its output."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read() if self.process.stderr else ""
        self.rows.append(json.loads(line))
        return self.rows[-1]

    def row_where(self, wanted: Callable[[dict[str, Any]], bool], most: int = 25) -> dict[str, Any]:
        """Return the first of the next points that matches."""
        for _ in range(most):
            if wanted(self.row()):
                return self.rows[-1]
        raise AssertionError(f"none of {most} points: {self.rows[-most:]}")

    def end(self) -> tuple[int, dict[str, Any], str]:
        """Wait for the end: exit code, summary, messages."""
        out, err = self.process.communicate(timeout=60)
        lines = [json.loads(line) for line in out.splitlines()]
        self.rows += lines[:-1]
        return self.process.returncode, lines[-1]["summary"], err

    def geojson(self) -> dict[str, Any]:
        return json.loads(self.base.with_name(self.base.name + ".geojson").read_text())  # type: ignore[no-any-return]

    def csv(self) -> list[dict[str, str]]:
        with self.base.with_name(self.base.name + ".csv").open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def html(self) -> str:
        return self.base.with_name(self.base.name + ".html").read_text(encoding="utf-8")
