"""Convert pydantic's errors to our sentences, each with its place in the file.

Pydantic's own messages are English and made for programmers; none of them reaches the screen.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sigprobe.config import fields
from sigprobe.config.model import with_scheme
from sigprobe.config.problems import Key, Problem, dotted, shown
from sigprobe.config.read import Spot, Tree
from sigprobe.measure import KINDS
from sigprobe.places.position_messages import position_doubt
from sigprobe.places.tps_messages import suggestion
from sigprobe.record.messages import MessageError
from sigprobe.tag.tps import TpsError
from sigprobe.words.i18n import N_, _
from sigprobe.words.similar import similar

_SENTENCES: Final[Mapping[str, str]] = {
    "tps_empty": N_("the TPS number is empty."),
    "tps_spreadsheet": N_("{value} is a TPS number that a spreadsheet has shortened; copy it again, all 13 digits."),
    "tps_not_digits": N_("{value} is not a TPS number: a TPS number has only digits."),
    "tps_length": N_("{value} is not a TPS number: a TPS number has 13 digits."),
    "tps_province": N_("{value} is not a TPS number: digits 1–2 are not a valid province code."),
    "tps_regency": N_("{value} is not a TPS number: digits 3–4 are not a valid regency code."),
    "tps_district": N_("{value} is not a TPS number: digits 5–6 are not a valid district code."),
    "tps_village": N_("{value} is not a TPS number: digits 7–10 are not a valid village code."),
    "tps_number": N_("{value} is not a TPS number: the last three digits cannot be 000."),
    "relative_path": N_("{value} is not an absolute path; begin with /, because timers start in another directory."),
    "secret_as_path": N_(
        "this is the secret itself, not the path of a file. Save it in a file that only you can read (chmod 600), and "
        "write the path of that file here."
    ),
    "url": N_("{value} is not a web address."),
    "url_userinfo": N_("a web address cannot contain a user name or password; put a token into token_file."),
    "url_query": N_("a collector's address cannot contain ? or #."),
    "url_plain_http": N_("http is not safe beyond this device; use https."),
    "host_port": N_("{value} is not of the form host:port."),
    "nmea": N_("{value} is neither a device file nor tcp://host:port nor udp://:port."),
    "ip_address": N_("{value} is not an IP address."),
    "finite_number": N_("{value} is not a finite number."),
}


def tps_fault(error: TpsError) -> str:
    """Return what is wrong with a TPS number, in the language in use."""
    return _(_SENTENCES[f"tps_{error.reason}"]).format(value=shown(error.found))


_PATTERNS: Final[Mapping[str, str]] = {
    r"^[A-Za-z0-9][A-Za-z0-9._-]*$": N_(
        "{value} can contain only letters, digits, dots, hyphens and underscores, and must begin "
        "with a letter or digit."
    ),
    r"^[^\s\x00-\x1f](.*[^\s\x00-\x1f])?$": N_("{value} must be a single line without leading or trailing spaces."),
    r"^[^\s/@?#\[\]]+$": N_("{value} is neither a host name nor an IP address."),
    r"^[^\s/]{1,15}$": N_("{value} is not the name of a network interface (1 to 15 characters, no space and no /)."),
}


class Places:
    """Place of each value: a spot of the file, or an environment variable."""

    def __init__(self, name: str, tree: Tree, variables: Mapping[Key, str]) -> None:
        self.name = name
        self.tree = tree
        self.variables = variables

    def variable(self, key: Key) -> str | None:
        """Return the environment variable that set `key`, or a group around it."""
        for length in range(len(key), 0, -1):
            if key[:length] in self.variables:
                return self.variables[key[:length]]
        return None

    def spot(self, key: Key) -> Spot | None:
        """Return the spot of a value in the file; null when an environment variable or nobody set it."""
        return None if self.variable(key) else self.tree.values.get(key)

    def problem(self, key: Key, message: str, hint: str = "", *, at_key: bool = False) -> Problem:
        """Return a problem with a key, placed where it stands, else at the nearest group around it."""
        name = self.variable(key)
        if name is not None:
            return Problem(name, None, None, dotted(key), message, hint)
        tree = self.tree
        found = tree.keys.get(key) if at_key else tree.values.get(key)
        around = key
        while found is None and around:
            around = around[:-1]
            found = tree.keys.get(around) or tree.values.get(around)
        found = found or Spot(1, 1)
        return Problem(self.name, found.line, found.column, dotted(key), message, hint)


def translate(errors: list[ErrorDetails], root: Any, top: type[BaseModel], places: Places) -> list[tuple[Key, Problem]]:
    """Return one problem for each key that pydantic complained about, with the key."""
    placed = [(_locate(error, root), error) for error in errors]
    deeper = {key[:length] for key, _error in placed for length in range(len(key))}
    found: dict[Key, Problem] = {}
    for key, error in placed:
        # "no list", said by one arm of a union, and "too few", said since bad items do not count, are noise
        # beside what is wrong inside the list
        if key in found or (key in deeper and error["type"] in (*_TYPES, "too_short")):
            continue
        found[key] = _problem(error, key, root, top, places)
    return list(found.items())


def _locate(error: ErrorDetails, root: Any) -> Key:
    """Pydantic's location without the labels it adds for kinds and for the arms of unions."""
    rest = list(error["loc"])
    if len(rest) > 2 and rest[0] == "targets":
        del rest[2]
    key: Key = ()
    value = root
    for index, part in enumerate(rest):
        last = index == len(rest) - 1
        if isinstance(value, dict) and isinstance(part, str):
            if part in value:
                key, value = (*key, part), value[part]
                continue
            if last and error["type"] in ("missing", "extra_forbidden"):
                key = (*key, part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            key, value = (*key, part), value[part]
        elif not isinstance(value, list):
            break
    if error["type"].startswith("union_tag"):
        key = (*key, "kind")
    return key


_TYPES: Final = frozenset(
    f"{name}_type"
    for name in "string int float bool list tuple dict mapping model model_attributes none".split()  # noqa: SIM905
) | {"int_parsing", "int_from_float", "int_parsing_size", "float_parsing", "bool_parsing", "literal_error", "enum"}
_BOUNDS: Final = frozenset(("greater_than", "greater_than_equal", "less_than", "less_than_equal"))


def _at(root: Any, key: Key) -> Any:
    for part in key:
        try:
            root = root[part]
        except (KeyError, IndexError, TypeError):
            return None
    return root


def _problem(error: ErrorDetails, key: Key, root: Any, top: type[BaseModel], places: Places) -> Problem:
    kind = error["type"]
    if kind.startswith("union_tag"):
        return _kind_problem(key, root, top, places)
    if kind == "extra_forbidden":
        return places.problem(key, *_unknown(key, root, top), at_key=True)
    value = _at(root, key)
    field = fields.find(top, key, root)
    hint = fields.example(field, key[-1] if key else "")
    if kind == "missing":
        return places.problem(key, _("is missing."), hint)
    hint = (_meant_position(key, root) if kind in _BOUNDS else "") or hint
    if kind in _TYPES or kind in _BOUNDS:
        spot = places.spot(key)
        if key[-1:] == ("tps_id",) and spot is not None and re.search(r"[eE.]", spot.written or ""):
            message = _("{written} is a TPS number that a spreadsheet has shortened; its last digits are lost.")
            lost = _("Type all 13 digits, in quotes, for example: {example}").format(example='tps_id: "3273011001005"')
            return places.problem(key, message.format(written=spot.written), lost)
        if field is not None and field.is_text and not fields.choices_of(field) and spot is not None:
            unquoted = _still_wrong(key, value, spot, root, top)
            if unquoted is not None:
                return _problem(unquoted, key, _with(root, key, spot.written), top, places)
        return places.problem(key, *_wrong_type(key, value, field, hint, places.spot(key)))
    context = error.get("ctx", {})
    say: Callable[[str], str] = lambda sentence: _(sentence).format(value=shown(value))  # noqa: E731
    if kind in _SENTENCES:
        if "https" in context:
            hint = _("For example: {example}").format(example=f"{key[-1]}: {shown(context['https'], 200)}")
        if kind == "url":
            hint = _meant_address(value) or hint
        meant = suggestion(value) if kind.startswith("tps_") and isinstance(value, str) else ""
        return places.problem(key, f"{say(_SENTENCES[kind])} {meant}".rstrip(), hint)
    if kind == "string_pattern_mismatch" and context.get("pattern") in _PATTERNS:
        return places.problem(key, say(_PATTERNS[context["pattern"]]), hint)
    if kind in ("string_too_short", "string_too_long", "too_short", "too_long"):
        return places.problem(key, _length(kind, value, context), hint)
    rule = context.get("error")
    if isinstance(rule, MessageError):
        values = {"value": value} | rule.values
        message = _(rule.message).format(**{name: shown(value) for name, value in values.items()})
        meant = _meant_address(value) if isinstance(value, str) and key[-1:] == ("url",) else ""
        return places.problem(key, message, meant or ("" if isinstance(value, dict) else hint))
    return places.problem(key, _("{value} is not allowed here.").format(value=shown(value)), hint)


def _meant_address(text: str) -> str:
    """Return the question after an address without http:// or https://; empty if that does not make it one."""
    meant = with_scheme(text)
    return "" if meant is None else _("Did you mean {names}?").format(names=shown(meant, 200))


def _still_wrong(key: Key, value: Any, spot: Spot, root: Any, top: type[BaseModel]) -> ErrorDetails | None:
    """Return what is wrong with a number or yes-or-no value even if it stands in quotes; None if quotes help."""
    if not isinstance(value, bool | int | float) or spot.written is None:
        return None
    quoted = _with(root, key, spot.written)
    try:
        top.model_validate_json(json.dumps(quoted))
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        return next((found for found in details if _locate(found, quoted) == key), None)
    return None


def _with(root: Any, key: Key, value: Any) -> Any:
    """Return a copy of the settings with another value at `key`."""
    if not key:
        return value
    copy: Any = root.copy()
    copy[key[0]] = _with(root[key[0]], key[1:], value)
    return copy


def _meant_position(key: Key, root: Any) -> str:
    """Return what was most likely meant by a position off the globe: swapped numbers, or a lost decimal point."""
    fixed = _at(root, key[:-1]) if key[-2:-1] == ("fixed",) else None
    if not isinstance(fixed, dict):
        return ""
    lat, lon = fixed.get("lat"), fixed.get("lon")
    if not isinstance(lat, int | float) or not isinstance(lon, int | float):
        return ""
    probe = root.get("probe")
    tps_id = probe.get("tps_id") if isinstance(probe, dict) else None
    return position_doubt(lat, lon, tps_id if isinstance(tps_id, str) else None)


def _length(kind: str, value: Any, context: Mapping[str, Any]) -> str:
    if kind == "string_too_short":
        return _("{value} is too short: at least {limit} characters.").format(
            value=shown(value), limit=context["min_length"]
        )
    if kind == "string_too_long":
        return _("{value} is too long: at most {limit} characters.").format(
            value=shown(value), limit=context["max_length"]
        )
    if kind == "too_short":
        return _("needs at least {limit} entries.").format(limit=context["min_length"])
    return _("can have at most {limit} entries.").format(limit=context["max_length"])


def _wrong_type(key: Key, value: Any, field: fields.Field | None, hint: str, spot: Spot | None) -> tuple[str, str]:
    if field is None:
        return _("{value} is not allowed here.").format(value=shown(value)), hint
    allowed = fields.wanted(field)
    scalar = isinstance(value, bool | int | float)
    words = [str(choice) for choice in fields.choices_of(field)]
    if words and scalar:
        # quotes would not help: the word itself is not allowed
        message = _("must be {allowed}, not {value}.").format(allowed=allowed, value=spot.written if spot else value)
        return message, _("For example: {example}").format(example=f"{key[-1]}: {words[0]}")
    if field.is_text and scalar and spot is not None and spot.written is not None:
        quoted = json.dumps(spot.written, ensure_ascii=False)
        named = f"{key[-1]}: {quoted}" if isinstance(key[-1], str) else quoted
        message = _("must be text, but YAML reads {written} as {what}.").format(
            written=spot.written, what=_read_as(value, spot.written)
        )
        return message, _("Put it in quotes: {quoted}").format(quoted=named)
    if value is None:
        return _("is empty; it must be {allowed}.").format(allowed=allowed), hint
    message = _("must be {allowed}, not {value}.").format(allowed=allowed, value=shown(value))
    choices = [str(choice) for choice in fields.choices_of(field)]
    if choices and isinstance(value, str):
        near = similar(value, choices)
        return message, _("Did you mean {name}?").format(name=near[0]) if near else hint
    return message, hint


def _read_as(value: Any, written: str) -> str:
    if isinstance(value, bool):
        return _("a yes-or-no value ({value})").format(value=shown(value))
    return _("a number") if str(value) == written else _("the number {value}").format(value=shown(value))


def _kind_problem(key: Key, root: Any, top: type[BaseModel], places: Places) -> Problem:
    item = fields.find(top, key[:-1], root)
    assert item is not None
    kinds = [
        str(choice)
        for member in item.members
        for choice in fields.choices_of(fields.field_of(member.model_fields["kind"]))
    ]
    allowed = _("one of: {choices}").format(choices=", ".join(kinds))
    value = _at(root, key)
    if value is None:
        hint = _("For example: {example}").format(example=f"kind: {kinds[0]}")
        return places.problem(key, _("is missing; it must be {allowed}.").format(allowed=allowed), hint)
    if value in KINDS:
        return places.problem(key, _("path is part of every test and cannot be configured."), _("Remove this entry."))
    near = similar(str(value), kinds)
    hint = _("Did you mean {name}?").format(name=near[0]) if near else ""
    message = _("must be {allowed}, not {value}.").format(allowed=allowed, value=shown(value))
    return places.problem(key, message, hint)


def _unknown(key: Key, root: Any, top: type[BaseModel]) -> tuple[str, str]:
    parent = fields.find(top, key[:-1], root)
    model = parent.model(_at(root, key[:-1])) if parent is not None else None
    names = list(model.model_fields) if model is not None else []
    name = str(key[-1])
    near = similar(name.replace("-", "_"), names)
    if near:
        return _("unknown key."), _("Did you mean {name}?").format(name=near[0])
    homes = [dotted(place) for place in fields.places_of(top, name) if place != key[:-1]]
    if homes:
        return _("unknown key here."), _("It belongs under {group}.").format(group=homes[0])
    return _("unknown key."), _("Known here: {names}.").format(names=", ".join(names))


def odd_numbers(root: Any, places: Places) -> list[tuple[Key, Problem]]:
    """Return numbers that YAML 1.1 reads as other values: 010 is 8, and 12:30 is 750."""
    found = []
    for key, spot in places.tree.values.items():
        value = _at(root, key)
        if type(value) not in (int, float) or spot.written is None or places.variable(key):
            continue
        if ":" not in spot.written and not re.match(r"[-+]?0[0-9_]", spot.written):
            continue
        message = _("YAML reads {written} as the number {value}.").format(written=spot.written, value=shown(value))
        hint = _("If that is what you mean, write: {example}").format(example=f"{key[-1]}: {shown(value)}")
        found.append((key, places.problem(key, message, hint)))
    return found
