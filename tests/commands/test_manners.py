"""The manners of the terminal, each held by what the real command line prints in both languages."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sigprobe.commands.support import exit_codes
from sigprobe.commands.verbs import INNER, VERBS
from sigprobe.words import i18n
from sigprobe.words.codes import CODES
from tests.commands.conftest import CLOSED, PING, Settings

Run = Callable[..., Any]

LANGUAGES = pytest.mark.parametrize("language", ["id", "en"])
BOXES = re.compile(r"[─-╿▀-▟✓✗×·±…–█]")
ROOT = Path(__file__).resolve().parents[2]
ALL = [*((name,) for name in VERBS), *(tuple(path.split()) for path in INNER)]


@LANGUAGES
def test_3_and_21_a_live_line_has_value_curve_and_countdown(language: str) -> None:
    """Each running step has its value and a small curve; below them stands the time that is left."""
    from sigprobe.render.console import Traits
    from sigprobe.render.live import Live

    with i18n.speaking(language):
        live = Live(look=Traits(80, False, False, False), seconds=30, quiet=True, clock=lambda: 100.0)
        live.started("center", "throughput")
        for value in (1.0e6, 50.0e6, 1_234.5e6):
            live.progress("center", "download", value, "bps", 0.5)
        step, countdown = live.lines()
    assert "Mbps" in step and "▁" in step and "█" in step and "50 %" in step
    assert len(step) < 80 and "30" in countdown


@LANGUAGES
def test_4_9_and_14_plain_has_no_symbols(language: str, settings: Settings, sigprobe: Run) -> None:
    """`--plain` prints one record a line in words; off a terminal nothing moves."""
    config = str(settings(PING, CLOSED))
    for words in (("test", "--no-upload"), ("status",), ("results",), ("doctor",), ("explain", "timeout")):
        done = sigprobe(*words, "--plain", "--lang", language, "--config", config)
        assert not BOXES.search(done.stdout), (words, done.stdout)
        assert "\x1b" not in done.stdout + done.stderr


@LANGUAGES
def test_5_and_22_the_answer_is_last(language: str, settings: Settings, sigprobe: Run) -> None:
    """At most twelve rows, then the verdict in capitals with the data used, then the next command."""
    config = str(settings(PING, CLOSED, *({**PING, "name": f"p{n}"} for n in range(14))))
    lines = sigprobe("test", "--no-upload", "--lang", language, "--config", config).stdout.splitlines()
    verdict = next(i for i, line in enumerate(lines) if line.startswith(("Hasil:", "Result:")))
    table = [
        line for line in lines[:verdict] if re.match(r"  \S", line) and re.search(r"[✓✗~!–]|sigprobe results", line)
    ]
    assert 2 <= len(table) <= 12
    assert re.search(r"[A-Z]{4}", lines[verdict]) and re.search(r"\d (B|kB|MB)", "".join(lines[verdict:]))
    assert lines[-1].startswith(("Berikutnya: sigprobe", "Next: sigprobe"))


@LANGUAGES
def test_6_causes_are_told_apart(language: str) -> None:
    """No signal, weak signal, no internet, DNS, the target, the collector: six sentences and six codes."""
    names = ("no_signal", "weak_signal", "no_internet", "name_not_found", "refused", "collector_unreachable")
    with i18n.speaking(language):
        sentences = {i18n._(CODES[name].sentence) for name in names}
    assert len(sentences) == len({CODES[name].screen for name in names}) == 6


def test_8_json_has_a_version_and_units(settings: Settings, sigprobe: Run) -> None:
    """One document with its version; every number that has a unit names it."""
    done = sigprobe("test", "--json", "--no-upload", "--config", str(settings(PING)))
    document = json.loads(done.stdout)
    assert document["schema"] == 1
    data = document["results"][0]["data"]
    assert {"rtt_median_ms", "jitter_ms", "loss_ratio"} <= set(data)


def test_10_exit_codes_are_documented() -> None:
    """Every code of the program stands in README's table."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    codes = [value for name, value in vars(exit_codes).items() if name.isupper()]
    assert len(codes) > 8, "the control: the codes were found"
    assert [code for code in codes if not re.search(rf"^\| {code} \|", text, re.MULTILINE)] == []


@LANGUAGES
def test_17_every_question_of_init_is_an_option(language: str, sigprobe: Run) -> None:
    """At most six questions, and each has an option."""
    told = sigprobe("init", "--help", "--lang", language).stdout
    flags = ("--tps", "--site", "--collector", "--token-file", "--operator", "--lat", "--lon", "--test", "--no-input")
    assert [flag for flag in flags if flag not in told] == []


@LANGUAGES
def test_18_doctor_has_one_fix_for_each_problem(language: str, settings: Settings, sigprobe: Run) -> None:
    """Below each warning and error stands one command."""
    done = sigprobe("doctor", "--lang", language, "--config", str(settings(PING, CLOSED)))
    lines = done.stdout.splitlines()
    problems = [line for line in lines if line.startswith(("!", "✗"))]
    fixes = [line for line in lines if line.strip().startswith("> ")]
    assert problems and len(problems) == len(fixes)


@LANGUAGES
def test_19_status_names_queue_upload_position_and_next_test(language: str, settings: Settings, sigprobe: Run) -> None:
    """The queue, the oldest, the last upload, the last position, the next test, and the next command."""
    config = str(settings(PING))
    assert sigprobe("test", "--no-upload", "--config", config).returncode == 0
    told = sigprobe("status", "--lang", language, "--config", config).stdout
    with i18n.speaking(language):
        labels = [
            i18n._(label)
            for label in ("Upload queue", "Oldest waiting", "Last upload", "Last position", "Next test", "Storage")
        ]
    assert [label for label in labels if f"\n{label} " not in f"\n{told}"] == []
    assert told.splitlines()[-1].startswith(("Berikutnya: sigprobe", "Next: sigprobe"))


@LANGUAGES
def test_23_every_code_says_what_and_what_to_do(language: str) -> None:
    """A sentence and an advice for each code, and neither is a library's own."""
    with i18n.speaking(language):
        for code in CODES.values():
            assert i18n._(code.sentence).strip() and i18n._(code.advice).strip(), code.code
            assert not re.search(r"Errno|Exception|Traceback", i18n._(code.sentence)), code.code


@LANGUAGES
@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_24_help_begins_with_examples(words: tuple[str, ...], language: str, sigprobe: Run) -> None:
    """One sentence, then examples, then the usage line, in both languages; no line is wider than 80 columns."""
    told = sigprobe(*words, "--help", "--lang", language).stdout
    example, usage = ("Contoh:", "Pemakaian:") if language == "id" else ("Examples:", "Usage:")
    assert 0 < told.index(example) < told.index(usage)
    assert f"sigprobe {' '.join(words[:1])}" in told[told.index(example) : told.index(usage)]
    assert [line for line in told.splitlines() if len(line) > 80] == []
