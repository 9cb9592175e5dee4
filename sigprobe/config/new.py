"""Create a first configuration file from a few answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sigprobe.config import Problem, parse
from sigprobe.config.problems import ConfigError, shown
from sigprobe.files.atomic import write_whole
from sigprobe.files.tokens import looks_like_token
from sigprobe.places.position_messages import position_doubt
from sigprobe.places.position_slips import slip
from sigprobe.places.tps_messages import site_doubt
from sigprobe.words.i18n import _


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers to the questions of `init`. Empty or null: not given."""

    tps_id: str = ""
    site: str = ""
    collector: str = ""
    token_file: str = ""
    operator: str = ""
    lat: float | None = None
    lon: float | None = None
    language: str = ""


def render(answers: Answers) -> str:
    """Return the YAML text of a configuration; every value is quoted, so that YAML reads what was typed."""
    quote = _quote
    lines = [f"# {_('Settings of sigprobe. To check this file after a change: sigprobe config check')}"]
    if answers.language:
        lines += [f"language: {answers.language}"]
    lines += ["probe:"]
    lines += [f"  tps_id: {quote(answers.tps_id)}"] if answers.tps_id else []
    lines += [f"  site: {quote(answers.site)}"] if answers.site else []
    lines += [f"  operator: {quote(answers.operator)}"] if answers.operator else []
    if answers.lat is not None or answers.lon is not None:
        position = {"lat": answers.lat, "lon": answers.lon}
        fixed = ", ".join(f"{name}: {value!r}" for name, value in position.items() if value is not None)
        lines += ["location:", f"  fixed: {{{fixed}}}"]
    lines += [
        "targets:",
        "  - {kind: ping, name: gateway, address: default-gateway}",
        "  - {kind: dns, name: kpu, hostname: kpu.go.id}",
        '  - {kind: http, name: sirekap, url: "https://sirekap-web.kpu.go.id/"}',
    ]
    if answers.collector:
        lines += [
            f"  - {{kind: throughput, name: center, engine: http, url: {quote(answers.collector)}}}",
        ]
    lines += ['verdict: {references: ["1.1.1.1", "9.9.9.9"]}']
    if answers.collector:
        lines += ["upload:", "  collectors:", f"    - url: {quote(answers.collector)}"]
        if answers.token_file:
            lines += [f"      token_file: {quote(answers.token_file)}"]
    return "\n".join(lines) + "\n"


def faults(answers: Answers, *, keys: tuple[str, ...] = ()) -> list[Problem]:
    """Return what is wrong with these answers; with `keys`, only what concerns keys that end so."""
    try:
        parse(render(answers).encode("utf-8", "replace"), Path("init"), {})
        problems = []
    except ConfigError as error:
        problems = list(error.problems)
    problems += _slips(answers, {problem.key for problem in problems})
    return [p for p in problems if p.key.rpartition(".")[2] in keys] if keys else problems


def _slips(answers: Answers, said: set[str]) -> Iterator[Problem]:
    """Return likely typing errors in allowed values: a TPS number as site, a secret, a missing sign."""
    site = site_doubt(answers.site)
    if site and "probe.site" not in said:
        yield Problem("init", None, None, "probe.site", site)
    given = {"site": answers.site, "operator": answers.operator, "url": answers.collector, "tps_id": answers.tps_id}
    for name, text in given.items():
        if looks_like_token(text.strip("/")):
            message = _("this looks like a token, which does not belong here.")
            yield Problem("init", None, None, f"probe.{name}", message)
        elif name in ("site", "operator") and re.match(r"~?/|\.{1,2}/|[A-Za-z]:\\|[A-Za-z]+://", text):
            message = _("{value} is a path or a web address, which does not belong here.")
            yield Problem("init", None, None, f"probe.{name}", message.format(value=shown(text)))
    if answers.lat is not None and answers.lon is not None and not said & {"location.fixed.lat", "location.fixed.lon"}:
        tps_id = answers.tps_id if re.fullmatch("[0-9]{13}", answers.tps_id) else None
        if tps_id is not None and slip(answers.lat, answers.lon, tps_id) is not None:
            message = position_doubt(answers.lat, answers.lon, tps_id)
            yield Problem("init", None, None, "location.fixed.lat", message)


def write(path: Path, text: str) -> None:
    """Write the file atomically. Raises OSError."""
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    # the file holds no secret, and in a system install others must be able to read it
    write_whole(path, text, 0o644)


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
