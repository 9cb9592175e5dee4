"""Token files as people save them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sigprobe.config.read import read_bytes
from sigprobe.files.tokens import TokenError, read_token
from sigprobe.record.text_encoding import decode

TOKEN = "abc-TOKEN_1.x"
TEXT = "language: id\r\nprobe: {site: x}\r\n"


def _file(tmp_path: Path, raw: bytes) -> str:
    path = tmp_path / "token"
    path.write_bytes(raw)
    path.chmod(0o600)
    return str(path)


@pytest.mark.parametrize(
    "raw",
    [
        TOKEN.encode(),
        b"\xef\xbb\xbf" + TOKEN.encode() + b"\r\n",
        (TOKEN + "\r\n").encode("utf-16"),
        b"\xfe\xff" + TOKEN.encode("utf-16-be"),
        (TOKEN + "\r\n").encode("utf-16-le"),
        (TOKEN + "\n").encode("utf-16-be"),
        f"\u00a0{TOKEN}\u200b\n".encode(),
        f"\n\n{TOKEN}\n".encode(),
    ],
    ids=["plain", "utf-8-bom", "utf-16-bom", "utf-16-be-bom", "utf-16-le", "utf-16-be", "invisible", "blank-lines"],
)
def test_a_token_is_read_whatever_editor_saved_it(tmp_path: Path, raw: bytes) -> None:
    found = read_token(_file(tmp_path, raw), {})
    assert found is not None
    assert (found.text, found.origin) == (TOKEN, "file")


def test_a_token_of_the_environment_may_carry_a_mark(tmp_path: Path) -> None:
    found = read_token(None, {"SIGPROBE_TOKEN": f"\ufeff{TOKEN}\r"})
    assert found is not None
    assert found.text == TOKEN


@pytest.mark.parametrize(
    ("raw", "reason"),
    [(b"", "empty"), (b"\xef\xbb\xbf\r\n", "empty"), (b"two words", "malformed"), (b"\xff\xff\xff", "malformed")],
)
def test_what_is_no_token_is_refused_by_its_reason(tmp_path: Path, raw: bytes, reason: str) -> None:
    with pytest.raises(TokenError) as caught:
        read_token(_file(tmp_path, raw), {})
    assert caught.value.reason == reason


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_settings_are_read_in_the_same_encodings(codec: str) -> None:
    assert decode(TEXT.encode(codec)) == TEXT
    tree = read_bytes(TEXT.encode(codec), "c.yaml")
    assert tree.problems == []
    assert tree.root == {"language": "id", "probe": {"site": "x"}}
