"""Find, read and check the configuration; keep the origin of every key.

`load` is the one entry point. It checks the text only: files that the text names (tokens, CAs) are not opened here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sigprobe.config import cross_checks
from sigprobe.config import environ as environment
from sigprobe.config.model import Config
from sigprobe.config.problems import ConfigError, Key, Problem, dotted, report
from sigprobe.config.pydantic_errors import Places, odd_numbers, tps_fault, translate
from sigprobe.config.read import MAX_BYTES, Tree, read_bytes
from sigprobe.files import locations
from sigprobe.files.tokens import masked
from sigprobe.places.position_messages import position_doubt
from sigprobe.places.position_slips import slip
from sigprobe.places.tps_messages import doubt, site_doubt
from sigprobe.words.i18n import _
from sigprobe.words.system_errors import reason_text

__all__ = ["Config", "ConfigError", "Loaded", "Origin", "Problem", "load", "parse", "report", "tps_fault"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Source of a value: a place in a file, an environment variable, or the program's own default."""

    path: str | None = None
    line: int | None = None
    column: int | None = None
    variable: str | None = None

    def __str__(self) -> str:
        if self.variable is not None:
            return f"env {self.variable}"
        return "default" if self.path is None else f"{self.path}:{self.line}"


DEFAULT = Origin()


@dataclass(frozen=True, slots=True)
class Loaded:
    """Usable configuration. `origins` is by dotted key; a missing key has its default."""

    config: Config
    path: Path
    origins: Mapping[str, Origin] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def origin(self, key: str) -> Origin:
        """Return where the value of a dotted key such as `targets[0].count` came from."""
        return self.origins.get(key, DEFAULT)


def load(
    path: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    root: Path = locations.SYSTEM_ROOT,
) -> Loaded:
    """Find, read and check the configuration.

    `path` is what `--config` named. Raises ConfigError with every mistake; its `missing` is true when no file was
    found at all.
    """
    found = locations.find(path, environ, root)
    if found is None:
        try:
            place, message = locations.user_file(), _("this file does not exist.")
        except locations.NoHomeError:
            place = locations.system_file(root)
            message = _("this file does not exist, and this user has no home directory. Set HOME, or give --config.")
        # a mistyped SIGPROBE_CONFIG is the most likely reason
        slips = " ".join(environment.read(Config, environ).warnings)
        raise ConfigError([Problem(str(place), None, None, "", message, slips)], missing=True)
    named = path is None and bool(environ.get("SIGPROBE_CONFIG"))
    return parse(_read_file(found, named=named, by_flag=path is not None), found, environ)


def _read_file(path: Path, *, named: bool, by_flag: bool) -> bytes:
    """Read the file that SIGPROBE_CONFIG (`named`) or `--config` (`by_flag`) names. Raises ConfigError."""
    name = masked(str(path))
    hint = _("SIGPROBE_CONFIG names this file; correct it, or unset it.") if named else ""
    try:
        if path.exists() and not path.is_file():
            # a directory or a device: reading it gives odd errors, or never ends
            raise ConfigError([Problem(name, None, None, "", _("this is not a regular file."), hint)])
        with path.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        message = _("this file does not exist.")
        shown = name if by_flag else ""
        raise ConfigError([Problem(name, None, None, "", message, hint)], missing=True, named=shown) from None
    except PermissionError:
        message = _("you are not allowed to read this file.")
        raise ConfigError([Problem(name, None, None, "", message, hint)]) from None
    except (OSError, ValueError) as error:
        message = _("this file cannot be read ({reason}).").format(reason=reason_text(error))
        raise ConfigError([Problem(name, None, None, "", message, hint)]) from None


def parse(raw: bytes, path: Path, environ: Mapping[str, str]) -> Loaded:
    """Check the bytes of a configuration; `path` only stands in front of the line numbers. Raises ConfigError."""
    name = str(path)
    tree = read_bytes(raw, name)
    overrides = environment.read(Config, environ)
    places = Places(name, tree, overrides.variables)
    problems = [*tree.problems, *overrides.problems]
    if isinstance(tree.root, dict):
        values = tree.root
        environment.apply(values, overrides)
        config, more = _validate(values, places)
        said = {(problem.path, problem.key) for problem in problems}
        problems += [problem for problem in more if (problem.path, problem.key) not in said]
        if config is not None and not problems:
            origins = dict(_origins(values, (), tree, places))
            doubts = [places.problem(key, text).render() for key, text in _doubts(config)]
            return Loaded(config, path, origins, (*overrides.warnings, *doubts))
    elif not tree.problems:
        problems.append(_not_a_group(tree, name))
    # the file first, in its own order, then the environment
    raise ConfigError(sorted(problems, key=lambda found: (found.path != name, found.line or 0, found.column or 0)))


def _doubts(config: Config) -> Iterator[tuple[Key, str]]:
    """What may be wrong with values that are allowed: village, site, position."""
    unlisted = doubt(config.probe.tps_id)
    if unlisted:
        yield ("probe", "tps_id"), unlisted
    near_miss = site_doubt(config.probe.site)
    if near_miss:
        yield ("probe", "site"), near_miss
    fixed = config.location.fixed
    if fixed is not None and slip(fixed.lat, fixed.lon, config.probe.tps_id) is not None:
        yield ("location", "fixed"), position_doubt(fixed.lat, fixed.lon, config.probe.tps_id)


def _not_a_group(tree: Tree, name: str) -> Problem:
    if tree.root is None:
        message = _("the file is empty. Run: sigprobe init")
        return Problem(name, 1, 1, "", message)
    message = _("the file must be a group of keys.")
    hint = _("For example: {example}").format(example='probe: {tps_id: "3273011001005"}')
    spot = tree.values[()]
    return Problem(name, spot.line, spot.column, "", message, hint)


def _validate(values: dict[str, Any], places: Places) -> tuple[Config | None, list[Problem]]:
    config: Config | None = None
    found: list[tuple[Key, Problem]] = []
    try:
        # as JSON, since there a list is what a tuple is read from, and types stay strict all the same
        config = Config.model_validate_json(json.dumps(values))
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        found = translate(details, values, Config, places)
    wrong = {key for key, _problem in found}
    found += [(key, problem) for key, problem in odd_numbers(values, places) if key not in wrong]
    across = [
        places.problem(key, message, hint)
        for key, message, hint in cross_checks.broken(values)
        if not any(key[:length] in wrong for length in range(len(key) + 1))
    ]
    return config, [problem for _key, problem in found] + across


def _origins(value: Any, key: Key, tree: Tree, places: Places) -> list[tuple[str, Origin]]:
    """Return the origin of every value that was given, group by group."""
    found: list[tuple[str, Origin]] = []
    variable = places.variable(key)
    if variable is not None:
        found.append((dotted(key), Origin(variable=variable)))
    elif key in tree.values:
        spot = tree.keys.get(key) or tree.values[key]
        found.append((dotted(key), Origin(places.name, spot.line, spot.column)))
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for part, inner in items:
        found += _origins(inner, (*key, part), tree, places)
    return found
