"""Complete the OpenAPI document with the parts that the framework cannot derive."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi


def describe(app: FastAPI) -> None:
    """Add our errors, the receipt and the bearer token to the document of the app."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
            parts: MutableMapping[str, Any] = schema.setdefault("components", {})
            parts.setdefault("securitySchemes", {})["bearer"] = {"type": "http", "scheme": "bearer"}
            parts.setdefault("schemas", {}).update(_SCHEMAS)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


_SCHEMAS: Final[dict[str, Any]] = {
    "Problem": {
        "type": "object",
        "required": ["type", "title", "status", "sigprobe"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "sigprobe": {"const": 1},
        },
    },
    "Receipt": {
        "type": "object",
        "required": ["receipt", "batch", "digest", "results"],
        "properties": {
            "receipt": {"type": "integer"},
            "batch": {"type": "string"},
            "digest": {"type": "string"},
            "server_time": {"type": "string", "format": "date-time"},
            "results": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["id", "status"],
                    "properties": {
                        "id": {"type": "string"},
                        "status": {"enum": ["accepted", "duplicate", "rejected", "conflict", "retry"]},
                        "reason": {"type": "string"},
                    },
                },
            },
        },
    },
}
