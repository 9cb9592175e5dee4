"""Check, shorten and compare URLs of targets, and resolve redirects."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final
from urllib.parse import SplitResult, quote, urljoin, urlsplit, urlunsplit

from pydantic import AfterValidator, Field

from sigprobe.net import sockets
from sigprobe.record.host_names import ascii_hostname, bare_name, is_ip
from sigprobe.record.messages import N_, MessageError

MAX_REDIRECTS: Final = 20
"""As many as browsers follow."""


def check_url(url: str) -> SplitResult:
    """Split a URL a check may ask for: http or https, a host, no user or password. Raises MessageError."""
    if re.search(r"[\x00-\x20\x7f\\]", url):
        raise MessageError(N_("{value} is not a web address: it has spaces, control characters or backslashes."))
    wrong = MessageError(N_("{value} is not a web address: it needs a host name, and a port from 1 to 65535 if any."))
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise wrong from None
    if parts.scheme not in ("http", "https"):
        raise MessageError(N_("{value} is not a web address: it must start with http:// or https://."))
    if "@" in parts.netloc:
        raise MessageError(N_("a web address of a target cannot contain a user name or password."))
    if not parts.hostname or port == 0:
        raise wrong
    if not is_ip(parts.hostname):
        ascii_hostname(parts.hostname)
    return parts


def _checked(url: str) -> str:
    check_url(url)
    return url


TargetUrl = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_checked)]
"""The key `url` of a target that is asked over HTTP."""


def shown_url(url: str) -> str:
    """Return a URL as it may be stored: no userinfo, no query values (`?a=&b=`), no fragment."""
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
    """Whether two URLs name one host. Scheme and port may differ, and so may `www.`: sites are reached both ways."""
    try:
        return bare_host(url) == bare_host(other)
    except ValueError:
        return False


def bare_host(url: str) -> str:
    """Return the host of a URL in ASCII and lower case, without `www.`. Raises ValueError for no host name."""
    return bare_name(urlsplit(url).hostname or "")


def redirect_target(url: str, status: int | None, headers: Mapping[str, str] | None) -> str | None:
    """Return where an answer to `url` sends on, as an absolute URL without userinfo and fragment; None when nowhere.

    `Location` is read as browsers read it (WHATWG URL): blanks around it are dropped, those within and other
    characters are percent-encoded as UTF-8, and backslashes count as slashes.
    """
    if headers is None or status not in (301, 302, 303, 307, 308):
        return None
    # header bytes come as Latin-1, whatever they were
    text = headers.get("Location", "").encode("latin-1", "replace").decode("utf-8", "surrogateescape")
    text = re.sub(r"[\t\r\n]", "", text.strip(_BLANKS))
    if not text:
        return None
    try:
        parts = urlsplit(urljoin(url, _plain_reference(text, urlsplit(url).scheme)))
        host = (parts.hostname or "").rstrip(".")
        netloc = parts.netloc.rpartition("@")[2]
        if host and not host.isascii():
            netloc = netloc.lower().replace(parts.hostname or "", ascii_hostname(host))
    except ValueError:
        return None
    encoded = parts._replace(
        netloc=netloc,
        path=quote(parts.path, safe=_KEPT_IN_PATH, errors="surrogateescape")
        or "/" * (parts.scheme in ("http", "https")),
        query=quote(parts.query, safe=_KEPT_IN_QUERY, errors="surrogateescape"),
        fragment="",
    )
    return urlunsplit(encoded)


_BLANKS: Final = "".join(map(chr, range(0x21)))
_KEPT_IN_PATH: Final = "%/:;=@!$&'()*+,[]|~^`{}"
_KEPT_IN_QUERY: Final = _KEPT_IN_PATH + "?\\"
_SCHEME: Final = re.compile(r"(https?):([/\\]*)", re.I)


def _plain_reference(text: str, base_scheme: str) -> str:
    """Return a reference with the slashes that RFC 3986 wants: `https:\\\\x`, `http:/x` and `\\x` are common."""
    found = _SCHEME.match(text)
    scheme, rest = ("", text) if found is None else (found[1].lower(), text[found.end(1) + 1 :])
    head, mark, query = re.match(r"([^?#]*)([?#]?)(.*)", rest, re.S).groups()  # type: ignore[union-attr]
    if found is not None or not re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", text):
        head = head.replace("\\", "/")
    rest = head + mark + query
    if found is None:
        return re.sub(r"^//+", "//", rest)
    if scheme == base_scheme and not rest.startswith("//"):
        return rest  # `http:path` is relative to a base of the same scheme
    return f"{scheme}://{rest.lstrip('/')}"
