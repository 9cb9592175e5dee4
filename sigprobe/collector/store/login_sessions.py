"""Page sessions and one-time links."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import Connection, Engine, delete, or_, select

from sigprobe.collector.store.schema import sessions, tokens
from sigprobe.collector.store.tokens import digest

SESSION_TIME: Final = timedelta(hours=12)
ONCE_TIME: Final = timedelta(minutes=10)
_SESSION: Final = "session"
_ONCE: Final = "once"


def create_once(engine: Engine, *, now: datetime | None = None) -> str:
    """Make the secret of a one-time link: ten minutes, one use."""
    with engine.execution_options(write=True).begin() as connection:
        return _open(connection, _ONCE, None, (now or datetime.now(UTC)) + ONCE_TIME)


def spend_once(engine: Engine, secret: str, *, now: datetime | None = None) -> str | None:
    """Trade a one-time link for a session in one transaction; None when it was used, is old or never was."""
    now = now or datetime.now(UTC)
    with engine.execution_options(write=True).begin() as connection:
        spent = connection.execute(
            delete(sessions)
            .where(sessions.c.hash == digest(secret), sessions.c.use == _ONCE, sessions.c.expires_at > now)
            .returning(sessions.c.hash)
        ).first()
        return None if spent is None else _open(connection, _SESSION, None, now + SESSION_TIME)


def open_session(engine: Engine, token_id: str, *, now: datetime | None = None) -> str:
    """Make the secret of a session that lives for twelve hours, or until its token is revoked."""
    now = now or datetime.now(UTC)
    with engine.execution_options(write=True).begin() as connection:
        connection.execute(delete(sessions).where(sessions.c.expires_at <= now))
        return _open(connection, _SESSION, token_id, now + SESSION_TIME)


def find_session(engine: Engine, secret: str, *, now: datetime | None = None) -> bool:
    """Whether this is a live session whose token, if it has one, is still in use."""
    query = (
        select(sessions.c.hash)
        .outerjoin(tokens, tokens.c.id == sessions.c.token_id)
        .where(sessions.c.hash == digest(secret), sessions.c.use == _SESSION)
        .where(sessions.c.expires_at > (now or datetime.now(UTC)))
        .where(or_(sessions.c.token_id.is_(None), (tokens.c.id.is_not(None)) & (tokens.c.revoked_at.is_(None))))
    )
    with engine.connect() as connection:
        return connection.execute(query).first() is not None


def close_session(engine: Engine, secret: str) -> None:
    """End a session."""
    with engine.execution_options(write=True).begin() as connection:
        connection.execute(delete(sessions).where(sessions.c.hash == digest(secret)))


def _open(connection: Connection, use: str, token_id: str | None, expires_at: datetime) -> str:
    secret = secrets.token_urlsafe(32)
    connection.execute(sessions.insert().values(hash=digest(secret), use=use, token_id=token_id, expires_at=expires_at))
    return secret
