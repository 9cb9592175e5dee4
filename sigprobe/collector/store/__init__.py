"""Open the collector's database: SQLite by default, PostgreSQL by URL, the same code for both."""

from sigprobe.collector.store.engine import AddressError, StoreError, file_of, open_again, open_store

__all__ = ["AddressError", "StoreError", "file_of", "open_again", "open_store"]
