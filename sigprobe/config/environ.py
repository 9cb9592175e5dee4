"""Read keys from the environment: `SIGPROBE_PROBE__TPS_ID` sets `probe.tps_id`."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel

from sigprobe.config import fields
from sigprobe.config.problems import Key, Problem
from sigprobe.config.read import read_text
from sigprobe.words.i18n import _

PREFIX: Final = "SIGPROBE_"
OTHER_NAMES: Final = frozenset(
    f"{PREFIX}{name}" for name in ("CONFIG", "LANG", "TOKEN", "DATABASE", "SCHEDULED", "TESTS_REQUIRE")
)
"""Variables of ours that are no keys."""


@dataclass(slots=True)
class Overrides:
    """Values from the environment by key, the variable of each, errors, and likely typing errors."""

    values: dict[Key, Any] = field(default_factory=dict)
    variables: dict[Key, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def variable_names(top: type[BaseModel], under: Key = ()) -> dict[str, Key]:
    """Return every variable that sets a key, by name. Lists are set whole, so nothing inside them has one."""
    names: dict[str, Key] = {}
    for name, info in top.model_fields.items():
        key: Key = (*under, name)
        names[PREFIX + "__".join(str(part).upper() for part in key)] = key
        inner = fields.field_of(info).model()
        if inner is not None:
            names.update(variable_names(inner, key))
    return names


def read(top: type[BaseModel], environ: Mapping[str, str]) -> Overrides:
    """Return the overrides in an environment. An empty variable counts as not set.

    With `__` in it an unknown name can only be meant for us and is an error. Without, it may belong to somebody
    else (Kubernetes sets SIGPROBE_PORT for a service of that name), so a near miss is a warning and the rest is
    left alone.
    """
    known = variable_names(top)
    found = Overrides()
    mine = [name for name in environ if name.startswith(PREFIX) and name not in OTHER_NAMES and environ[name]]
    for name in sorted(mine, key=lambda name: (name.count("__"), name)):
        key = known.get(name)
        if key is not None:
            _take(found, top, name, key, environ[name])
            continue
        near = difflib.get_close_matches(name, [*known, *OTHER_NAMES], 1, 0.85 if "__" not in name else 0.6)
        hint = _("Did you mean {name}?").format(name=near[0]) if near else ""
        if "__" in name:
            message = _("no key of the settings has this name.")
            found.problems.append(Problem(name, None, None, "", message, hint))
        elif near:
            found.warnings.append(
                _("{variable} is set, but sigprobe does not know it.").format(variable=name) + " " + hint
            )
    return found


def _take(found: Overrides, top: type[BaseModel], name: str, key: Key, text: str) -> None:
    target = fields.find(top, key, {})
    value: Any = text
    if any("\ud800" <= char <= "\udfff" for char in text):
        message = _("a character that is not allowed in a text file.")
        found.problems.append(Problem(name, None, None, "", message))
        return
    if target is not None and target.is_text:
        # text stays text: 0123 and no mean themselves here, there is no YAML around them to trip over
        value = None if target.nullable and text == "null" else text
    else:
        tree = read_text(text, name)
        found.problems.extend(tree.problems)
        value = tree.root
    found.values[key] = value
    found.variables[key] = name


def apply(root: dict[str, Any], found: Overrides) -> None:
    """Put the overrides into the values of a file, outer groups first."""
    for key, value in found.values.items():
        place = root
        for part in key[:-1]:
            inner = place.get(str(part))
            if inner is None:
                inner = place[str(part)] = {}
            if not isinstance(inner, dict):
                break  # the file's error is reported at its place
            place = inner
        else:
            place[str(key[-1])] = value
            _drop_alternative(place, key)


def _drop_alternative(place: dict[str, Any], key: Key) -> None:
    """A site from the environment replaces the file's TPS code, and the other way round: they exclude each other."""
    pair = ("tps_id", "site")
    if key[:-1] == ("probe",) and key[-1] in pair and place[str(key[-1])] is not None:
        place.pop(pair[key[-1] == "tps_id"], None)
