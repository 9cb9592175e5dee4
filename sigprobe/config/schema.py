"""Publish the JSON Schema of the configuration file, made from the model."""

from __future__ import annotations

import json
from typing import Any

from sigprobe.config.model import Config
from sigprobe.measure.schema import DIALECT


def config_schema() -> dict[str, Any]:
    """Return the JSON Schema of the file, draft 2020-12. Rules between keys are checked by the reader alone."""
    schema = _with_stable_names(Config.model_json_schema())
    return {"$schema": DIALECT, **schema, "title": "sigprobe configuration"}


def _with_stable_names(schema: dict[str, Any]) -> dict[str, Any]:
    """Name each kind's options after the kind (`DnsOptions`); pydantic's names follow the module's path."""
    definitions = schema["$defs"]
    names = {
        name: f"{kind.title().replace('_', '')}Options"
        for name, definition in definitions.items()
        if (kind := definition.get("properties", {}).get("kind", {}).get("const"))
    }
    schema["$defs"] = {names.get(name, name): definition for name, definition in definitions.items()}
    for name in names.values():
        schema["$defs"][name]["title"] = name
    text = json.dumps(schema)
    for old, new in names.items():
        text = text.replace(f'"#/$defs/{old}"', f'"#/$defs/{new}"')
    renamed: dict[str, Any] = json.loads(text)
    return renamed
