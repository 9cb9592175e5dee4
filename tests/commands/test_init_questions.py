"""`init` at a terminal: near misses are asked again, secrets go into a private file, nothing wrong is written."""

from __future__ import annotations

import io
import secrets
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from sigprobe import cli

TPS = "3273011001005"
TOKEN = "sigprobe-probe-" + secrets.token_urlsafe(32)
URL = "https://collector.example/"


class Keyboard(io.StringIO):
    """A terminal at which these lines are typed."""

    def isatty(self) -> bool:
        return True


@dataclass
class Asked:
    """What came of `init`: exit code, the file (None when there is none), and everything on the screen."""

    code: int
    settings: dict[str, dict[str, object]] | None
    screen: str
    path: Path


Ask = Callable[..., Asked]


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Run `init` in English with typed lines; the flags follow."""

    def run(*lines: str, flags: tuple[str, ...] = ()) -> Asked:
        path = tmp_path / "s" / "config.yaml"
        monkeypatch.setattr(sys, "stdin", Keyboard("".join(f"{line}\n" for line in lines)))
        screen = io.StringIO()
        code = cli.run(["--lang", "en", "init", *flags, "--config", str(path)], out=screen, err=screen)
        found = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None
        return Asked(code, found, screen.getvalue(), path)

    return run


@pytest.mark.parametrize(
    "typed",
    ["3273011001O05", "3273O1lOO1O05", "TPS 3273011001005", "\uff13\uff12\uff17\uff13011001005", "32730110010055"],
)
def test_a_near_miss_is_asked_about_and_never_a_site(ask: Ask, typed: str) -> None:
    done = ask(typed, TPS, "", "", "", "n")
    assert done.code == 0, done.screen
    assert done.settings is not None and done.settings["probe"] == {"tps_id": TPS}
    assert "is not a TPS number" in done.screen


def test_what_was_meant_is_taken_by_enter(ask: Ask) -> None:
    done = ask("3273011001O05", "", "", "", "", "n")
    assert done.settings is not None and done.settings["probe"] == {"tps_id": TPS}
    assert f"Use {TPS}?" in done.screen


def test_a_name_is_still_a_site(ask: Ask) -> None:
    done = ask("posko 3 kpu-bandung", "", "", "", "n")
    assert done.settings is not None and done.settings["probe"] == {"site": "posko 3 kpu-bandung"}


def test_the_number_is_read_back_before_anything_is_written(ask: Ask) -> None:
    done = ask("3273.01.1001.005", "", "", "", "n")
    assert done.screen.index(f"TPS {TPS}:") < done.screen.index("Settings saved")
    assert "Bandung" in done.screen


@pytest.mark.parametrize("typed", ["6.91474, 107.60981", "-6.91474, -107.60981", "107.60981, -6.91474", "107.6 6.9"])
def test_a_forgotten_sign_is_caught_at_the_question(ask: Ask, typed: str) -> None:
    done = ask(TPS, "", "", typed, "", "n")
    assert done.code == 0, done.screen
    assert done.settings is not None
    fixed = done.settings["location"]["fixed"]
    assert isinstance(fixed, dict)
    assert (round(fixed["lat"], 1), round(fixed["lon"], 1)) == (-6.9, 107.6)
    assert "position" in done.screen and "Check the TPS number" not in done.screen


def test_a_position_abroad_may_be_kept_for_a_site(ask: Ask) -> None:
    """An office in Davao lies where a place of Sulawesi would lie with the other sign."""
    done = ask("kjri-davao", "", "", "5.5 125.6", "n")
    assert done.settings is not None
    kept = ask("kjri-davao", "", "", "7.07 125.6", "n", "n", flags=("--force",))
    assert kept.settings is not None and kept.settings["location"]["fixed"] == {"lat": 7.07, "lon": 125.6}


def test_a_pasted_token_goes_into_a_private_file(ask: Ask) -> None:
    done = ask(TPS, URL, TOKEN, "", "", "n")
    assert done.code == 0, done.screen
    assert TOKEN not in done.screen and TOKEN not in done.path.read_text(encoding="utf-8")
    token = done.path.with_name("token")
    assert token.read_text(encoding="ascii").strip() == TOKEN
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert str(token) in done.path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "pasted",
    [
        "Bearer {token}",
        "Token: {token}",
        "Authorization: Bearer {token}",
        "<{token}>",
        "{token} (probe laptop-1)",
        "SIGPROBE_TOKEN={token}",
        "'{token}',",
    ],
)
def test_a_token_is_found_in_what_was_copied_with_it(ask: Ask, pasted: str) -> None:
    """The token alone goes into its private file; nothing of it is on the screen or in the settings."""
    token = "sigprobe-probe-" + "Ab1" * 14 + "z"
    done = ask(TPS, URL, pasted.format(token=token), "", "", "n")
    assert done.code == 0, done.screen
    assert token not in done.screen and token not in done.path.read_text(encoding="utf-8")
    assert done.path.with_name("token").read_text(encoding="ascii") == token + "\n"


def test_a_pasted_token_never_replaces_a_file(ask: Ask) -> None:
    ask(TPS, URL, TOKEN, "", "", "n")
    other = "sigprobe-probe-" + "Ab1" * 14
    done = ask(TPS, URL, "Bearer " + other, "", "", "n", flags=("--force",))
    assert done.code == 0, done.screen
    assert done.path.with_name("token").read_text(encoding="ascii").strip() == TOKEN
    assert other not in done.screen + done.path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "lines", [(TOKEN, TPS, "", "", "", "n"), (TPS, TOKEN, "", "", "", "n"), (TPS, "", TOKEN, "", "", "n")]
)
def test_a_token_at_another_question_is_refused_and_not_shown(ask: Ask, lines: tuple[str, ...]) -> None:
    done = ask(*lines)
    assert TOKEN not in done.screen
    assert done.settings is None or TOKEN not in done.path.read_text(encoding="utf-8")


def test_a_missing_token_file_is_said_at_once(ask: Ask) -> None:
    done = ask(TPS, URL, "", "", "", "n")
    assert "does not exist" in done.screen and str(done.path.with_name("token")) in done.screen


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--tps", "3273011001O05"), "Did you mean 3273011001005"),
        (("--site", "3273011001O05"), "Did you mean 3273011001005"),
        (("--tps", TPS, "--lat", "6.9", "--lon", "107.6"), "Did you mean -6.9, 107.6?"),
        (("--tps", TPS, "--lat", "107.6", "--lon", "-6.9"), "Did you mean -6.9, 107.6?"),
        (("--tps", TPS, "--collector", URL, "--token-file", TOKEN), "the secret itself"),
        (("--site", TOKEN), "looks like a token"),
    ],
)
def test_flags_are_held_to_the_same(ask: Ask, flags: tuple[str, ...], said: str) -> None:
    done = ask(flags=("--no-input", *flags))
    assert (done.code, done.settings) == (2, None)
    assert said in done.screen
    assert TOKEN not in done.screen


def test_settings_hide_a_secret_and_say_where_it_belongs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.yaml"
    for value in (TOKEN, f"/etc/sigprobe/{TOKEN}"):
        path.write_text(
            f"probe: {{site: x}}\ntargets: [{{kind: ping, name: lo, address: 127.0.0.1}}]\n"
            f'upload: {{collectors: [{{url: "{URL}", token_file: "{value}"}}]}}\n',
            encoding="utf-8",
        )
        for command in (["config", "check"], ["config", "show"], ["status"], ["doctor", "--json"]):
            assert cli.run(["--lang", "en", *command, "--config", str(path)]) == 2
            said = capsys.readouterr()
            assert "secret itself" in said.err
            assert TOKEN not in said.out + said.err


def test_a_secret_as_the_name_of_the_settings_is_hidden(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SIGPROBE_CONFIG", TOKEN)
    assert cli.run(["--lang", "en", "status"]) == 2
    assert TOKEN not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('probe: {site: "3273011001O05"}', "Did you mean 3273011001005"),
        (f'probe: {{tps_id: "{TPS}"}}\nlocation: {{fixed: {{lat: 6.9, lon: 107.6}}}}', "Did you mean -6.9, 107.6?"),
        (f'probe: {{tps_id: "{TPS}"}}\nlocation: {{fixed: {{lat: 107.6, lon: -6.9}}}}', "Did you mean -6.9, 107.6?"),
    ],
)
def test_settings_are_held_to_the_same(
    line: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"{line}\ntargets: [{{kind: ping, name: lo, address: 127.0.0.1}}]\n", encoding="utf-8")
    cli.run(["--lang", "en", "config", "check", "--config", str(path)])
    err = capsys.readouterr().err
    assert (said in err and ":1:" in err) or ":2:" in err


@pytest.mark.parametrize("command", ["test --no-upload", "nearest"])
def test_typed_positions_are_held_to_the_same(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        f'probe: {{tps_id: "{TPS}"}}\ntargets: [{{kind: ping, name: lo, address: 127.0.0.1}}]\n'
        f"buffer: {{path: {tmp_path}/q/b.db}}\n",
        encoding="utf-8",
    )
    words = ["--lang", "en", *command.split(), "--lat", "107.6", "--lon", "-6.9", "--config", str(path)]
    assert cli.run(words) == 2
    assert "Did you mean -6.9, 107.6?" in capsys.readouterr().err
