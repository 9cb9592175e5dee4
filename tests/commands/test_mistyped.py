"""What is said about a mistyped command line: what happened, the possible values, and where help is."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sigprobe.record import kinds
from sigprobe.render.words import columns, fold
from sigprobe.words.similar import similar
from tests.commands.conftest import Settings

Run = Callable[..., Any]


@pytest.mark.parametrize("language", ["id", "en"])
@pytest.mark.parametrize("name", [*kinds.KINDS, "run", "PATH", "kind: ping"])
def test_kinds_are_explained(name: str, language: str, sigprobe: Run) -> None:
    """What `results` and the settings call a kind can be asked for, in both languages."""
    done = sigprobe("explain", name, "--lang", language)
    assert done.returncode == 0 and done.stderr == ""
    assert "{" not in done.stdout.replace("{kind:", "") and all(len(line) <= 80 for line in done.stdout.splitlines())


@pytest.mark.parametrize("language", ["id", "en"])
def test_the_list_of_codes_names_the_thing(language: str, sigprobe: Run) -> None:
    """A sentence about a file or a list does not speak of a target."""
    text = sigprobe("explain", "--lang", language).stdout
    lines = [line for line in text.splitlines() if re.match("SP-(FIL|LST)", line)]
    thing = {"id": ("berkas ini", "daftar ini"), "en": ("this file", "this list")}[language]
    wrong = {"id": "ujuan uji", "en": "he target"}[language]
    assert sum(word in line.lower() for line in lines for word in thing) >= 8
    assert not [line for line in lines if wrong in line]
    assert "…" not in sigprobe("explain", "SP-LST-02", "--lang", language).stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("test", "--only"), "--only needs a value. Choose from: device, path, ping"),
        (("results", "--state"), "Choose from: pending, acked, rejected, carried, damaged"),
        (("collector", "serve", "--log-format"), "Choose from: text, json"),
        (("drive", "--every"), "--every needs a value (S): Seconds between points."),
        (("test", "--json=1"), "--json takes no value."),
    ],
)
def test_a_missing_value(words: tuple[str, ...], said: str, settings: Settings, sigprobe: Run) -> None:
    """An option without its value names the possible ones, and points to the help of that command."""
    done = sigprobe(*words, "--lang", "en", env={"SIGPROBE_CONFIG": str(settings())})
    assert done.returncode == 2
    assert said in done.stderr
    command = " ".join(word for word in words if not word.startswith("-"))
    assert done.stderr.endswith(f"For help, run: sigprobe {command} --help\n")


@pytest.mark.parametrize(
    ("word", "names", "wanted"),
    [
        ("--bar", ["--lat", "--lon", "--tps"], []),
        ("--onyl", ["--only", "--operator"], ["--only"]),
        ("stauts", ["status", "test"], ["status"]),
        ("path", ["healthy", "SP-NET-01"], []),
        ("GPS", ["auto", "gpsd"], ["gpsd"]),
    ],
)
def test_near_misses_are_near(word: str, names: list[str], wanted: list[str]) -> None:
    assert similar(word, names) == wanted


def test_an_option_like_none_has_no_suggestion(sigprobe: Run) -> None:
    done = sigprobe("test", "--bar", "--lang", "en")
    assert done.stderr == "There is no option --bar.\nFor help, run: sigprobe test --help\n"
    assert "Did you mean --only?" in sigprobe("test", "--onyl", "x", "--lang", "en").stderr, "the control"


def test_missing_settings_begin_with_what_happened(tmp_path: Path, sigprobe: Run) -> None:
    """The sentence and the next command first; the path follows. A file named by --config is created by that name."""
    env = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "c"), "SIGPROBE_CONFIG": ""}
    done = sigprobe("status", "--lang", "en", "--config", str(tmp_path / "my file.yaml"), env=env)
    first, second = done.stderr.splitlines()
    assert first == f"There is no settings file yet. Run: sigprobe init --config '{tmp_path}/my file.yaml' [SP-CFG-01]"
    assert second == f"{tmp_path}/my file.yaml: this file does not exist."


@pytest.mark.parametrize("operator", ["/tmp/token", "~/token", "./token", "https://collector.example/", "C:\\token"])
def test_a_path_is_not_an_operator(operator: str, tmp_path: Path, sigprobe: Run) -> None:
    """An answer to another question is refused where a name is asked for."""
    wanted = ("init", "--no-input", "--config", str(tmp_path / "c.yaml"), "--lang", "en")
    done = sigprobe(*wanted, "--site", "Gudang KPU/Logistik", "--operator", operator)
    assert done.returncode == 2 and "--operator: " in done.stderr and "does not belong here" in done.stderr
    assert sigprobe(*wanted, "--site", operator).returncode == 2
    assert sigprobe(*wanted, "--site", "Gudang KPU/Logistik", "--operator", "XL").returncode == 0, "the control"


def test_an_address_without_its_scheme(tmp_path: Path, sigprobe: Run) -> None:
    """One sentence, with the address that was meant."""
    done = sigprobe(
        *("init", "--no-input", "--site", "x", "--config", str(tmp_path / "c.yaml"), "--lang", "en"),
        *("--collector", "127.0.0.1:18470/"),
    )
    assert done.stderr == (
        'sigprobe init: --collector: "127.0.0.1:18470/" is not a web address. Did you mean "http://127.0.0.1:18470/"?\n'
    )


def test_messages_are_wrapped_at_words() -> None:
    """No line of prose is wider than the terminal; a path stays whole, and indentation is kept."""
    path = "/home/petugas/" + "x" * 60
    text = fold(f"  This device has no queue at {path} and cannot upload anything from here.\nshort", 40)
    lines = text.splitlines()
    assert all(columns(line) <= 40 for line in lines if path not in line)
    assert any(line.strip() == path for line in lines) and lines[-1] == "short"
    assert all(line.startswith("  ") for line in lines[:-1])


def test_the_next_command_can_work(settings: Settings, sigprobe: Run) -> None:
    """Without a collector in the settings a test does not advise an upload, also after --no-upload."""
    done = sigprobe("test", "--no-upload", "--lang", "en", "--config", str(settings()))
    assert done.stdout.endswith("Next: sigprobe explain SP-SYN-07\n")
    collector = {"collectors": [{"url": "http://127.0.0.1:9/"}]}
    done = sigprobe("test", "--no-upload", "--lang", "en", "--config", str(settings(upload=collector)))
    assert done.stdout.endswith("Next: sigprobe upload\n"), "the control"
