"""Keep the catalogues whole: `python tools/catalogues.py update` after changing messages, `check` in CI.

Sources are the package's Python files (`_`, `N_`, `ngettext`) and the collector's templates (`{% trans %}`, `_()`).
English is the language of the source, so its catalogue is filled by itself; Indonesian is written by hand.
"""

from __future__ import annotations

import ast
import re
import string
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "sigprobe"
LANGUAGES = ("en", "id")
OPTIONS = {"**/templates/**.*": {"silent": "false", "newstyle_gettext": "true"}}
# a date that changes with every run would make every update a change
DATED = datetime(2026, 11, 22, tzinfo=UTC)


def path_of(language: str) -> Path:
    """The source of a language's catalogue."""
    return PACKAGE / "words" / "locale" / language / "LC_MESSAGES" / "sigprobe.po"


Found = tuple[int, str, str | tuple[str | None, ...], list[str]]


def extract_python(file: BinaryIO, keywords: Iterable[str], comment_tags: object, options: object) -> Iterator[Found]:
    """Babel's interface for Python files, over the syntax tree: Babel's own method does not see into f-strings."""
    del comment_tags, options
    wanted = frozenset(keywords)
    for node in ast.walk(ast.parse(file.read())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in wanted and node.args:
            texts = [
                arg.value if isinstance(arg, ast.Constant) and isinstance(arg.value, str) else None for arg in node.args
            ]
            if any(texts):
                yield node.lineno, node.func.id, tuple(texts), []


def _methods() -> list[tuple[str, Any]]:
    return [("**.py", extract_python), ("**/templates/**.*", "jinja2.ext:babel_extract")]


def extract() -> Catalog:
    """Every message of the package, with the files it stands in."""
    template = new_catalogue(None)
    for filename, _line, message, comments, context in extract_from_dir(
        PACKAGE, _methods(), OPTIONS, keywords={**DEFAULT_KEYWORDS, "N_": None}, comment_tags=()
    ):
        # without line numbers, so that moving code does not touch the catalogues
        template.add(message, None, [(f"sigprobe/{filename}", 0)], auto_comments=comments, context=context)
    return template


def new_catalogue(language: str | None) -> Catalog:
    """An empty catalogue with our header."""
    catalogue = Catalog(
        locale=language,
        project="sigprobe",
        version="1",
        copyright_holder="The sigprobe authors",
        msgid_bugs_address="see CONTRIBUTING.md",
        last_translator="The sigprobe authors",
        language_team="The sigprobe authors",
        header_comment="# Messages of sigprobe; updated by tools/catalogues.py.",
        creation_date=DATED,
        revision_date=DATED,
        charset="utf-8",
        fuzzy=False,
    )
    if language == "id":
        # Indonesian has one form for any count; Babel's own table does not know it
        catalogue.mime_headers = [("Plural-Forms", "nplurals=1; plural=0;")]
    return catalogue


def read(language: str) -> Catalog:
    """The catalogue as it stands on disk; an empty one when there is none."""
    path = path_of(language)
    if not path.exists():
        return new_catalogue(language)
    with path.open("rb") as file:
        return read_po(file, locale=language, abort_invalid=True)


def update() -> None:
    """Bring both catalogues in line with the sources, keeping every translation that still applies."""
    template = extract()
    for language in LANGUAGES:
        old = read(language)
        fresh = new_catalogue(language)
        for message in template:
            if not message.id:
                continue
            known = old.get(message.id, message.context)
            translation = _english(message, fresh) if language == "en" else (known.string if known else None)
            files = sorted(dict.fromkeys(message.locations))
            fresh.add(
                message.id,
                translation,
                files,
                auto_comments=message.auto_comments,
                user_comments=known.user_comments if known else (),
                context=message.context,
            )
        path_of(language).parent.mkdir(parents=True, exist_ok=True)
        with path_of(language).open("wb") as file:
            write_po(file, fresh, width=110, sort_output=True, include_lineno=False)


def _english(message: Message, catalogue: Catalog) -> str | tuple[str, ...]:
    if isinstance(message.id, str):
        return message.id
    one, many = message.id
    return (one, *[many] * (catalogue.num_plurals - 1))


def check() -> list[str]:
    """What is wrong, one line each; empty when both catalogues are whole."""
    template = extract()
    wanted = {(m.id, m.context) for m in template if m.id}
    faults = []
    for language in LANGUAGES:
        catalogue = read(language)
        have = {(m.id, m.context): m for m in catalogue if m.id}
        faults += [f"{language}: missing: {key[0]!r}" for key in sorted(wanted - set(have), key=str)]
        faults += [f"{language}: obsolete: {key[0]!r}" for key in sorted(set(have) - wanted, key=str)]
        faults += [f"{language}: obsolete: {key!r}" for key in catalogue.obsolete]
        for key in sorted(wanted & set(have), key=str):
            faults += [f"{language}: {fault}: {key[0]!r}" for fault in _faults(have[key], catalogue.num_plurals)]
            if language == "en" and have[key].string != _english(have[key], catalogue):
                faults.append(f"en: differs from the source: {key[0]!r}")
    return faults


def _faults(message: Message, plurals: int) -> Iterator[str]:
    source = message.id if isinstance(message.id, str) else message.id[-1]
    strings = [message.string] if isinstance(message.string, str) else list(message.string or [""])
    if message.fuzzy:
        yield "fuzzy"
    if not all(strings):
        yield "not translated"
        return
    if not isinstance(message.id, str) and len(strings) != plurals:
        yield f"wants {plurals} forms"
    for text in strings:
        one_of_many = not isinstance(message.id, str) and len(strings) > 1 and text is strings[0]
        if not one_of_many and fields(text) != fields(source):
            yield "other placeholders"
        if literals(text) != literals(source) and not one_of_many:
            yield "other commands or options"


def fields(text: str) -> set[str]:
    """The placeholders of a message, in either style: `{name}` and `%(name)s`."""
    try:
        braces = {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}
    except ValueError:
        braces = set()  # a lone brace: no format string
    return braces | set(re.findall(r"%\(\w+\)[sd]", text))


COMMANDS = (
    "agent|collector (?:serve|token|import)|config|doctor|drive|explain|export|import|init|nearest|ready|report|"
    "results|schedule|share|status|test|upload"
)


def literals(text: str) -> set[str]:
    """What must stand unchanged in every language: commands with their verb, and options."""
    return set(re.findall(rf"\bsigprobe (?:{COMMANDS})\b|(?<![\w-])--[a-z][a-z-]+", text))


def main(arguments: list[str]) -> int:
    """Run `update` or `check`; 1 when a catalogue is not whole, 2 for any other word."""
    if arguments == ["update"]:
        update()
        return 0
    if arguments == ["check"]:
        faults = check()
        for fault in faults:
            print(fault, file=sys.stderr)
        return 1 if faults else 0
    print("usage: python tools/catalogues.py update|check", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
