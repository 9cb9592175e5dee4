"""Provide the fixture that begins a trial."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.trials.faults.trial import SEED, SOAK, Trial


@pytest.fixture
def trial() -> Callable[..., Trial]:
    """Begin a trial: `trial(1, "kill -9", short=20, full=10_000)`."""
    return Trial


def pytest_report_header() -> str:
    """Return how to repeat this session."""
    return f"faults: {'full counts' if SOAK else 'short form'}, SIGPROBE_SEED={SEED}"
