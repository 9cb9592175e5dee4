"""Check bearer tokens, and cache each answer for seconds."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from sqlalchemy import Engine

from sigprobe.collector.access import queries
from sigprobe.collector.access.queries import Token

KNOWN_S: Final = 20.0
"""A revoked token is refused after so long at the latest. Messages and docs name it."""

_UNKNOWN_S: Final = 2.0  # a new token must work at once, a flood of wrong ones must not reach the database
_MOST: Final = 20_000
_T = TypeVar("_T")

log = logging.getLogger(__name__)


class TokenCheck:
    """Look up tokens, with a cache of seconds, so that a token does not cost a query per request."""

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._clock = clock
        # a separate cache, so that a flood of wrong tokens cannot evict a right one
        self._known: OrderedDict[str, tuple[float, Token]] = OrderedDict()
        self._unknown: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def remembered(self, secret: str) -> Token | None:
        """Return the token with this secret when it was looked up within the last seconds; never asks the database."""
        with self._lock:
            until, token = self._known.get(queries.digest(secret), (0.0, None))
        return token if token is not None and until > self._clock() else None

    def find(self, secret: str) -> Token | None:
        """Return the token in use with this secret, or None. Blocks on the database: call it in a thread."""
        return self.find_all([secret])[secret]

    def find_all(self, secrets: Sequence[str]) -> dict[str, Token | None]:
        """Return the token in use with each secret, or None, by one query. Blocks on the database."""
        now = self._clock()
        found: dict[str, Token | None] = {}
        unsure: dict[str, str] = {}
        with self._lock:
            for secret in secrets:
                found[secret] = None
                if not secret or len(secret) > queries.MAX_TOKEN_CHARS:
                    continue
                key = queries.digest(secret)
                until, token = self._known.get(key, (now, None))
                if token is not None and until > now:
                    found[secret] = token
                elif self._unknown.get(key, now) <= now:
                    unsure[secret] = key
        if not unsure:
            return found
        looked_up = queries.find_tokens(self._engine, list(unsure.values()))
        revoked = []
        with self._lock:
            for secret, key in unsure.items():
                token = found[secret] = looked_up.get(key)
                was = self._known.pop(key, None)
                if token is not None:
                    _keep(self._known, key, (now + KNOWN_S, token))
                    self._unknown.pop(key, None)
                    continue
                _keep(self._unknown, key, now + _UNKNOWN_S)
                if was is not None:
                    revoked.append(was[1])
        for gone in revoked:
            # the command that revokes runs in a process of its own: this is where the server learns of it
            log.warning("token revoked", extra={"token": gone.name, "role": gone.role})
        return found


def bearer_secret(authorization: str | None) -> str | None:
    """Return the secret of an `Authorization: Bearer` header, or None."""
    scheme, _, secret = (authorization or "").partition(" ")
    return secret.strip() or None if scheme.lower() == "bearer" else None


def _keep(items: OrderedDict[str, _T], key: str, value: _T) -> None:
    items[key] = value
    items.move_to_end(key)
    while len(items) > _MOST:
        items.popitem(last=False)
