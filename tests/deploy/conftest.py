"""Collectors for the tests of `deploy/`."""

from tests.support.collector_fixtures import make_collector, postgres

__all__ = ["make_collector", "postgres"]
