"""List the resources that a page's HTML refers to: no script is run, no style sheet is opened.

Addresses follow <base>, as in HTML 4.2.3 (https://html.spec.whatwg.org/). What stands in `noscript` and `template` is
left alone, since a browser with scripts would not fetch it; of a choice (`srcset`) only the plain `src` is taken.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Final
from urllib.parse import quote, urldefrag, urljoin

from sigprobe.net.urls import check_url

MAX_HTML: Final = 1_000_000
"""Characters of a page that are read for resources; what comes later is not looked at."""
MAX_PARTS: Final = 5_000
MAX_URL: Final = 2_000
_PIECE: Final = 65_536
_MAX_OPEN: Final = 4 * _PIECE
"""The longest single tag: reading a longer one again with each piece would take long."""

_LINKS: Final = {
    "stylesheet": "style",
    "icon": "icon",
    "preload": "preload",
    "modulepreload": "script",
    "manifest": "manifest",
}
_SOURCES: Final = {
    "img": ("src", "image"),
    "script": ("src", "script"),
    "iframe": ("src", "frame"),
    "frame": ("src", "frame"),
    "embed": ("src", "object"),
    "object": ("data", "object"),
    "audio": ("src", "media"),
    "video": ("src", "media"),
    "source": ("src", "media"),
    "track": ("src", "media"),
}
_ORDER: Final = ("style", "script", "preload", "image", "icon", "manifest", "frame", "object", "media")
"""What is fetched first: what a page cannot be drawn without; long media last."""


@dataclass(frozen=True, slots=True)
class Part:
    """One resource of a page: its absolute URL without fragment, and what it is for."""

    url: str
    use: str


def parts_of(html: str, url: str, *, stop: Callable[[], bool] = lambda: False) -> list[Part]:
    """Return the resources of a page at `url`, each once, in the order to fetch them, for any content.

    At most `MAX_PARTS`, from the first `MAX_HTML` characters. `stop` is asked every `_PIECE` characters.
    """
    reader = _Reader(url)
    text = html[:MAX_HTML]
    for at in range(0, len(text), _PIECE):
        if stop() or len(reader.found) >= MAX_PARTS or len(reader.rawdata) > _MAX_OPEN:
            break
        # never closed: finishing what a hostile page left open can take quadratic time (CVE-2025-6069)
        reader.feed(text[at : at + _PIECE])
    return sorted(reader.found.values(), key=lambda part: _ORDER.index(part.use))


class _Reader(HTMLParser):
    def __init__(self, url: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: dict[str, Part] = {}
        self._base = url
        self._based = False
        self._inert: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect the resources of this element."""
        if tag in ("noscript", "template"):
            self._inert.append(tag)
        if self._inert:
            return
        values = {name: value or "" for name, value in reversed(attrs)}  # the first of two equal names counts
        if tag == "base" and not self._based and "href" in values:
            self._based = True
            self._base = _absolute(self._base, values["href"]) or self._base
        elif tag == "link":
            words = values.get("rel", "").lower().split()
            use = next((_LINKS[word] for word in words if word in _LINKS), None)
            if use is not None and "alternate" not in words and "disabled" not in values:
                self._add(values.get("href"), use)
        elif tag == "input" and values.get("type", "").lower() == "image":
            self._add(values.get("src"), "image")
        elif tag == "script" and "nomodule" in values:
            return  # for browsers older than modules
        elif tag in _SOURCES:
            name, use = _SOURCES[tag]
            self._add(values.get(name), use)
            if tag == "video":
                self._add(values.get("poster"), "image")

    def handle_endtag(self, tag: str) -> None:
        """Leave an element whose resources are not fetched."""
        if tag in self._inert:
            while self._inert and self._inert.pop() != tag:
                pass

    def _add(self, value: str | None, use: str) -> None:
        url = _absolute(self._base, value) if value and value.strip() else None
        if url is not None and len(self.found) < MAX_PARTS:
            self.found.setdefault(url, Part(url, use))


def _absolute(base: str, value: str) -> str | None:
    """Return an address of a page as a URL to fetch; None for `data:` and anything else."""
    text = re.sub(r"[\t\r\n]", "", value.strip(" \t\r\n\f"))
    if len(text) > MAX_URL:
        return None
    try:
        url = urldefrag(urljoin(base, quote(text, safe="%/:=&?~#+!$,;'@()*[]-._|^`\"{}<>"))).url
        check_url(url)
    except ValueError:
        return None
    return url if len(url) <= MAX_URL else None
