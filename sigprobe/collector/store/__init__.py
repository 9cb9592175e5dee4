"""The only way to the collector's database: SQLite by default, PostgreSQL by URL, the same code for both."""

from sigprobe.collector.store.engine import StoreError, open_store
from sigprobe.collector.store.results import (
    Filters,
    NewResult,
    StoredResult,
    Tally,
    add_results,
    find_result,
    last_number,
    list_newest,
    page_lines,
    read_tallies,
    sound_text,
)
from sigprobe.collector.store.sessions import (
    close_session,
    create_once,
    find_session,
    open_session,
    spend_once,
)
from sigprobe.collector.store.tokens import (
    ADMIN,
    PROBE,
    NameTakenError,
    Token,
    create_token,
    find_token,
    list_tokens,
    revoke_token,
)

__all__ = [
    "ADMIN",
    "PROBE",
    "Filters",
    "NameTakenError",
    "NewResult",
    "StoreError",
    "StoredResult",
    "Tally",
    "Token",
    "add_results",
    "close_session",
    "create_once",
    "create_token",
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
