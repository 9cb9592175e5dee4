"""Make a first configuration file from a few answers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from sigprobe.config import Problem, parse
from sigprobe.config.problems import ConfigError
from sigprobe.files.atomic import write_whole
from sigprobe.words.i18n import _


@dataclass(frozen=True, slots=True)
class Answers:
    """What `init` asks. Empty or null: not given."""

    tps_id: str = ""
    site: str = ""
    collector: str = ""
    token_file: str = ""
    operator: str = ""
    lat: float | None = None
    lon: float | None = None
    language: str = ""


def render(answers: Answers) -> str:
    """The YAML text of a configuration; every value is quoted, so that YAML reads what was typed."""
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
    """What is wrong with these answers; with `keys`, only what concerns keys that end so."""
    try:
        parse(render(answers).encode("utf-8", "replace"), Path("init"), {})
    except ConfigError as error:
        problems = list(error.problems)
        return [p for p in problems if p.key.rpartition(".")[2] in keys] if keys else problems
    return []


def write(path: Path, text: str) -> None:
    """Write the file whole or not at all. Raises OSError."""
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    # the file holds no secret, and in a system install others must be able to read it
    write_whole(path, text, 0o644)


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
