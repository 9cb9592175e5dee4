"""Contacts: an operator's own line, another file beside the settings, and what is wrong with such a file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from sigprobe.places.contacts import FILE, NAME, contact, fault
from sigprobe.render.candidates import contact_text
from sigprobe.verdict import Candidate, Verdict

OWN: dict[str, Any] = {
    "as_of": "2029-02-10",
    "ministry": "1500",
    "default": {"ussd": "*1#", "care": "100"},
    "operators": {"Telkomsel": {"ussd": "*2#", "care": "200"}},
}


def written(folder: Path, text: str) -> Path:
    (folder / NAME).write_text(text)
    return folder


def test_the_shipped_file_is_valid() -> None:
    """It passes the checks that a file beside the settings has to pass."""
    assert fault(FILE.parent) is None
    assert contact("Telkomsel").care == "188"
    assert contact("Telkomsel").as_of == json.loads(FILE.read_text())["as_of"]


@pytest.mark.parametrize(
    ("operator", "care"),
    [("Telkomsel", "200"), ("TELKOMSEL", "200"), ("telkomsel  Halo", "200"), ("Telkomselindo", "100"), (None, "100")],
)
def test_a_file_beside_the_settings_replaces_the_shipped_one(tmp_path: Path, operator: str | None, care: str) -> None:
    """Its operators, its default and its date count; nothing of the shipped file is mixed in."""
    found = contact(operator, written(tmp_path, json.dumps(OWN)))
    assert (found.care, found.ministry, found.as_of) == (care, "1500", "2029-02-10")
    assert contact("Indosat", tmp_path).care == "100"
    assert fault(tmp_path) is None


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    """A correction counts at once, in a process that goes on."""
    written(tmp_path, json.dumps(OWN))
    assert contact(None, tmp_path).care == "100"
    written(tmp_path, json.dumps({**OWN, "default": {"care": "101-102"}}))
    assert contact(None, tmp_path).care == "101-102"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        ("[]", "one JSON object"),
        (json.dumps({**OWN, "as_of": None}), "as_of"),
        (json.dumps({**OWN, "as_of": "soon"}), "as_of"),
        (json.dumps({**OWN, "as_of": "2029-13"}), "as_of"),
        (json.dumps({**OWN, "ministry": 159}), "ministry must be text"),
        (json.dumps({**OWN, "operators": ["x"]}), "operators must be an object"),
        (json.dumps({**OWN, "operators": {"XL": {"care": 817}}}), "XL must be an object of texts"),
        (json.dumps({**OWN, "default": "188"}), "default must be an object"),
        (" " * 200_000, "too big"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_and_left_out(tmp_path: Path, text: str, told: str) -> None:
    """The shipped contacts stay, and the reason names the file."""
    written(tmp_path, text)
    found = fault(tmp_path)
    assert found is not None
    assert told in str(found) and str(tmp_path / NAME) in str(found)
    assert contact("Telkomsel", tmp_path) == contact("Telkomsel")


def test_no_file_is_no_fault(tmp_path: Path) -> None:
    """Most places have none. A folder of that name cannot be read."""
    assert fault(tmp_path) is None
    assert contact("Telkomsel", tmp_path) == contact("Telkomsel")
    os.mkdir(tmp_path / NAME)
    assert "cannot be read" in str(fault(tmp_path))
    assert contact("Telkomsel", tmp_path) == contact("Telkomsel")


OUTAGE = Candidate("operator", "operator_outage", "other_sim")
CROWD = Candidate("operator", "operator_congestion", "other_operator")
QUOTA = Candidate("local", "quota_used_up", "check_quota")


@pytest.mark.parametrize(
    ("verdict", "operator", "shown"),
    [
        (Verdict("operator", "loss_beyond", 0.9), "Telkomsel", "Care line of Telkomsel: 200; complaints: 1500 (as of"),
        (Verdict("uncertain", "below_need", 0.3, candidates=(CROWD, QUOTA)), "Telkomsel", ""),
        (Verdict("uncertain", "no_way_beyond", 0.5, candidates=(QUOTA, OUTAGE)), None, "Operators' care lines: 100;"),
        (Verdict("uncertain", "x", 0.5, candidates=(QUOTA, QUOTA, QUOTA, OUTAGE)), None, ""),
        (Verdict("service", "service_error", 0.95), "Telkomsel", ""),
        (Verdict("none", "healthy", 0.98), "Telkomsel", ""),
    ],
)  # fmt: skip
def test_the_line_is_shown_where_the_operator_may_be_meant(
    tmp_path: Path, verdict: Verdict, operator: str | None, shown: str
) -> None:
    """Named, or among the causes on the screen; elsewhere a number would send people to the wrong party."""
    text = contact_text(verdict, operator, written(tmp_path, json.dumps(OWN)))
    assert text.startswith(shown) if shown else text == ""
