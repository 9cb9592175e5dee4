"""Read profiles: named, dated files of thresholds that turn a measured value into one of four words.

A profile is a small YAML file to copy and change. It states what is enough for one purpose, since when, and its
source. It never claims that a regulation says so.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from sigprobe.record import kinds
from sigprobe.record.kinds import HIGHER, LOWER
from sigprobe.record.messages import N_
from sigprobe.record.text_encoding import decode

SHIPPED: Final = Path(__file__).parent / "profiles"
DEFAULT: Final = "sirekap-need"


class Word(StrEnum):
    """The four grades, best first, as neutral keys; the screen has the words."""

    GOOD = "good"
    FAIR = "fair"
    POOR = "poor"
    BAD = "bad"


METRICS: Final[Mapping[str, str]] = {
    **{number.metric: number.better for number in kinds.numbers()},
    "rsrp_dbm": HIGHER,
    "rssi_dbm": HIGHER,
}
"""Each metric that a profile may grade, and which direction is better."""


@dataclass(frozen=True, slots=True)
class Grade:
    """A word for a value, and the limit of what is still enough (`fair`), with the better direction."""

    word: Word
    threshold: float
    direction: str

    @property
    def enough(self) -> bool:
        """True for good and fair."""
        return self.word in (Word.GOOD, Word.FAIR)


@dataclass(frozen=True, slots=True)
class Bounds:
    """The last value that still earns each word. A word without a bound is never given."""

    fair: float
    good: float | None = None
    poor: float | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """One threshold file. A `badge` profile may be shown beside a result and never decides anything."""

    name: str
    version: date
    title: str
    source: str
    metrics: Mapping[str, Bounds] = field(default_factory=dict)
    badge: bool = False

    def word(self, metric: str, value: float | None) -> Grade | None:
        """Grade a value; None when it is missing, not finite, or the profile says nothing about the metric."""
        bounds = self.metrics.get(metric)
        if bounds is None or value is None or not math.isfinite(value):
            return None
        direction = METRICS[metric]

        def met(bound: float) -> bool:
            return value <= bound if direction == LOWER else value >= bound

        if bounds.good is not None and met(bounds.good):
            word = Word.GOOD
        elif met(bounds.fair):
            word = Word.FAIR
        elif bounds.poor is None or met(bounds.poor):
            word = Word.POOR
        else:
            word = Word.BAD
        return Grade(word, bounds.fair, direction)


class ProfileError(Exception):
    """A profile that cannot be used. `message` is a catalogue key; `values` fill its fields.

    `where` is `file`, or `file:line:column`, or None when no file was found.
    """

    def __init__(self, message: str, where: str | None = None, **values: str) -> None:
        self.message = message
        self.where = where
        self.values = values
        said = message.format(**values)
        super().__init__(said if where is None else f"{where}: {said}")


_NAME: Final = re.compile(r"^[a-z0-9][a-z0-9._-]{0,63}$")


def names(search_dirs: Iterable[Path] = ()) -> tuple[str, ...]:
    """The names `load` can find, sorted."""
    found = (p.stem for d in (*search_dirs, SHIPPED) if d.is_dir() for p in d.glob("*.yaml"))
    return tuple(sorted(set(found)))


def load(name_or_path: str, search_dirs: Sequence[Path] = ()) -> Profile:
    """Read a profile by name (the given directories first, then the shipped ones) or by path.

    Raises ProfileError with `file:line:column` for the first thing that is wrong.
    """
    path = _find(name_or_path, search_dirs)
    try:
        text = decode(path.read_bytes())
    except UnicodeDecodeError as error:
        raise ProfileError(N_("this file is not UTF-8 text"), str(path)) from error
    except OSError as error:
        raise ProfileError(
            N_("this file cannot be read: {why}"), str(path), why=error.strerror or str(error)
        ) from error
    return _Reader(path).profile(text)


def _find(name_or_path: str, search_dirs: Sequence[Path]) -> Path:
    if "/" in name_or_path or "\\" in name_or_path or name_or_path.endswith((".yaml", ".yml")):
        return Path(os.path.expanduser(name_or_path))  # noqa: PTH111 - Path.expanduser raises without a home directory
    if _NAME.match(name_or_path):
        for directory in (*search_dirs, SHIPPED):
            path = directory / f"{name_or_path}.yaml"
            if path.is_file():
                return path
    raise ProfileError(
        N_("there is no profile {name}; known are: {known}"),
        name=repr(name_or_path),
        known=", ".join(names(search_dirs)),
    )


class _Reader:
    """Read one file, with the place of each node."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fail(self, node: Any, message: str, **values: str) -> ProfileError:
        mark = node if hasattr(node, "line") else node.start_mark
        return ProfileError(message, f"{self.path}:{mark.line + 1}:{mark.column + 1}", **values)

    def profile(self, text: str) -> Profile:
        import yaml

        try:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            if mark is None:
                raise ProfileError(N_("this is not valid YAML"), str(self.path)) from error
            raise self.fail(mark, N_("this is not valid YAML")) from error
        except yaml.YAMLError as error:
            raise ProfileError(N_("this is not valid YAML"), str(self.path)) from error
        if root is None:
            raise ProfileError(N_("this file is empty"), str(self.path))
        keys = self.mapping(root, {"name", "version", "title", "source", "metrics", "badge"})
        for wanted in ("name", "version", "title", "source", "metrics"):
            if wanted not in keys:
                raise self.fail(root, N_("the key {key} is missing"), key=wanted)
        name = self.text(keys["name"])
        if not _NAME.match(name):
            raise self.fail(
                keys["name"],
                N_("a name has small letters, digits, dots and hyphens, not {value}"),
                value=repr(name),
            )
        metrics = self.mapping(keys["metrics"], set(METRICS))
        return Profile(
            name=name,
            version=self.day(keys["version"]),
            title=self.text(keys["title"]),
            source=self.text(keys["source"]),
            metrics={metric: self.bounds(metric, node) for metric, node in metrics.items()},
            badge="badge" in keys and self.boolean(keys["badge"]),
        )

    def mapping(self, node: Any, allowed: set[str]) -> dict[str, Any]:
        import yaml

        if not isinstance(node, yaml.MappingNode):
            raise self.fail(node, N_("keys with values belong here"))
        keys: dict[str, Any] = {}
        for key, value in node.value:
            name = str(key.value)
            if name not in allowed:
                raise self.fail(
                    key,
                    N_("the key {key} is unknown; allowed are: {known}"),
                    key=name,
                    known=", ".join(sorted(allowed)),
                )
            if name in keys:
                raise self.fail(key, N_("the key {key} is given twice here"), key=name)
            keys[name] = value
        return keys

    def text(self, node: Any) -> str:
        import yaml

        if not isinstance(node, yaml.ScalarNode) or node.tag != "tag:yaml.org,2002:str" or not node.value.strip():
            raise self.fail(node, N_("text belongs here"))
        return str(node.value).strip()

    def day(self, node: Any) -> date:
        try:
            return date.fromisoformat(str(node.value).strip())
        except ValueError as error:
            raise self.fail(node, N_("a date like 2026-11-22 belongs here")) from error

    def boolean(self, node: Any) -> bool:
        if node.tag != "tag:yaml.org,2002:bool":
            raise self.fail(node, N_("true or false belongs here"))
        return str(node.value).lower() in ("true", "yes", "on")

    def number(self, node: Any) -> float:
        try:
            if node.tag not in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float"):
                raise ValueError
            value = float(str(node.value).replace("_", ""))
        except ValueError as error:
            raise self.fail(node, N_("a number belongs here, with a decimal point")) from error
        if not math.isfinite(value):
            raise self.fail(node, N_("a number belongs here, with a decimal point"))
        return value

    def bounds(self, metric: str, node: Any) -> Bounds:
        keys = self.mapping(node, {"good", "fair", "poor", "reason"})
        if "fair" not in keys:
            raise self.fail(node, N_("the key {key} is missing"), key="fair")
        numbers = {key: self.number(keys[key]) for key in ("good", "fair", "poor") if key in keys}
        order = list(numbers.values())
        if METRICS[metric] == HIGHER:
            order.reverse()
        if order != sorted(order):
            raise self.fail(
                node,
                N_("the bounds of {metric} must go from better to worse: good, fair, poor"),
                metric=metric,
            )
        reason = self.text(keys["reason"]) if "reason" in keys else None
        return Bounds(numbers["fair"], numbers.get("good"), numbers.get("poor"), reason)
