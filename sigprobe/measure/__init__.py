"""The measurement kinds: the one literal registry, and the one way to run any of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sigprobe.measure import dns, http, path, ping, throughput, video, web
from sigprobe.measure.kind import CommonOptions, Context, Kind, Measured

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
    """The JSON Schema of each kind's `data`, by kind, made from its typed dict."""
    from pydantic import TypeAdapter

    return {name: TypeAdapter(kind.data).json_schema() for name, kind in KINDS.items()}
