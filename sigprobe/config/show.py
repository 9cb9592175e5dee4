"""The effective configuration as YAML, each value with its origin behind it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from sigprobe.config import Loaded
from sigprobe.config.problems import Key, dotted
from sigprobe.files.tokens import masked


def values(loaded: Loaded) -> dict[str, Any]:
    """Return every key with the value in use, as plain JSON values; what looks like a secret is masked."""
    found: dict[str, Any] = _masked(loaded.config.model_dump(mode="json"))
    return found


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _masked(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_masked(inner) for inner in value]
    return masked(value) if isinstance(value, str) and "://" not in value else value


def origins(loaded: Loaded) -> dict[str, str]:
    """Return the origin of every value in use, by dotted key."""
    return {dotted(key): str(loaded.origin(dotted(key))) for key, _text in _leaves(values(loaded), ())}


def to_yaml(loaded: Loaded, *, with_origin: bool = False) -> str:
    """YAML that loads back to the same configuration; with `with_origin`, `# where it came from` behind each."""
    lines = list(_lines(values(loaded), (), 0, lambda key: str(loaded.origin(dotted(key)))))
    if not with_origin:
        return "".join(f"{text}\n" for text, _where in lines)
    width = min(60, max(len(text) for text, _where in lines))
    return "".join(f"{text:<{width}}  # {where}\n" if where else f"{text}\n" for text, where in lines)


def _leaves(value: Any, key: Key) -> Iterator[tuple[Key, str]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(inner, (*key, name))
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for index, inner in enumerate(value):
            yield from _leaves(inner, (*key, index))
    else:
        yield key, json.dumps(value, ensure_ascii=False)


def _lines(value: Any, key: Key, depth: int, where: Callable[[Key], str]) -> Iterator[tuple[str, str]]:
    indent = "  " * depth
    for name, inner in value.items():
        full = (*key, name)
        label = name if key[-1:] != ("interfaces",) else json.dumps(name, ensure_ascii=False)
        if isinstance(inner, dict) and inner:
            yield f"{indent}{label}:", ""
            yield from _lines(inner, full, depth + 1, where)
        elif isinstance(inner, list) and any(isinstance(item, dict) for item in inner):
            yield f"{indent}{label}:", ""
            for index, item in enumerate(inner):
                for number, (text, origin) in enumerate(_lines(item, (*full, index), depth + 2, where)):
                    yield (f"{indent}  - {text.lstrip()}" if number == 0 else text), origin
        else:
            yield f"{indent}{label}: {json.dumps(inner, ensure_ascii=False)}", where(full)
