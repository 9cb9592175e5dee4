"""A collector to test against, and laptops that bring it their results."""

from tests.support.collector_fixtures import collector, database, engine, make_collector, postgres
from tests.support.laptop_fixtures import laptop

__all__ = ["collector", "database", "engine", "laptop", "make_collector", "postgres"]
