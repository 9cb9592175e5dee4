"""Which records say something of the uploads of a place, and which do not."""

from __future__ import annotations

import pytest

from sigprobe.runs import past_tests


@pytest.mark.parametrize(
    ("failure", "says"),
    [
        ("timeout", True),
        ("too_slow", True),
        ("reset", True),
        ("too_short", False),
        ("data_budget", False),
        ("interrupted", False),
        ("program_missing", False),
        ("server_busy", False),
        ("token_refused", False),
        (None, False),
    ],
)
def test_only_what_the_link_did_counts_as_a_failed_upload(failure: str | None, says: bool) -> None:
    """A test that its budget or its brevity kept from a rate is no sign of a dead link."""
    record = {"kind": "throughput", "data": {"upload_bps": None, "upload_failure": failure}, "tags": {}}
    found = past_tests._measurement(1.0, record)
    assert (found is not None) is says
    assert found is None or found.upload_bps is None
