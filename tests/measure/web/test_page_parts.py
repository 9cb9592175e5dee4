"""What a page is made of, read from its HTML: what counts, what does not, and rubbish."""

from __future__ import annotations

import pytest

from sigprobe.measure.web.page_parts import MAX_HTML, parts_of


def urls(text: str, base: str = "http://h/d/p.html") -> list[str]:
    return [part.url for part in parts_of(text, base)]


def test_base_and_relative_addresses() -> None:
    """<base> counts from where it stands, the first one only; fragments and spaces around do not matter."""
    assert urls('<img src="a.png">') == ["http://h/d/a.png"]
    text = '<base href="/e/"><base href="/no/"><img src=" b.png#x "><img src="../c d.png">'
    assert urls(text) == ["http://h/e/b.png", "http://h/c%20d.png"]


@pytest.mark.parametrize(
    "text",
    [
        "<img src='data:image/png;base64,AAAA'>",
        "<noscript><img src=a></noscript>",
        "<template><img src=a></template>",
        "<!-- <img src=a> -->",
        "<script>'<img src=a>'</script>",
        "<link rel=canonical href=a><link rel='alternate stylesheet' href=a>",
        "<img src=''><img><img src='http://[bad'><img src='http://u:p@h/'><img src='http://h:99999/'>",
        "<script nomodule src=a></script>",
    ],
)
def test_what_a_browser_would_not_fetch(text: str) -> None:
    """Inert, unusable and foreign things are no parts of a page."""
    assert urls(text) == []


def test_style_sheets_and_scripts_come_first_and_media_last() -> None:
    """The order is the one that lets a page be drawn soonest."""
    text = "<video poster=p.jpg><source src=v.mp4></video><img src=i.png><script src=s.js></script>"
    text += "<link rel=stylesheet href=c.css>"
    assert [url.rpartition("/")[2] for url in urls(text)] == ["c.css", "s.js", "p.jpg", "i.png", "v.mp4"]


@pytest.mark.parametrize(
    "piece",
    ["<!", "<!--", "</", "<a x='", "<img src=", "<a ", "&#", "<script>", "<![CDATA[", "<img src=//[>", "\0", "<<"],
)
def test_rubbish_is_read_without_complaint(piece: str) -> None:
    """Half-open tags by the hundred thousand neither raise nor ask for anything."""
    assert urls(piece * (200_000 // len(piece))) == []


def test_a_page_is_read_up_to_a_limit() -> None:
    """A part named after the limit is not looked for."""
    assert urls(" " * MAX_HTML + "<img src=a>") == []
    assert urls(" " * (MAX_HTML - 20) + "<img src=a>") == ["http://h/d/a"]
