"""The published JSON Schema of a record, made from `Result` and from the typed dict of every kind."""

from __future__ import annotations

import json
from typing import Any, Final

from sigprobe.record.result import RUN_KIND, Result

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_UUID: Final = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"


def result_schema() -> dict[str, Any]:
    """Return the JSON Schema of one record, draft 2020-12.

    It is open: unknown fields and kinds are valid, since later versions only add. A check that was left out
    (`skipped`) need not fill its kind's data.
    """
    from pydantic import TypeAdapter

    from sigprobe.measure import data_schemas

    schema = TypeAdapter(Result).json_schema(mode="serialization")
    definitions: dict[str, Any] = schema.pop("$defs", {})
    for part in (schema, *definitions.values()):
        if "properties" in part:
            part["required"] = list(part["properties"])  # a record spells every field out, null where unknown
    properties = schema["properties"]
    for name in ("id", "run_id"):
        properties[name] |= {"pattern": _UUID}
    for name in ("probe_id", "stream_id"):
        properties[name] = {"type": ["string", "null"], "pattern": _UUID}
    properties["started_at"] |= {"format": "date-time"}
    properties["schema"] |= {"minimum": 1}
    properties["seq"] = {"type": ["integer", "null"], "minimum": 1}
    properties["duration_ms"] = {"type": ["number", "null"], "minimum": 0}
    rules: list[dict[str, Any]] = [_failure_rule("ok", "null"), _failure_rule("failed", "object")]
    rules.append(_failure_rule("skipped", "object"))
    for kind, data in {**data_schemas(), RUN_KIND: _run_data()}.items():
        own, inner = _own_names(kind, data)
        definitions |= inner
        definitions[f"{kind}.data"] = own
        condition = {"properties": {"kind": {"const": kind}, "outcome": {"not": {"const": "skipped"}}}}
        rules.append({"if": condition, "then": {"properties": {"data": {"$ref": f"#/$defs/{kind}.data"}}}})
    return {"$schema": DIALECT, **schema, "title": "sigprobe result", "allOf": rules, "$defs": definitions}


def _failure_rule(outcome: str, wanted: str) -> dict[str, Any]:
    return {
        "if": {"properties": {"outcome": {"const": outcome}}},
        "then": {"properties": {"failure": {"type": wanted}}},
    }


def _own_names(kind: str, schema: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a kind's schema and its definitions, renamed so that two kinds may use the same names."""
    renamed = json.loads(json.dumps(schema).replace('"#/$defs/', f'"#/$defs/{kind}.'))
    inner = renamed.pop("$defs", {})
    return renamed, {f"{kind}.{name}": definition for name, definition in inner.items()}


def _run_data() -> dict[str, Any]:
    """Return what the record that ends a run holds; it has no kind of its own in the registry."""
    verdict = {
        "type": "object",
        "required": ["owner", "cause", "confidence", "evidence"],
        "properties": {
            "owner": {"type": "string"},
            "cause": {"type": "string"},
            "confidence": {"type": "number", "minimum": 0, "maximum": 1},
            "evidence": {
                "type": "array",
                "items": {"type": "string", "pattern": _UUID},
                "description": "Ids of the records that the verdict rests on.",
            },
        },
    }
    profile = {
        "type": ["object", "null"],
        "required": ["name", "version"],
        "properties": {"name": {"type": "string"}, "version": {"type": "string"}},
    }
    return {
        "title": "RunData",
        "type": "object",
        "required": ["verdict", "profile", "data_used_bytes", "plan"],
        "properties": {
            "verdict": verdict,
            "profile": profile,
            "data_used_bytes": {"type": ["integer", "null"], "minimum": 0},
            "data_counted_by": {
                "enum": ["interface", "payload"],
                "description": "Where data_used_bytes comes from: the interface's counters, or the checks' own count "
                "where other programs used the interface, too, or it tells nothing.",
            },
            "data_own_bytes": {
                "type": "integer",
                "minimum": 0,
                "description": "What the checks have counted, headers included.",
            },
            "data_interface_bytes": {
                "type": ["integer", "null"],
                "minimum": 0,
                "description": "All that crossed the interface during the run, other programs' data included.",
            },
            "plan": {
                "type": "array",
                "items": {"type": "object", "required": ["name", "kind"]},
                "description": "The checks that the run set out to do, in their order.",
            },
            "time_unchecked_at": {
                "type": "string",
                "format": "date-time",
                "description": "When this probe last sent to a collector without a look at the dates of its "
                "certificate (allow_unchecked_time), before this run; left out when it never did.",
            },
            "drive": {
                "type": "object",
                "required": ["id", "point", "distance_m"],
                "properties": {
                    "id": {"type": "string", "pattern": _UUID},
                    "point": {"type": "integer", "minimum": 1},
                    "distance_m": {"type": "number", "minimum": 0},
                },
                "description": "A run that is a point of a drive: which drive, its number there, the way so far.",
            },
        },
    }
