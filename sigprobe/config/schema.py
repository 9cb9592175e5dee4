"""The published JSON Schema of the configuration file, made from the model."""

from __future__ import annotations

from typing import Any

from sigprobe.config.model import Config
from sigprobe.measure.schema import DIALECT


def config_schema() -> dict[str, Any]:
    """The JSON Schema of the file, draft 2020-12. Rules between keys are checked by the reader alone."""
    return {"$schema": DIALECT, **Config.model_json_schema(), "title": "sigprobe configuration"}
