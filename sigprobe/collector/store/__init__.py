"""Reach the collector's database: SQLite by default, PostgreSQL by URL, one code for both."""

from sigprobe.collector.store.engine import AddressError, StoreError, open_store
from sigprobe.collector.store.login_sessions import (
    SESSION_TIME,
    close_session,
    create_once,
    find_session,
    open_session,
    spend_once,
)
from sigprobe.collector.store.results import (
    add_results,
    catch_up,
    find_result,
    last_number,
    list_newest,
    page_lines,
    read_tallies,
)
from sigprobe.collector.store.rows import Filters, NewResult, StoredResult, Tally, sound_text
from sigprobe.collector.store.tokens import (
    ADMIN,
    MAX_TOKEN_CHARS,
    PROBE,
    NameTakenError,
    Token,
    create_token,
    digest,
    find_token,
    list_tokens,
    revoke_token,
)

__all__ = [
    "ADMIN",
    "MAX_TOKEN_CHARS",
    "PROBE",
    "SESSION_TIME",
    "AddressError",
    "Filters",
    "NameTakenError",
    "NewResult",
    "StoreError",
    "StoredResult",
    "Tally",
    "Token",
    "add_results",
    "catch_up",
    "close_session",
    "create_once",
    "create_token",
    "digest",
    "find_result",
    "find_session",
    "find_token",
    "last_number",
    "list_newest",
    "list_tokens",
    "open_session",
    "open_store",
    "page_lines",
    "read_tallies",
    "revoke_token",
    "sound_text",
    "spend_once",
]
