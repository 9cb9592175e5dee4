"""Name the cause of a database error: the drivers' own texts are English and made for programmers."""

from __future__ import annotations

from typing import Final

from sqlalchemy.exc import DBAPIError

from sigprobe.record.messages import N_, MessageError

_STATES: Final = (
    ("28P01", N_("the user name or password is wrong")),
    ("28", N_("the server does not admit this user")),
    ("3D000", N_("the server has no database of this name")),
    ("42501", N_("this user may not use these tables")),
    ("53100", N_("the disk of the server is full")),
    ("53300", N_("the server has too many connections")),
    ("57P03", N_("the server is starting or stopping")),
    ("57P", N_("the server is stopping")),
    ("57014", N_("the server took too long")),
    ("55P03", N_("another program holds a lock for too long")),
    ("25006", N_("the server is read-only")),
)
"""SQLSTATE codes and classes of PostgreSQL, the more exact ones first."""

_TEXTS: Final = (
    ("password authentication failed", N_("the user name or password is wrong")),
    ("no password supplied", N_("the server asks for a password")),
    ("no pg_hba.conf entry", N_("the server does not admit this user")),
    ('role "', N_("the server does not admit this user")),
    ('database "', N_("the server has no database of this name")),
    ("too many connections", N_("the server has too many connections")),
    ("too many clients", N_("the server has too many connections")),
    ("starting up", N_("the server is starting or stopping")),
    ("shutting down", N_("the server is starting or stopping")),
    (
        "must be superuser or replication role",
        N_("this user may not copy the server: it lacks the attribute REPLICATION"),
    ),
    (
        "permission denied to start WAL sender",
        N_("this user may not copy the server: it lacks the attribute REPLICATION"),
    ),
    ("max_wal_senders", N_("the server has too many connections")),
    ("before configured recovery target", N_("the archived WAL does not reach that time")),
    ("checkpoint record", N_("the archived WAL lacks a needed part")),
    ("requested timeline", N_("the archived WAL belongs to another history of the server")),
    ("insufficient parameter settings", N_("the limits of this server are smaller than those of the former one")),
    ("incompatible with server", N_("the backup is of another version of PostgreSQL")),
    ("No space left on device", N_("the disk is full")),
    ("Permission denied", N_("permission denied")),
    ("Connection refused", N_("the server refuses the connection; check that it is running")),
    ("No such file or directory", N_("the server refuses the connection; check that it is running")),
    ("could not translate host name", N_("the name of the server is not known")),
    ("failed to resolve host", N_("the name of the server is not known")),
    ("Name or service not known", N_("the name of the server is not known")),
    ("timeout expired", N_("the server does not answer")),
    ("timed out", N_("the server does not answer")),
    ("certificate", N_("the certificate of the server cannot be verified")),
    ("SSL", N_("no secure connection (TLS) to the server could be made")),
    ("session is read-only", N_("the server is read-only")),
    ("session is not read-only", N_("the server is not the wanted one (target_session_attrs)")),
    ("server closed the connection", N_("the server closed the connection")),
    ("file is not a database", N_("the file is not a SQLite database, or it is damaged")),
    ("malformed", N_("the file is damaged")),
    ("disk is full", N_("the disk is full")),
    ("readonly database", N_("this user may not write the file")),
    ("unable to open database file", N_("this user may not open the file")),
    ("database is locked", N_("another program holds a lock for too long")),
    ("disk I/O error", N_("the disk reports an error")),
)
"""Parts of the texts of libpq, psycopg, SQLite and PostgreSQL's programs, which give no code."""


def cause(error: Exception) -> MessageError:
    """Return the cause of a database error as a message of the catalogues."""
    original = _original(error)
    if isinstance(original, MessageError):
        return original
    state = str(getattr(original, "sqlstate", None) or "")
    known = [text for code, text in _STATES if state and state.startswith(code)]
    return MessageError(known[0]) if known else cause_in(str(original))


def cause_in(said: str) -> MessageError:
    """Return the cause that a text of a driver, or of PostgreSQL's own programs, names."""
    known = [text for part, text in _TEXTS if part in said]
    return MessageError(known[0] if known else N_("the database reports an unexpected error"))


def technical_text(error: Exception) -> str:
    """Return the first line of the driver, without SQLAlchemy's statement and parameters, for `-v` and logs."""
    original = _original(error)
    lines = str(original).strip().splitlines()
    return lines[0] if lines else type(original).__name__


def _original(error: Exception) -> BaseException:
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
