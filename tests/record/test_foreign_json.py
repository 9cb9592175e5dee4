"""One reader for JSON from outside: it parses what is JSON, and raises ValueError for all else."""

from __future__ import annotations

import json
import sys

import pytest

from sigprobe.record.foreign_json import TooDeepError, object_or_none, read_json, read_object

HOSTILE = [
    b"",
    b"\xff\xfe{",
    '{"a": 1}'.encode("utf-16"),
    b'{"a": NaN}',
    b'{"a": -Infinity}',
    b"{" + b'"a":{' * 100_000,
    b"[" * 100_000,
    b'{"a": ' + b"9" * (sys.int_info.default_max_str_digits + 1) + b"}",
    b'{"a": 1} trailing',
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_what_is_no_json_is_a_value_error(text: bytes) -> None:
    """Bad bytes, constants, endless nesting and huge numbers end in one kind of error."""
    with pytest.raises(ValueError):
        read_json(text)
    assert object_or_none(text) is None


def test_nesting_has_an_error_of_its_own() -> None:
    """A reader may say that a file is nested too deeply; other faults keep their line."""
    with pytest.raises(TooDeepError):
        read_json("[" * 100_000)
    with pytest.raises(json.JSONDecodeError):
        read_json('{\n"a": }')


@pytest.mark.parametrize("text", [b"[]", b"null", b"1", b'"a"'])
def test_an_object_is_an_object(text: bytes) -> None:
    """JSON that is no object is read as JSON and refused as an object."""
    read_json(text)
    with pytest.raises(ValueError, match="not a JSON object"):
        read_object(text)
    assert object_or_none(text) is None


def test_an_object_is_read() -> None:
    """The control: an object comes back as it is, from bytes and from text."""
    assert read_object('{"a": "é"}'.encode()) == object_or_none('{"a": "é"}') == {"a": "é"}
