"""Build a page in a single file: style inside, no script, no requests. Records are untrusted and are escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from sigprobe.render import words
from sigprobe.words.i18n import language

STYLE: Final = """
body{font:16px/1.5 system-ui,sans-serif;margin:0;color:#1c262b;background:#fff}main{max-width:800px;margin:0 auto;
padding:1rem}h1{font-size:1.5rem;margin:.2rem 0}h2{font-size:1.1rem;margin:1.6rem 0 .4rem;border-bottom:1px solid #ccd}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.25rem .6rem .25rem 0;vertical-align:top;
border-bottom:1px solid #e6eaec}.verdict{border-left:6px solid #17475c;background:#eef3f5;padding:.6rem 1rem}
.verdict b{font-size:1.2rem}code{font-size:.85rem;word-break:break-all}svg{width:100%;height:auto;background:#e3eef4}
.land{fill:#f5f2e8;stroke:#a8a188}.way{fill:none;stroke:#17475c;stroke-width:2}.spot{fill:#17475c;stroke:#fff}
.good{fill:#1a7f4b}.fair{fill:#b58900}.poor{fill:#cb6a16}.bad{fill:#b3261e}@media print{h2{break-after:avoid}}
"""


def page(title: str, body: str, style: str = "") -> str:
    """Return the whole file. `body` is HTML, `title` text; `style` is added to the common one."""
    return (
        f'<!doctype html>\n<html lang="{language()}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        # nothing may be fetched or executed, whatever a record holds
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{safe(title)}</title><style>{STYLE}{style}</style></head><body><main>{body}</main></body></html>\n"
    )


def safe(told: str) -> str:
    """Return text as HTML, without control characters."""
    return escape(words.clean(told))


def section(title: str, content: str) -> str:
    """Return a heading and its content; empty without content."""
    return f"<h2>{safe(title)}</h2>{content}" if content else ""


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Return rows of text under their headers; empty without rows."""
    top = "".join(f"<th>{safe(cell)}</th>" for cell in head)
    lines = "".join("<tr>" + "".join(f"<td>{safe(cell)}</td>" for cell in row) + "</tr>" for row in body)
    return f"<table><tr>{top}</tr>{lines}</table>" if body else ""


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Return names with their values; those without a value are left out."""
    lines = "".join(f"<tr><th>{safe(name)}</th><td>{safe(value)}</td></tr>" for name, value in pairs if value)
    return f"<table>{lines}</table>" if lines else ""
