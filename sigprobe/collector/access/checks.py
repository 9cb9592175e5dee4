"""Who asks: bearer tokens, the client's address, and how often somebody may guess."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from sqlalchemy import Engine
from starlette.requests import HTTPConnection

from sigprobe.collector import store
from sigprobe.collector.store import Token
from sigprobe.collector.web.problems import ProblemError

_KNOWN_S: Final = 20.0  # a revoked token must be refused within 60 s
_UNKNOWN_S: Final = 2.0  # a new token must work at once, a flood of wrong ones must not reach the database
_MOST: Final = 20_000


class TokenCheck:
    """Looks tokens up, remembering each answer for seconds, so that a token is not a query per request."""

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._clock = clock
        self._seen: OrderedDict[str, tuple[float, Token | None]] = OrderedDict()
        self._lock = threading.Lock()
        self.refused = 0

    def find(self, secret: str) -> Token | None:
        """The token in use with this secret, or None. Blocks on the database: call it in a thread."""
        if not secret or len(secret) > store.MAX_TOKEN_CHARS:
            return None
        key = store.digest(secret)
        now = self._clock()
        with self._lock:
            until, token = self._seen.get(key, (now, None))
        if until <= now:
            token = store.find_token(self._engine, secret)
            with self._lock:
                self._seen[key] = (now + (_UNKNOWN_S if token is None else _KNOWN_S), token)
                self._seen.move_to_end(key)
                while len(self._seen) > _MOST:
                    self._seen.popitem(last=False)
        return token

    def require(self, authorization: str | None, role: str) -> Token:
        """The token of an `Authorization: Bearer` header. Raises ProblemError 401 without one, 403 in another role."""
        scheme, _, secret = (authorization or "").partition(" ")
        token = self.find(secret.strip()) if scheme.lower() == "bearer" else None
        if token is None:
            self.refused += 1
            raise ProblemError(401, "a valid token is needed", headers={"WWW-Authenticate": "Bearer"})
        if token.role != role:
            self.refused += 1
            raise ProblemError(403, f"this needs a token of role {role}", f"the token is of role {token.role}")
        return token


def client_address(connection: HTTPConnection, *, behind_proxy: bool) -> str:
    """The address that limits go by: the peer's, or the last forwarded one when a proxy of ours stands in front."""
    if behind_proxy:
        # several headers of one name read as one list; only the last entry was written by our own proxy
        forwarded = ",".join(connection.headers.getlist("x-forwarded-for")).rpartition(",")[2].strip()
        if forwarded:
            return forwarded[:64]
    return connection.client.host if connection.client else ""


class GuessLimit:
    """Wrong logins per address and in all, within a window. In the process: it slows guessing, it grants nothing."""

    def __init__(
        self, *, each: int = 10, total: int = 200, window_s: float = 300.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._each = each
        self._total = total
        self._window_s = window_s
        self._clock = clock
        self._started_s = clock()
        self._wrong: dict[str, int] = {}

    def wait_s(self, address: str) -> int | None:
        """Seconds until this address may try again, None when it may now."""
        self._turn()
        if self._wrong.get(address, 0) < self._each and sum(self._wrong.values()) < self._total:
            return None
        return max(1, round(self._started_s + self._window_s - self._clock()))

    def note(self, address: str) -> None:
        """Count a wrong try."""
        self._turn()
        self._wrong[address] = self._wrong.get(address, 0) + 1

    def _turn(self) -> None:
        if self._clock() - self._started_s >= self._window_s:
            self._started_s = self._clock()
            self._wrong.clear()
