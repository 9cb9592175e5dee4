"""Laptops with queues of their own."""

from tests.support.laptop_fixtures import database, engine, laptop, postgres

__all__ = ["database", "engine", "laptop", "postgres"]
