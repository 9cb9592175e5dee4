"""What programs read: the document, the lines, and the CSV, the same in every language."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigprobe.record.result import Operator, Outcome
from sigprobe.render.machine import CSV_COLUMNS, Dialect, as_dict, csv_rows, document, guarded, json_text, ndjson
from sigprobe.verdict import decide
from tests.render.samples import NEED, TAGS, dns, ping, result, speed, web

RESULTS = [ping(), dns(), web(), speed(), result("http", "x", "https://x/", "refused")]


def read(text: str, delimiter: str = ",") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""), delimiter=delimiter))


def test_document() -> None:
    """The document has exactly the published keys, and its records are those that were stored."""
    verdict = decide(RESULTS, NEED)
    made = document(
        run_id="r",
        verdict=verdict,
        results=[r.to_line() for r in RESULTS],
        data_used_bytes=12,
        saved=6,
        pending=2,
    )
    assert list(made) == ["schema", "run_id", "verdict", "results", "data_used_bytes", "saved", "pending"]
    assert list(made["verdict"]) == ["owner", "cause", "confidence", "evidence", "candidates"]
    assert made["results"] == [r.to_dict() for r in RESULTS]
    assert (made["saved"], made["pending"], made["data_used_bytes"]) == (6, 2, 12)
    text = json_text(made)
    assert json.loads(text) == made
    assert text.isascii() and text.endswith("}\n")


def test_language_touches_nothing(speak: Callable[[str], None]) -> None:
    """The same bytes come out in both languages."""
    texts = []
    for language in ("id", "en"):
        speak(language)
        texts.append("".join(csv_rows([r.to_line() for r in RESULTS])))
    assert texts[0] == texts[1]


def test_ndjson_keeps_the_bytes() -> None:
    """A line is the stored record, byte for byte, and a line end."""
    line = RESULTS[0].to_line()
    assert ndjson(line) == line + b"\n"


def test_not_a_record() -> None:
    """A line that is no object is refused."""
    with pytest.raises(ValueError, match="object"):
        as_dict(b"[1]")


@pytest.mark.parametrize(("dialect", "delimiter"), [("plain", ","), ("excel-id", ";")])
def test_csv_round_trip(dialect: Dialect, delimiter: str) -> None:
    """Every row has every column, numbers read back as they were, a null is an empty cell, and `data` is whole."""
    text = "".join(csv_rows([r.to_line() for r in RESULTS], dialect))
    assert text.startswith("\ufeff") == (dialect == "excel-id")
    rows = read(text, delimiter)
    assert len(rows) == len(RESULTS)
    assert tuple(rows[0]) == CSV_COLUMNS
    for row, given_result in zip(rows, RESULTS, strict=True):
        assert row["tps_id"] == ('="3273011001005"' if dialect == "excel-id" else "3273011001005"), "text in Excel"
        assert row["kind"] == given_result.kind
        assert row["seq"] == ""
        assert json.loads(row["data_json"]) == given_result.to_dict()["data"]
    assert rows[0]["lat"] == ("-6,91474" if dialect == "excel-id" else "-6.91474")
    assert rows[0]["rtt_median_ms"].replace(",", ".") == "62.4"
    assert rows[4]["failure_code"] == "refused"


def test_csv_verdict_of_a_run_record() -> None:
    """A run record shows its verdict in columns."""
    verdict = decide(RESULTS, NEED)
    row = read("".join(csv_rows([result("run", "run", verdict=verdict.to_dict(), data_used_bytes=7).to_dict()])))[0]
    assert (row["verdict_owner"], row["verdict_cause"]) == (verdict.owner, verdict.cause)
    assert row["data_used_bytes"] == "7"


def test_csv_both_answers() -> None:
    """A false answer of the network's resolver has columns of its own: the word, and both answers."""
    compared = {"word": "tampered", "reason": "private", "system": ["10.33.1.1"], "others": ["203.0.113.7"]}
    record = result("dns", "kpu", "kpu.go.id", "tampered", Outcome.DEGRADED, comparison=compared)
    row = read("".join(csv_rows([record.to_dict()])))[0]
    assert (row["failure_code"], row["answers_compared"]) == ("tampered", "tampered")
    assert (row["answer_system"], row["answer_others"]) == ('["10.33.1.1"]', '["203.0.113.7"]')
    assert tuple(row)[-1] == "data_json"


def test_csv_tells_a_lower_bound_from_a_rate() -> None:
    """A rate that is only a lower bound is marked, one that is not is marked too, and no rate has no mark."""
    capped = {"engine": "http", "ended_download": "data_cap", "download_ci_bps": None}
    rows = read("".join(csv_rows([speed(**capped, upload_bps=None).to_dict(), speed().to_dict()])))
    assert [(r["download_at_least"], r["upload_at_least"]) for r in rows] == [("true", ""), ("false", "false")]


@given(st.text(max_size=20))
def test_csv_injection(text: str) -> None:
    """Whatever a name holds, no text cell can become a formula, and the text itself is still there."""
    tags = replace(TAGS, site=text, network=replace(TAGS.network, operator=Operator(name=text)))
    record = result("ping", text, tags=tags).to_dict()
    row = read("".join(csv_rows([record])))[0]
    for column in ("target", "site", "operator_name"):
        assert row[column] in (text, f"'{text}")
        assert not row[column].lstrip().startswith(("=", "+", "-", "@"))


@pytest.mark.parametrize("text", ["=1+1", "+62", "-x", "@SUM(A1)", " =1", "\t=1", "\r=1", "\n@a"])
def test_guarded(text: str) -> None:
    """Each start of a formula gets an apostrophe."""
    assert guarded(text) == f"'{text}"


def test_numbers_are_not_guarded() -> None:
    """A negative number stays a number."""
    assert read("".join(csv_rows([ping().to_dict()])))[0]["rsrp_dbm"] == "-98.0"
    assert guarded("kpu") == "kpu"
