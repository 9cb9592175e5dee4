"""The published schema of a record holds for records as they are made, and is open to what comes later."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Any

import jsonschema
import pytest

from sigprobe.measure.schema import result_schema
from sigprobe.record.result import (
    Clock,
    Failure,
    Location,
    Outcome,
    Result,
    Software,
    Tags,
    Target,
    new_id,
)
from tests.support.records import record


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = result_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def _record(**changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "id": new_id(),
        "run_id": new_id(),
        "probe_id": None,
        "kind": "run",
        "kind_version": 1,
        "target": Target("run"),
        "started_at": "2029-02-14T07:05:01.123Z",
        "duration_ms": 12.5,
        "outcome": Outcome.OK,
        "failure": None,
        "data": {
            "verdict": {"owner": "nobody", "cause": "all_well", "confidence": 0.9, "evidence": [new_id()]},
            "profile": {"name": "sirekap-need", "version": "2026-11"},
            "data_used_bytes": 0,
            "plan": [{"name": "a", "kind": "ping"}],
        },
        "tags": Tags(tps_id="3273011001005", location=Location(-6.9, 107.6), clock=Clock()),
        "software": Software("sigprobe", "0.1.0"),
    }
    return Result(**(fields | changes)).to_dict()


def test_a_run_record_is_valid(validator: jsonschema.Draft202012Validator) -> None:
    """A record as `Result.to_dict` makes it holds to the schema, before and after it has its place."""
    made = _record()
    validator.validate(made)
    validator.validate(made | {"probe_id": new_id(), "stream_id": new_id(), "seq": 1, "boot_id": "b"})


def test_later_fields_and_kinds_are_valid(validator: jsonschema.Draft202012Validator) -> None:
    """Later versions add; a reader with this schema must not trip over it."""
    made = _record(kind="traceroute", data={"hops": []})
    made["signature"] = "x"
    made["tags"]["weather"] = "rain"
    validator.validate(made | {"schema": 2})


def test_a_check_that_was_left_out_needs_no_data(validator: jsonschema.Draft202012Validator) -> None:
    """`skipped` has its reason and nothing measured."""
    validator.validate(_record(kind="ping", outcome=Outcome.SKIPPED, failure=Failure("busy"), data={}))


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "x"},
        {"seq": 0},
        {"outcome": "fine"},
        {"outcome": "failed"},
        {"failure": {"code": "timeout", "detail": None}},
        {"data": {}},
        {"kind": "ping", "data": {"sent": "ten"}},
        {"started_at": 5},
        {"tags": {}},
    ],
    ids=" ".join,
)
def test_what_is_no_record(changes: dict[str, Any], validator: jsonschema.Draft202012Validator) -> None:
    """The schema is no rubber stamp: each of these is refused."""
    assert not validator.is_valid(_record() | changes)


def test_the_line_is_the_record_in_the_schema_s_order() -> None:
    """The bytes made for the queue are those of the plain record, name by name and part by part, seq among them."""
    whole = record(outcome=Outcome.FAILED)
    assert whole.to_line() == json.dumps(whole.to_dict(), ensure_ascii=False, separators=(",", ":")).encode()
    head, tail = whole.line_around_seq(probe_id="p", stream_id="s", boot_id=None)
    told = json.loads(head + b"7" + tail)
    assert told == {**whole.to_dict(), "probe_id": "p", "stream_id": "s", "seq": 7, "boot_id": None}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "pydantic_core", None)  # a disk that gives no module to load
        assert whole.to_line() == json.dumps(whole.to_dict(), ensure_ascii=False, separators=(",", ":")).encode()
    half = replace(whole, data={"text": "\ud800 half a surrogate"})
    head, tail = half.line_around_seq(probe_id="p", stream_id="s", boot_id="b")
    assert json.loads(head + b"7" + tail)["boot_id"] == "b"
    with pytest.raises(ValueError, match="not JSON compliant"):
        replace(whole, data={"rate": float("inf")}).line_around_seq(probe_id="p", stream_id="s", boot_id=None)
