"""Odd values on the command line: each gets its cause and what to do, and nothing is destroyed."""

from __future__ import annotations

import os
import re
import shlex
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sigprobe.commands.support import sentences
from sigprobe.files.atomic import write_whole
from sigprobe.files.tokens import TokenError, read_token
from sigprobe.words.i18n import speaking
from tests.commands.conftest import PING, Settings

Run = Callable[..., Any]


@pytest.fixture
def measured(settings: Settings, sigprobe: Run) -> str:
    """Settings with one stored run."""
    config = str(settings(PING))
    assert sigprobe("test", "--no-upload", "--only", "device", "--config", config).returncode == 0
    return config


@pytest.mark.parametrize(
    "words",
    [
        ("status", "--config", ""),
        ("import", ""),
        ("export", " "),
        ("export", "--receipts", ""),
        ("report", "--out", ""),
        ("report", "--run", ""),
        ("test", "--only", ""),
        ("test", "--tps", ""),
        ("test", "--max-data", ""),
        ("drive", "--for", ""),
        ("nearest", "--import", ""),
        ("status", "--coverage", "--list", ""),
        ("init", "--no-input", "--site", ""),
        ("ready", "--to", ""),
        ("explain", ""),
        ("collector", "backup", ""),
        ("collector", "token", "create", "--probe", ""),
        ("collector", "serve", "--tls-cert", ""),
        ("nearest", "--lat", ""),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("language", ["id", "en"])
def test_an_empty_value_is_named(words: tuple[str, ...], language: str, sigprobe: Run) -> None:
    """An unset variable of a script is no value: the option is named, and no path becomes this directory."""
    done = sigprobe(*words, "--lang", language)
    option = next((word for word in reversed(words) if word.startswith("--")), "")
    assert (done.returncode, done.stdout) == (2, "")
    assert option in done.stderr and "--help" in done.stderr and len(done.stderr.splitlines()) == 2


def test_an_empty_operator_is_a_value(measured: str, sigprobe: Run) -> None:
    """The control: it says that no operator is known."""
    assert sigprobe("test", "--no-upload", "--only", "device", "--operator", "", "--config", measured).returncode == 0


def test_a_decimal_comma_is_read(measured: str, sigprobe: Run) -> None:
    """An Indonesian types -6,9; the position is read back."""
    done = sigprobe("nearest", "--lat", "-6,91474", "--lon=107,60981", "--lang", "id", "--config", measured)
    assert done.returncode == 0 and "-6,91474 107,60981" in done.stdout
    wrong = sigprobe("nearest", "--lat", "6,9,1", "--lon", "107", "--config", measured)
    assert wrong.returncode == 2 and "--lat" in wrong.stderr, "the control"


@pytest.mark.parametrize(
    ("number", "told"),
    [
        ("9999999999999", "digits 1–2 are not a valid province code"),
        ("123", "a TPS number has 13 digits"),
        ("3.27301E+12", "a spreadsheet has shortened"),
        ("3273011001O05", "has only digits. Did you mean 3273011001005"),
        ("3273011001000", "the last three digits cannot be 000"),
    ],
)
def test_the_fault_of_a_tps_number_is_the_real_one(number: str, told: str, measured: str, sigprobe: Run) -> None:
    """`test`, `drive` and `init` give the same reason."""
    for command in (("test", "--only", "device"), ("drive", "--points", "1"), ("init", "--no-input", "--force")):
        done = sigprobe(*command, "--tps", number, "--lang", "en", "--config", measured)
        assert done.returncode == 2 and told in done.stderr, (command, done.stderr)


@pytest.mark.parametrize("make", ["device", "pipe", "folder"])
def test_only_a_file_is_replaced(make: str, tmp_path: Path) -> None:
    """With --force as root a device or a pipe could be replaced by a file."""
    place = tmp_path / "place"
    if make == "folder":
        place.mkdir()
    elif make == "pipe":
        os.mkfifo(place)
    else:
        place.symlink_to(os.devnull)
    before = os.stat(place).st_mode
    with pytest.raises(OSError, match=r"regular file|Is a directory|directory"):
        write_whole(place, "text", 0o600)
    assert os.stat(place).st_mode == before and sorted(path.name for path in tmp_path.iterdir()) == ["home", "place"]
    file = tmp_path / "file"
    file.write_text("old")
    write_whole(file, "new", 0o600)
    assert file.read_text() == "new" and stat.S_IMODE(file.stat().st_mode) == 0o600, "the control"


def test_commands_do_not_replace_a_device(measured: str, tmp_path: Path, sigprobe: Run) -> None:
    """`init`, `export` and `report` refuse it with words, whatever --force says."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for words in (
        ("init", "--no-input", "--site", "x", "--config", str(pipe)),
        ("export", str(pipe), "--config", measured),
        ("report", "--out", str(pipe), "--config", measured),
    ):
        done = sigprobe(*words, "--force", "--lang", "en")
        assert done.returncode in (1, 2) and str(pipe) in done.stderr and "Errno" not in done.stderr, done.stderr
        assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_report_goes_into_a_folder(measured: str, tmp_path: Path, sigprobe: Run) -> None:
    """`--out /media/stick` is enough; a folder that is not there is named, with what to do."""
    folder = tmp_path / "USB STICK"
    folder.mkdir()
    assert sigprobe("report", "--out", str(folder), "--config", measured).returncode == 0
    assert sorted(path.suffix for path in folder.iterdir()) == [".html", ".json"]
    done = sigprobe("report", "--out", str(tmp_path / "gone" / "x.html"), "--lang", "en", "--config", measured)
    assert done.returncode == 1 and "gone/x.html" in done.stderr and "--out" in done.stderr


def test_a_suggested_command_works_for_a_path_with_blanks(measured: str, tmp_path: Path, sigprobe: Run) -> None:
    """A stick may be called USB STICK: the command to type next is quoted."""
    stick = tmp_path / "USB STICK"
    stick.mkdir()
    done = sigprobe("export", str(stick / "r.gz"), "--lang", "en", "--config", measured)
    command = done.stderr.strip().partition("laptop: ")[2]
    assert shlex.split(command) == ["sigprobe", "import", str(stick / "r.gz")]
    lax = stick / "to ken"
    lax.write_text("secret")
    lax.chmod(0o644)
    with pytest.raises(TokenError) as error:
        read_token(str(lax), {})
    told = sentences.token_sentence(error.value.reason, error.value.path)
    assert shlex.split(told.partition("Run: ")[2]) == ["chmod", "600", str(lax)]


def test_a_directory_is_no_token_file(tmp_path: Path) -> None:
    """It is called a directory, not a file without permission."""
    with pytest.raises(TokenError) as error:
        read_token(str(tmp_path), {})
    assert error.value.reason == "directory"
    with speaking("id"):
        assert "adalah direktori" in sentences.token_sentence("directory", str(tmp_path))


@pytest.mark.parametrize("language", ["id", "en"])
def test_settings_that_are_no_file(language: str, tmp_path: Path, sigprobe: Run) -> None:
    """The advice speaks of lines only where lines are named."""
    for place in (tmp_path, Path("/dev/null")):
        done = sigprobe("status", "--lang", language, "--config", str(place))
        assert done.returncode == 2 and "--config" in done.stderr and not re.search(r"\b(lines|baris)\b", done.stderr)
    broken = tmp_path / "c.yaml"
    broken.write_text("probe: [")
    done = sigprobe("status", "--lang", language, "--config", str(broken))
    assert re.search(r"\b(lines|baris)\b", done.stderr), "the control"


def test_an_error_does_not_control_the_terminal(sigprobe: Run) -> None:
    """What a command line contains is shown, not obeyed."""
    done = sigprobe("explain", "\x1b[31mred\x07")
    assert done.returncode == 2 and "\x1b" not in done.stderr and "\x07" not in done.stderr


def test_numbers_have_bounds(measured: str, sigprobe: Run) -> None:
    """A drive of a billion years, and a latitude that lost no decimal point."""
    done = sigprobe("drive", "--for", "99999999999h", "--lang", "en", "--config", measured)
    assert done.returncode == 2 and "7 days" in done.stderr
    done = sigprobe("nearest", "--lat", "91", "--lon", "107", "--lang", "en", "--config", measured)
    assert done.returncode == 2 and "Did you mean" not in done.stderr
    done = sigprobe("nearest", "--lat", "-691474", "--lon", "10760981", "--lang", "en", "--config", measured)
    assert done.returncode == 2 and "-6.91474, 107.60981" in done.stderr, "the control"
