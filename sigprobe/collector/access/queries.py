"""Read and write tokens, page sessions and one-time links. Only SHA-256 digests are stored: the secrets are random."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Engine, Row, case, delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError

from sigprobe.collector.store.schema import sessions, tokens, upsert
from sigprobe.collector.store.shared_state import wrong_tries

PROBE: Final = "probe"
ADMIN: Final = "admin"
MAX_TOKEN_CHARS: Final = 200
SESSION_TIME: Final = timedelta(hours=12)
ONCE_TIME: Final = timedelta(minutes=10)
_SESSION: Final = "session"
_ONCE: Final = "once"


class NameTakenError(Exception):
    """A token of this name is in use."""


@dataclass(frozen=True, slots=True)
class Token:
    """Token without its secret. `last_used_at` is exact to an hour: it is not written per request."""

    id: str
    name: str
    role: str
    created_at: datetime
    revoked_at: datetime | None
    last_used_at: datetime | None


_FIELDS: Final = tuple(tokens.c[item.name] for item in fields(Token))


def digest(secret: str) -> str:
    """Return the stored digest of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def create_token(engine: Engine, name: str, role: str, *, now: datetime | None = None) -> str:
    """Create a token and return it: the only time it is visible. Raises NameTakenError."""
    secret = f"sigprobe-{role}-{secrets.token_urlsafe(32)}"
    row = {
        "id": str(uuid.uuid4()),
        "name": name,
        "role": role,
        "hash": digest(secret),
        "created_at": now or datetime.now(UTC),
    }
    try:
        with engine.execution_options(write=True).begin() as connection:
            connection.execute(tokens.insert().values(row))
    except IntegrityError as error:
        raise NameTakenError(name) from error
    return secret


def list_tokens(engine: Engine) -> Sequence[Token]:
    """Return all tokens, revoked ones too, oldest first."""
    with engine.connect() as connection:
        return [_token(row) for row in connection.execute(select(*_FIELDS).order_by(tokens.c.created_at))]


def revoke_token(engine: Engine, name: str, *, now: datetime | None = None) -> bool:
    """Revoke the token of this name permanently; False when none is in use."""
    with engine.execution_options(write=True).begin() as connection:
        done = connection.execute(
            update(tokens)
            .where(tokens.c.name == name, tokens.c.revoked_at.is_(None))
            .values(revoked_at=now or datetime.now(UTC))
        )
    return done.rowcount > 0


def find_tokens(engine: Engine, digests: Sequence[str]) -> dict[str, Token]:
    """Return the tokens in use, by the digests of their secrets; 500 at most.

    They are looked up by digest, so the time it takes says nothing about any stored secret.
    """
    query = select(tokens.c.hash, *_FIELDS).where(tokens.c.hash.in_(digests), tokens.c.revoked_at.is_(None))
    with engine.connect() as connection:
        return {row[0]: Token(*row[1:]) for row in connection.execute(query)}


def _token(row: Row[Any]) -> Token:
    return Token(**row._asdict())


def create_once(engine: Engine, *, now: datetime | None = None) -> str:
    """Create the secret of a one-time link: ten minutes, one use."""
    with engine.execution_options(write=True).begin() as connection:
        return _open(connection, _ONCE, None, (now or datetime.now(UTC)) + ONCE_TIME)


def spend_once(engine: Engine, secret: str, *, now: datetime | None = None) -> str | None:
    """Exchange a one-time link for a session in one transaction; None for a used, expired or unknown one."""
    now = now or datetime.now(UTC)
    # a read first: wrong links must not take the write lock
    with engine.connect() as connection:
        if connection.execute(select(sessions.c.hash).where(sessions.c.hash == digest(secret))).first() is None:
            return None
    with engine.execution_options(write=True).begin() as connection:
        spent = connection.execute(
            delete(sessions)
            .where(sessions.c.hash == digest(secret), sessions.c.use == _ONCE, sessions.c.expires_at > now)
            .returning(sessions.c.hash)
        ).first()
        return None if spent is None else _open(connection, _SESSION, None, now + SESSION_TIME)


def open_session(engine: Engine, token_id: str, *, now: datetime | None = None) -> str:
    """Create the secret of a session that is valid for twelve hours, or until its token is revoked."""
    now = now or datetime.now(UTC)
    with engine.execution_options(write=True).begin() as connection:
        connection.execute(delete(sessions).where(sessions.c.expires_at <= now))
        return _open(connection, _SESSION, token_id, now + SESSION_TIME)


def find_session(engine: Engine, secret: str, *, now: datetime | None = None) -> bool:
    """Return whether this is a live session whose token, if it has one, is still in use."""
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
    with engine.connect() as connection:
        if connection.execute(select(sessions.c.hash).where(sessions.c.hash == digest(secret))).first() is None:
            return
    with engine.execution_options(write=True).begin() as connection:
        connection.execute(delete(sessions).where(sessions.c.hash == digest(secret)))


def note_wrong_try(engine: Engine, group: str, window_s: float) -> tuple[int, float]:
    """Count a wrong secret for all processes; how many there were in the group's window, and for how long it lasts."""
    with engine.begin() as connection:
        statement = upsert(connection, wrong_tries).values(client=group, began_at=func.now(), wrong=1)
        over = wrong_tries.c.began_at <= func.now() - timedelta(seconds=window_s)
        found = connection.execute(
            statement.on_conflict_do_update(
                index_elements=["client"],
                set_={
                    "began_at": case((over, func.now()), else_=wrong_tries.c.began_at),
                    "wrong": case((over, 1), else_=wrong_tries.c.wrong + 1),
                },
            ).returning(wrong_tries.c.wrong, func.extract("epoch", func.now() - wrong_tries.c.began_at))
        ).one()
    return int(found[0]), float(found[1])


def _open(connection: Connection, use: str, token_id: str | None, expires_at: datetime) -> str:
    secret = secrets.token_urlsafe(32)
    connection.execute(sessions.insert().values(hash=digest(secret), use=use, token_id=token_id, expires_at=expires_at))
    return secret
