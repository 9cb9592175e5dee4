"""Tokens of probes and administrators. Only their SHA-256 is kept: they are random, so that is enough."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Engine, Row, select, update
from sqlalchemy.exc import IntegrityError

from sigprobe.collector.store.schema import tokens

PROBE: Final = "probe"
ADMIN: Final = "admin"
MAX_TOKEN_CHARS: Final = 200


class NameTakenError(Exception):
    """A token of this name is in use."""


@dataclass(frozen=True, slots=True)
class Token:
    """One token, without its secret. `last_used_at` is exact to an hour: it is not written per request."""

    id: str
    name: str
    role: str
    created_at: datetime
    revoked_at: datetime | None
    last_used_at: datetime | None


_FIELDS: Final = tuple(tokens.c[item.name] for item in fields(Token))


def digest(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def create_token(engine: Engine, name: str, role: str, *, now: datetime | None = None) -> str:
    """Make a token and return it: the only time it can be seen. Raises NameTakenError."""
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
    """All tokens, revoked ones too, oldest first."""
    with engine.connect() as connection:
        return [_token(row) for row in connection.execute(select(*_FIELDS).order_by(tokens.c.created_at))]


def revoke_token(engine: Engine, name: str, *, now: datetime | None = None) -> bool:
    """Take the token of this name out of use for good; False when there is none in use."""
    with engine.execution_options(write=True).begin() as connection:
        done = connection.execute(
            update(tokens)
            .where(tokens.c.name == name, tokens.c.revoked_at.is_(None))
            .values(revoked_at=now or datetime.now(UTC))
        )
    return done.rowcount > 0


def find_token(engine: Engine, secret: str) -> Token | None:
    """The token in use with this secret, or None.

    It is looked up by its digest, so the time it takes says nothing about any stored secret.
    """
    if not secret or len(secret) > MAX_TOKEN_CHARS:
        return None
    with engine.connect() as connection:
        row = connection.execute(
            select(*_FIELDS).where(tokens.c.hash == digest(secret), tokens.c.revoked_at.is_(None))
        ).first()
    return None if row is None else _token(row)


def _token(row: Row[Any]) -> Token:
    return Token(**row._asdict())
