"""Look a key up in the model: what it may hold, its bounds, its example. Messages and the environment need both."""

from __future__ import annotations

import json
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from sigprobe.config.problems import Key
from sigprobe.words.i18n import _


@dataclass(frozen=True, slots=True)
class Field:
    """One key of the model. `members` are the plain types it may hold, without None; bounds may be null."""

    members: tuple[Any, ...]
    nullable: bool = False
    low: float | None = None
    high: float | None = None
    info: FieldInfo | None = None

    @property
    def is_text(self) -> bool:
        """Return True when it holds text and nothing else, so that a number written there lacks its quotes."""
        return bool(self.members) and all(member is str or get_origin(member) is Literal for member in self.members)

    def model(self, value: Any = None) -> type[BaseModel] | None:
        """Return the group of keys it holds; of several, the one whose `kind` the value names."""
        models = [m for m in self.members if isinstance(m, type) and issubclass(m, BaseModel)]
        if len(models) > 1:
            kind = value.get("kind") if isinstance(value, dict) else None
            models = [m for m in models if kind in choices_of(field_of(m.model_fields["kind"]))]
        return models[0] if models else None


def field_of(info: FieldInfo) -> Field:
    """Return the field behind a model's entry."""
    return _field(info.annotation, info.metadata, info)


def _field(annotation: Any, metadata: Any = (), info: FieldInfo | None = None) -> Field:
    members: list[Any] = []
    marks: list[Any] = []

    def unfold(part: Any) -> None:
        origin = get_origin(part)
        if origin is Annotated:
            inner, *notes = get_args(part)
            marks.extend(notes)
            unfold(inner)
        elif origin is Union or origin is types.UnionType:
            for member in get_args(part):
                unfold(member)
        else:
            members.append(part)

    unfold(annotation)
    marks.extend(metadata)
    # Annotated[int, Field(ge=1)] keeps the bounds one level down, in the Field's own metadata
    flat = [inner for mark in marks for inner in (mark, *(getattr(mark, "metadata", None) or ()))]
    numeric = not any(get_origin(member) in (tuple, list, dict) for member in members)
    low = next((getattr(m, n) for m in flat for n in ("ge", "gt") if getattr(m, n, None) is not None), None)
    high = next((getattr(m, n) for m in flat for n in ("le", "lt") if getattr(m, n, None) is not None), None)
    plain = tuple(member for member in members if member is not types.NoneType)
    return Field(plain, len(plain) < len(members), low if numeric else None, high if numeric else None, info)


def step(field: Field, part: str | int, value: Any) -> Field | None:
    """Return the field one key or list item further in; `value` is what stands at `field` now."""
    for member in field.members:
        origin, arguments = get_origin(member), get_args(member)
        if isinstance(part, int) and origin in (tuple, list):
            return _field(arguments[0])
        if isinstance(part, str) and origin in (dict, Mapping):
            return _field(arguments[1])
    model = field.model(value)
    if model is not None and isinstance(part, str) and part in model.model_fields:
        return field_of(model.model_fields[part])
    return None


def find(top: type[BaseModel], key: Key, root: Any) -> Field | None:
    """Return the field at `key` of a model; `root` are the values read so far."""
    field: Field | None = Field((top,))
    value = root
    for part in key:
        if field is None:
            return None
        field = step(field, part, value)
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            value = None
    return field


def choices_of(field: Field) -> tuple[Any, ...]:
    """Return the fixed words a field may hold; empty when it is not held to any."""
    return tuple(choice for member in field.members if get_origin(member) is Literal for choice in get_args(member))


def places_of(model: type[BaseModel], name: str, under: Key = ()) -> Iterator[Key]:
    """Yield every group, outside lists, that has a key of this name."""
    for own, info in model.model_fields.items():
        if own == name:
            yield under
        inner = field_of(info).model()
        if inner is not None:
            yield from places_of(inner, name, (*under, own))


def wanted(field: Field) -> str:
    """Return what a field may hold, as part of a sentence: `a whole number from 1 to 1000, or null`."""
    words = [_noun(member, field) for member in field.members if get_origin(member) is not Literal]
    choices = choices_of(field)
    if choices:
        words.insert(0, _("one of: {choices}").format(choices=", ".join(str(choice) for choice in choices)))
    text = _(" or ").join(dict.fromkeys(word for word in words if word))
    return _("{wanted}, or null").format(wanted=text) if field.nullable and text else text


def _noun(member: Any, field: Field) -> str:
    if member is int or member is float:
        word = _("a whole number") if member is int else _("a number")
        if field.low is not None and field.high is not None:
            word = _("{number} from {low} to {high}").format(
                number=word, low=_bound(field.low), high=_bound(field.high)
            )
        elif field.low is not None:
            word = _("{number} of at least {low}").format(number=word, low=_bound(field.low))
        elif field.high is not None:
            word = _("{number} of at most {high}").format(number=word, high=_bound(field.high))
        return word
    if member is bool:
        return _("true or false")
    if get_origin(member) in (tuple, list):
        return _("a list")
    if get_origin(member) in (dict, Mapping) or (isinstance(member, type) and issubclass(member, BaseModel)):
        return _("a group of keys")
    return _("text")


def _bound(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else str(value)


def example(field: Field | None, name: str | int) -> str:
    """`For example: count: 10`, or nothing where the model has no example."""
    if field is None or field.info is None or not isinstance(name, str):
        return ""
    info = field.info
    value = info.examples[0] if info.examples else info.get_default(call_default_factory=False)
    choices = choices_of(field)
    if value is None and choices:
        value = choices[0]
    if value is None or value is PydanticUndefined or value in ("", (), {}, []):
        return ""
    return _("For example: {example}").format(example=f"{name}: {json.dumps(value, ensure_ascii=False)}")
