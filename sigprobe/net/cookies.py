"""Keep cookies for one chain of redirects (RFC 6265), then drop them.

Some sites set a cookie and redirect to themselves, an endless loop without it. `http.cookiejar` compares `Expires` with
this device's clock, which may be years off. This module uses the answer's own `Date`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

from sigprobe.record.host_names import ascii_hostname, is_ip

MAX_COOKIES: Final = 180
MAX_COOKIE_BYTES: Final = 4096
MAX_HEADER_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class _Cookie:
    name: str
    value: str
    domain: str
    host_only: bool
    path: str
    secure: bool


class ChainCookies:
    """The cookies that answers of one chain have set, for the next requests of the same chain."""

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._cookies: dict[tuple[str, str, str], _Cookie] = {}

    def take(self, url: str, set_cookie: Iterable[str], date: str | None = None) -> None:
        """Keep, replace or delete cookies as an answer to `url` says; `date` is its `Date` header."""
        for line in set_cookie:
            self._take_one(url, line, date)

    def header(self, url: str) -> str | None:
        """Return the `Cookie` header for a request to `url`; None when there is none to send."""
        parts = urlsplit(url)
        host, path = _host(url), parts.path or "/"
        fitting = [
            cookie
            for cookie in self._cookies.values()
            if (cookie.domain == host if cookie.host_only else _domain_match(host, cookie.domain))
            and _path_match(path, cookie.path)
            and (parts.scheme == "https" or not cookie.secure)
        ]
        text = ""
        for cookie in sorted(fitting, key=lambda one: -len(one.path)):  # longer paths first (5.4)
            pair = f"{cookie.name}={cookie.value}" if cookie.name else cookie.value
            more = f"{text}; {pair}" if text else pair
            if len(more) > MAX_HEADER_BYTES:
                break
            text = more
        return text or None

    def _take_one(self, url: str, line: str, date: str | None) -> None:
        if len(line) > 2 * MAX_COOKIE_BYTES or any(char < " " and char != "\t" for char in line):
            return
        pair, *attributes = line.split(";")
        name, equals, value = pair.partition("=")
        if not equals:
            name, value = "", pair
        name, value = name.strip(), value.strip()
        if not (name or value) or len(name) + len(value) > MAX_COOKIE_BYTES:
            return
        given: dict[str, str] = {}
        for attribute in attributes:
            key, _, text = attribute.partition("=")
            given[key.strip().lower()] = text.strip()  # of several the last counts
        parts, host = urlsplit(url), _host(url)
        domain = given.get("domain", "").lower().removeprefix(".").removesuffix(".")
        if domain and domain != host and (not _domain_match(host, domain) or "." not in domain):
            return
        secure = "secure" in given
        if secure and parts.scheme != "https":
            return
        path = given.get("path", "")
        if not path.startswith("/"):
            path = (parts.path or "/").rpartition("/")[0] or "/"
        if (name.startswith("__Secure-") and not secure) or (
            name.startswith("__Host-") and (not secure or domain or given.get("path") != "/")
        ):
            return
        key3 = (name, domain or host, path)
        self._cookies.pop(key3, None)
        if self._expired(given, date) or len(self._cookies) >= MAX_COOKIES:
            return
        self._cookies[key3] = _Cookie(name, value, domain or host, not domain, path, secure)

    def _expired(self, given: dict[str, str], date: str | None) -> bool:
        age = given.get("max-age", "")
        if age.removeprefix("-").isascii() and age.removeprefix("-").isdigit():
            return age.startswith("-") or int(age[:18]) == 0
        end = _timestamp(given.get("expires"))
        if end is None:
            return False
        now = _timestamp(date)
        return end <= (self._wall() if now is None else now)


def _timestamp(text: str | None) -> float | None:
    """Return seconds of an HTTP date, also with the hyphens that servers put into cookies; None for anything else."""
    if not text:
        return None
    try:
        when = parsedate_to_datetime(text.replace("-", " ") if not text.rstrip().endswith("0000") else text)
        return when.replace(tzinfo=when.tzinfo or UTC).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _host(url: str) -> str:
    host = (urlsplit(url).hostname or "").lower().removesuffix(".")
    try:
        return host if is_ip(host) else ascii_hostname(host)
    except ValueError:
        return host


def _domain_match(host: str, domain: str) -> bool:
    return host == domain or (host.endswith("." + domain) and not is_ip(host))


def _path_match(path: str, allowed: str) -> bool:
    return path == allowed or (path.startswith(allowed) and (allowed.endswith("/") or path[len(allowed)] == "/"))
