"""One POST to one collector: TLS always verified, no redirect followed, nothing taken from the environment."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin

if TYPE_CHECKING:
    import requests

MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
_NO_CHECK_TIME: Final = 0x200000  # X509_V_FLAG_NO_CHECK_TIME, which Python's ssl does not name


@dataclass(frozen=True, slots=True)
class Collector:
    """A collector as configured, with its token. `allow_unchecked_time` counts only with a CA file of its own."""

    url: str
    token: str | None = None
    ca_file: str | None = None
    allow_unchecked_time: bool = False
    proxy: str | None = None

    def __repr__(self) -> str:
        """Keep the token out of tracebacks and logs."""
        return f"Collector({self.url})"

    def endpoint(self, path: str) -> str:
        """The URL of a path below the configured one, which may lack its last slash."""
        return urljoin(self.url if self.url.endswith("/") else self.url + "/", path)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, whoever gave it. Header names as sent; look them up in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    rtt_s: float


class TransportError(Exception):
    """No whole answer came. `reason` is `unreachable`, `timeout`, `reset` or `tls`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def open_session(collector: Collector) -> requests.Session:
    """A session that trusts only the configuration: no proxy, netrc or CA from the environment."""
    import requests
    from requests.adapters import HTTPAdapter

    class Pinned(HTTPAdapter):
        """Verifies with the collector's own CA alone, and without the time where that was opted into."""

        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            context = ssl.create_default_context(cafile=collector.ca_file)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if collector.allow_unchecked_time and collector.ca_file:
                context.verify_flags |= _NO_CHECK_TIME
            kwargs["ssl_context"] = context
            super().init_poolmanager(*args, **kwargs)

    session = requests.Session()
    session.trust_env = False
    session.verify = collector.ca_file or True
    session.cookies.clear()
    if collector.proxy:
        session.proxies = {"http": collector.proxy, "https": collector.proxy}
    if collector.ca_file and collector.url.startswith("https:"):
        session.mount("https://", Pinned())
    return session


def post(
    session: requests.Session,
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    timeout_s: float,
    clock: Callable[[], float] = time.monotonic,
) -> Reply:
    """Send one body and read the whole answer, at most `MAX_ANSWER_BYTES`.

    `timeout_s` bounds the connection, each silence, and the reading of the answer. Raises TransportError.
    """
    import requests
    import urllib3

    started = clock()
    try:
        answer = session.post(
            url,
            data=body,
            headers=dict(headers),
            timeout=(min(10.0, timeout_s), timeout_s),
            allow_redirects=False,
            stream=True,
        )
        with answer:
            rtt = clock() - started
            chunks: list[bytes] = []
            size = 0
            for chunk in answer.iter_content(64 * 1024):
                chunks.append(chunk)
                size += len(chunk)
                if size > MAX_ANSWER_BYTES:
                    raise TransportError("reset", "the answer is too long")
                if clock() - started > timeout_s + 10.0:
                    raise TransportError("timeout", "the answer took too long")
            return Reply(answer.status_code, answer.headers, b"".join(chunks), rtt)
    except requests.exceptions.SSLError as error:
        raise TransportError("tls", _detail(error)) from error
    except requests.exceptions.Timeout as error:
        raise TransportError("timeout", _detail(error)) from error
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        reason = "unreachable" if _never_connected(error) else "reset"
        raise TransportError(reason, _detail(error)) from error


def _never_connected(error: BaseException) -> bool:
    import urllib3

    link: BaseException | None = error
    for _ in range(8):
        if link is None:
            return False
        if isinstance(link, (urllib3.exceptions.NewConnectionError, socket.gaierror, ConnectionRefusedError)):
            return True
        inner = getattr(link, "reason", None) or next((a for a in link.args if isinstance(a, BaseException)), None)
        link = inner if isinstance(inner, BaseException) else link.__cause__
    return False


def _detail(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:300]
