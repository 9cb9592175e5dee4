"""URLs of targets: which may be asked for, what of them may be stored, and whose they are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

from pydantic import AfterValidator, Field

from sigprobe.net import sockets


def check_url(url: str) -> SplitResult:
    """Split a URL a check may ask for: http or https, a host, no user or password. Raises ValueError."""
    if re.search(r"[\x00-\x20\x7f\\]", url):
        raise ValueError("url must hold no spaces, control characters or backslashes")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise ValueError("url must start with http:// or https://")
    if "@" in parts.netloc:
        raise ValueError("url must hold no user name or password")
    if not parts.hostname or (parts.port is not None and not 1 <= parts.port <= 65535):
        raise ValueError("url must name a host, and a port of 1 to 65535 if any")
    if not sockets.is_ip(parts.hostname):
        sockets.ascii_hostname(parts.hostname)
    return parts


def _checked(url: str) -> str:
    check_url(url)
    return url


TargetUrl = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_checked)]
"""The key `url` of a target that is asked over HTTP."""


def shown_url(url: str) -> str:
    """A URL as it may be stored: no userinfo, no query values (`?a=&b=`), no fragment."""
    parts = urlsplit(url)
    # a part without `=` may be a bare value, so it goes too
    keys = [part.partition("=")[0] + "=" for part in parts.query.split("&") if "=" in part]
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "&".join(keys), ""))


def origin(url: str) -> str:
    """Scheme, host and port of a URL, the port always given: `https://example.org:443`."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"{parts.scheme}://{sockets.endpoint(parts.hostname or '', port)}"


def same_host(url: str, other: str) -> bool:
    """True when two usable URLs name one host; scheme and port may differ."""
    return _host(url) == _host(other)


def _host(url: str) -> str:
    host = (urlsplit(url).hostname or "").lower()
    return host if sockets.is_ip(host) else sockets.ascii_hostname(host)


def redirect_target(url: str, status: int | None, headers: Mapping[str, str] | None) -> str | None:
    """Where an answer to `url` sends on, as an absolute URL without userinfo and fragment; None when nowhere."""
    if headers is None or status not in (301, 302, 303, 307, 308):
        return None
    # header bytes come as Latin-1, whatever they were
    text = headers.get("Location", "").encode("latin-1", "replace").decode("utf-8", "replace")
    try:
        parts = urlsplit(urljoin(url, text))
    except ValueError:
        return None
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="")) if text else None
