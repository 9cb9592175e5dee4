"""Every mistake gets its own sentence, at its own line and column."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sigprobe.config import Config, ConfigError, load, parse, report
from sigprobe.words import i18n
from tests.config.bad_files import BAD, BASE


@pytest.mark.parametrize("name", BAD)
def test_bad_file(name: str, tmp_path: Path) -> None:
    """A bad file gets exactly these lines: no mistake is lost, none is invented, each is where it stands."""
    content, lines = BAD[name]
    path = tmp_path / "bad.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    assert caught.value.render().replace(str(path), "PATH").splitlines() == lines


def test_the_report_ends_with_a_code(tmp_path: Path) -> None:
    """Under the mistakes stands the one sentence with its code and the way on."""
    path = tmp_path / "bad.yaml"
    path.write_text("")
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    assert report(caught.value).splitlines()[-1].endswith("[SP-CFG-02]")


def test_a_growing_reference_is_bounded(tmp_path: Path) -> None:
    """Nine levels of ten references each would be a billion values; it ends at once with a sentence."""
    levels = "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))
    with pytest.raises(ConfigError) as caught:
        parse((BASE + levels).encode(), tmp_path / "bomb.yaml", {})
    assert "references (& and *) that grow endlessly." in caught.value.render()


def test_no_english_of_the_library(tmp_path: Path) -> None:
    """Every sentence goes through the catalogue: none of pydantic's own words is left on the screen."""
    for content, _lines in BAD.values():
        raw = content if isinstance(content, bytes) else content.encode()
        with pytest.raises(ConfigError) as caught:
            parse(raw, tmp_path / "x.yaml", {})
        text = caught.value.render()
        assert "Input should" not in text
        assert "permitted" not in text


def test_the_sentences_are_translated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The language is the one in use when the file is read, not when the program was started."""
    monkeypatch.setattr(i18n, "_current", _Marked())
    for name, (content, _lines) in BAD.items():
        with pytest.raises(ConfigError) as caught:
            parse(content if isinstance(content, bytes) else content.encode(), tmp_path / "x.yaml", {})
        assert all(problem.message.startswith("¤") for problem in caught.value.problems), name


class _Emptied(i18n.gettext.NullTranslations):
    """A language of which only the fields of each message remain."""

    def gettext(self, message: str) -> str:
        return " ".join(re.findall(r"\{[a-z_]+\}", message))


_WORD = re.compile(r"[A-Za-z]{3,}")
_OURS = {"config", "yaml", "init", "tps_id", *_WORD.findall(str(Config.model_json_schema()))}
_EXAMPLES = set(
    _WORD.findall(
        "buffer var lib etc token ttyUSB0 dev kpu kota bandung Kota Bandung tps 127.0.0.1 sirekap false true null"
    )
)


@pytest.mark.parametrize("name", BAD)
def test_no_english_tail(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the catalogue's own words, a message holds only what is in the file, the keys and the examples."""
    content, _lines = BAD[name]
    raw = content if isinstance(content, bytes) else content.encode()
    monkeypatch.setattr(i18n, "_current", _Emptied())
    with pytest.raises(ConfigError) as caught:
        parse(raw, tmp_path / "x.yaml", {})
    said = {word for p in caught.value.problems for word in _WORD.findall(f"{p.message} {p.hint}")}
    # a tag of YAML is named by its whole name
    assert said <= _OURS | _EXAMPLES | set(_WORD.findall(raw.decode(errors="replace"))) | {"tag", "org", "python"}


def test_a_reason_outside_the_catalogues_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule of a library or a new kind may give an English reason; it does not reach the screen."""

    def refuse(url: str) -> None:
        raise ValueError(f"{url} has an English tail")

    monkeypatch.setattr("sigprobe.net.urls.check_url", refuse)
    text = BASE + "  - {kind: http, name: b, url: https://x.example/}\n"
    with pytest.raises(ConfigError) as caught:
        parse(text.encode(), tmp_path / "x.yaml", {})
    assert "is not allowed here." in caught.value.render() and "tail" not in caught.value.render()


class _Marked(i18n.gettext.NullTranslations):
    def gettext(self, message: str) -> str:
        return f"¤{message}"


@pytest.mark.parametrize("case", ["directory", "unreadable", "missing", "device"])
def test_a_file_that_cannot_be_read(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be opened is a sentence with the path, not a traceback and not a hang."""
    path = tmp_path / "config.yaml"
    wanted = {
        "directory": "this is not a regular file.",
        "device": "this is not a regular file.",
        "missing": "this file does not exist.",
        "unreadable": "you are not allowed to read this file.",
    }
    if case == "directory":
        path.mkdir()
    elif case == "device":
        path = Path("/dev/zero")
    elif case == "unreadable":
        path.write_text(BASE)

        def refuse(self: Path, *_args: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    assert caught.value.render() == f"{path}: {wanted[case]}"
    assert caught.value.missing is (case == "missing")


_yaml_like = st.recursive(
    st.sampled_from(
        ["no", "0123", "12:30", "~", '"x"', "1.5", "2024-99-99", "0b_", "*a", "&a x", "!!int x", "é", "\ud83d\ude00"]
    )
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: "[" + ", ".join(items) + "]")
        | st.lists(
            st.tuples(
                st.sampled_from(
                    [*Config.model_fields, "tps_id", "kind", "name", "count", "url", "collectors", "fixed"]
                ),
                inner,
            ),
            max_size=4,
        ).map(lambda pairs: "{" + ", ".join(f"{name}: {value}" for name, value in pairs) + "}")
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(top=st.lists(st.tuples(st.sampled_from(list(Config.model_fields)), _yaml_like), max_size=6))
def test_whatever_stands_there(top: list[tuple[str, str]], tmp_path: Path) -> None:
    """YAML of known keys with arbitrary values loads, or is a ConfigError; nothing else ever comes out."""
    text = BASE + "".join(f"{name}: {value}\n" for name, value in top)
    _loads_or_refuses(text.encode("utf-8", "surrogatepass"), tmp_path)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
def test_whatever_bytes(raw: bytes, tmp_path: Path) -> None:
    """Arbitrary bytes are a ConfigError whose every problem has a path and a message."""
    _loads_or_refuses(raw, tmp_path)


def _loads_or_refuses(raw: bytes, tmp_path: Path) -> None:
    try:
        parse(raw, tmp_path / "x.yaml", {})
    except ConfigError as error:
        assert error.problems
        assert all(problem.path and problem.message for problem in error.problems)
        assert all((problem.line or 1) >= 1 for problem in error.problems)


@pytest.mark.parametrize("language", ["id", "en"])
def test_a_reason_of_the_system_is_in_words(language: str, tmp_path: Path) -> None:
    """A path that the system refuses is told in the language in use, without the system's own English."""
    with i18n.speaking(language), pytest.raises(ConfigError) as caught:
        load(tmp_path / ("x" * 300), {})
    wanted = {"id": "namanya terlalu panjang", "en": "the name is too long"}[language]
    assert wanted in caught.value.render() and "File name" not in caught.value.render()
