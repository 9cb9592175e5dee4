"""The cache of tokens, and what is logged when one ends."""

from __future__ import annotations

import logging

import pytest
from sqlalchemy import Engine

from sigprobe.collector.access import queries
from sigprobe.collector.access.token_check import TokenCheck


def test_a_revocation_is_logged_once_by_its_name(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """The server logs the end of a token it knew, never its secret; a token it never knew is no revocation."""
    now = 0.0
    check = TokenCheck(engine, clock=lambda: now)
    secret = queries.create_token(engine, "laptop-1", queries.PROBE)
    caplog.set_level(logging.INFO, "sigprobe")
    assert check.find(secret) is not None
    queries.revoke_token(engine, "laptop-1")
    for now in (1000.0, 2000.0):  # noqa: B007 - the clock reads it
        assert check.find(secret) is None
        assert check.find("never given") is None
    (event,) = [event for event in caplog.records if event.getMessage() == "token revoked"]
    assert (event.__dict__["token"], event.__dict__["role"]) == ("laptop-1", "probe")
    assert secret not in str(event.__dict__)
