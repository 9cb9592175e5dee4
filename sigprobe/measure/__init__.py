"""Measure: one package per kind, and the registry `KINDS` that runs any of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sigprobe.measure.dns import kind as dns
from sigprobe.measure.http import kind as http
from sigprobe.measure.kind import CommonOptions, Kind, Measured
from sigprobe.measure.path import kind as path
from sigprobe.measure.ping import kind as ping
from sigprobe.measure.throughput import kind as throughput
from sigprobe.measure.video import kind as video
from sigprobe.measure.web import kind as web
from sigprobe.net.limits import Context

KINDS: Final[Mapping[str, Kind]] = {
    "ping": ping.KIND,
    "dns": dns.KIND,
    "http": http.KIND,
    "throughput": throughput.KIND,
    "web": web.KIND,
    "video": video.KIND,
    "path": path.KIND,
}


def run(options: CommonOptions, context: Context) -> Measured:
    """Run one check. A target that fails is a `Measured`; an exception means the check could not be run."""
    return KINDS[options.kind].measure(options, context)


def data_schemas() -> dict[str, Any]:
    """Return the JSON Schema of each kind's `data`, by kind, made from its typed dict."""
    from pydantic import TypeAdapter

    return {name: TypeAdapter(kind.data).json_schema() for name, kind in KINDS.items()}
