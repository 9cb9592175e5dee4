"""Parse YAML into plain values, with the line and column of every key and value.

This module does not know the keys of a configuration. Its limits make a hostile file cheap: size first, then depth and
number of nodes from the flat stream of events, before any recursion.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

import yaml

from sigprobe.config.problems import Key, Problem, dotted, shortened, shown
from sigprobe.record.text_encoding import decode
from sigprobe.words.i18n import _

MAX_BYTES: Final = 1_000_000
MAX_DEPTH: Final = 20
MAX_NODES: Final = 20_000

_Loader: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_STRING: Final = "tag:yaml.org,2002:str"
_KNOWN_TAGS: Final = frozenset(
    f"tag:yaml.org,2002:{name}"
    for name in ("null", "bool", "int", "float", "str", "timestamp", "map", "seq", "merge", "value")
)


@dataclass(frozen=True, slots=True)
class Spot:
    """Place of a node, counted from 1, and the notation of its scalar (null for lists and groups)."""

    line: int
    column: int
    written: str | None = None


@dataclass(slots=True)
class Tree:
    """File as plain values: `values[key]` is the place of a value, `keys[key]` of its key."""

    root: Any = None
    values: dict[Key, Spot] = field(default_factory=dict)
    keys: dict[Key, Spot] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def read_bytes(raw: bytes, name: str) -> Tree:
    """Read a file's bytes. Mistakes go into `problems`; `name` stands in front of their line and column."""
    if len(raw) > MAX_BYTES:
        return _only(Problem(name, None, None, "", _("the file is larger than 1 MB; it is not a settings file.")))
    try:
        text = decode(raw)
    except UnicodeDecodeError as error:
        eight_bit = error.encoding == "utf-8"
        before = raw[: error.start].decode("utf-8-sig", errors="replace") if eight_bit else ""
        line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
        message = _("the file is not UTF-8 text from here on; save it as UTF-8.")
        return _only(Problem(name, line, column, "", message))
    return read_text(text, name)


def read_text(text: str, name: str) -> Tree:
    """Read YAML text; see `read_bytes`."""
    try:
        fault = _too_much(text)
        if fault is not None:
            line, message = fault
            return _only(Problem(name, line, 1, "", message))
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        return _only(_syntax(error, text, name))
    tree = Tree()
    if node is None:
        return tree
    _Walk(tree, name).value(node, (), lambda value: setattr(tree, "root", value))
    return tree


def _only(problem: Problem) -> Tree:
    return Tree(problems=[problem])


def _too_much(text: str) -> tuple[int, str] | None:
    depth = count = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        count += isinstance(event, yaml.NodeEvent)
        if depth > MAX_DEPTH or count > MAX_NODES:
            line = event.start_mark.line + 1 if event.start_mark else 1
            if depth > MAX_DEPTH:
                return line, _("groups and lists are nested too deeply.")
            return line, _("the file has too many entries.")
    return None


def _syntax(error: yaml.YAMLError, text: str, name: str) -> Problem:
    """Our sentence for a YAML error; the parser's own words follow only where ours say too little."""
    mark = getattr(error, "problem_mark", None)
    said = getattr(error, "problem", None) or getattr(error, "reason", None) or type(error).__name__
    if mark is None:
        position = getattr(error, "position", None)
        before = text[:position] if isinstance(position, int) else ""
        line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
        return Problem(name, line, column, "", _("a character that is not allowed in a text file."))
    line, column = mark.line + 1, mark.column + 1
    lines = text.split("\n")
    here = lines[mark.line][mark.column : mark.column + 1] if mark.line < len(lines) else ""
    if "cannot start any token" in said and here == "\t":
        message = _("a tab; indent with spaces.")
    elif "cannot start any token" in said:
        message = _("a value cannot begin with {here}; put it in quotes.").format(here=here)
    elif "mapping values are not allowed" in said:
        message = _("a colon is not allowed here: check the indentation, or put the value in quotes.")
    elif "another document" in said:
        message = _("a second document begins here (---); a settings file has only one.")
    elif "undefined alias" in said:
        message = _("a value that begins with * is a reference; put it in quotes.")
    elif "did not find expected" in said or "unexpected end" in said or "could not find expected" in said:
        message = _(
            "the YAML breaks off here: look for a missing bracket, quote or colon,"
            " or a wrong indentation, here or just before."
        )
    else:
        message = _("this cannot be read as YAML ({said}).").format(said=said)
    return Problem(name, line, column, "", message)


class _Walk:
    """Turns nodes into values. Aliases are followed, so the number of values is bounded once more."""

    def __init__(self, tree: Tree, name: str) -> None:
        self.tree = tree
        self.name = name
        self.count = 0
        self.open: set[int] = set()
        self.maker = yaml.constructor.SafeConstructor()

    def problem(self, node: yaml.Node, key: Key, message: str, hint: str = "") -> None:
        line, column = node.start_mark.line + 1, node.start_mark.column + 1
        self.tree.problems.append(Problem(self.name, line, column, dotted(key), message, hint))

    def value(self, node: yaml.Node, key: Key, put: Callable[[Any], None]) -> None:
        """Hand the node's value to `put`; what is wrong is noted and left out."""
        self.count += 1
        if self.count > MAX_NODES or id(node) in self.open:
            if self.count != MAX_NODES + 2:  # reported once
                self.problem(node, key, _("references (& and *) that grow endlessly."))
            self.count = max(self.count, MAX_NODES + 1)
            return
        written = node.value if isinstance(node, yaml.ScalarNode) else None
        self.tree.values[key] = Spot(node.start_mark.line + 1, node.start_mark.column + 1, written)
        if node.tag not in _KNOWN_TAGS:
            self.problem(node, key, _("the tag {tag} is unknown here; remove it.").format(tag=node.tag))
            return
        if isinstance(node, yaml.ScalarNode):
            self.scalar(node, key, put)
            return
        self.open.add(id(node))
        if isinstance(node, yaml.MappingNode):
            self.mapping(node, key, put)
        else:
            items: list[Any] = []
            for child in node.value:
                # a bad item keeps its place, so that later items keep their numbers
                items.append(None)
                self.value(child, (*key, len(items) - 1), lambda value: items.__setitem__(-1, value))
            put(items)
        self.open.discard(id(node))

    def mapping(self, node: yaml.MappingNode, key: Key, put: Callable[[Any], None]) -> None:
        entries: dict[str, Any] = {}
        for name_node, child in node.value:
            if not isinstance(name_node, yaml.ScalarNode):
                self.problem(name_node, key, _("a key must be plain text."))
                continue
            name = name_node.value
            full = (*key, name)
            if name_node.tag != _STRING:
                self.problem(
                    name_node,
                    full,
                    _("a key must be text, and YAML reads {written} as something else.").format(written=name),
                    _("Put it in quotes: {quoted}").format(quoted=json.dumps(name, ensure_ascii=False) + ":"),
                )
                continue
            spot = Spot(name_node.start_mark.line + 1, name_node.start_mark.column + 1)
            if name in entries:
                message = _("this key was already given in line {line}; keep only one of them.")
                self.problem(name_node, full, message.format(line=self.tree.keys[full].line))
                continue
            self.tree.keys[full] = spot
            entries[name] = None
            self.value(child, full, lambda value, name=name: entries.__setitem__(name, value))  # type: ignore[misc]
        put(entries)

    def scalar(self, node: yaml.ScalarNode, key: Key, put: Callable[[Any], None]) -> None:
        quoted = json.dumps(node.value, ensure_ascii=False)
        hint = _("Put it in quotes: {quoted}").format(quoted=f"{key[-1]}: {quoted}" if _named(key) else quoted)
        try:
            value = node.value if node.tag == _STRING else self.maker.construct_object(node)
        except (ValueError, OverflowError, TypeError, KeyError, IndexError, AttributeError, yaml.YAMLError):
            self.problem(node, key, _("{value} cannot be read.").format(value=shown(node.value)), hint)
            return
        if isinstance(value, date):
            put(node.value)  # what was written says the same, and no key wants a date
        elif isinstance(value, float) and not math.isfinite(value):
            self.problem(node, key, _("{value} is not a finite number.").format(value=shown(node.value)))
        elif isinstance(value, int) and abs(value) >= 2**63:
            # quotes would make it a text, which no number may be
            self.problem(node, key, _("{value} is too large a number.").format(value=shortened(f'"{node.value}"')))
        elif isinstance(value, str) and any("\ud800" <= char <= "\udfff" for char in value):
            self.problem(node, key, _("a character that is not allowed in a text file."))
        else:
            put(value)


def _named(key: Key) -> bool:
    return bool(key) and isinstance(key[-1], str)
