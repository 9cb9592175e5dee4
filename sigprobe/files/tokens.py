"""Read a collector's token from the environment, a private file or the service manager.

A token is never taken from the command line. Only `init` writes one, into a file of mode 0600.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sigprobe.files import locations
from sigprobe.record.text_encoding import decode

_TOKEN: Final = re.compile(r"^[\x21-\x7e]{1,512}$")
_MAX_FILE_BYTES: Final = 4096
_AROUND: Final = " \t\r\n\f\v\x00\u00a0\u200b\u2060\ufeff"
"""Blanks and invisible characters that copying and editors leave around a token."""


class TokenError(Exception):
    """Raised for an unusable token. `reason` is `missing`, `directory`, `unreadable`, `lax`, `empty` or
    `malformed`."""

    def __init__(self, reason: str, path: str) -> None:
        self.reason = reason
        self.path = masked(path)
        super().__init__(f"{reason}: {self.path}")


@dataclass(frozen=True, slots=True)
class Token:
    """Token and its source: `environment`, `file` or `credentials`."""

    text: str
    origin: str

    def __repr__(self) -> str:
        """Hide the token from tracebacks and logs."""
        return f"Token(***, {self.origin})"


def read_token(token_file: str | None, environ: Mapping[str, str] = os.environ) -> Token | None:
    """Return the token from SIGPROBE_TOKEN, the configured file or the service manager's credential.

    None if there is none of them. Raises TokenError for an unusable token. A file that others can read or the group can
    write is refused.
    """
    text = environ.get("SIGPROBE_TOKEN", "").strip(_AROUND)
    if text:
        return Token(_checked(text, "SIGPROBE_TOKEN"), "environment")
    if token_file:
        return Token(_from_file(locations.expand(token_file), private=True), "file")
    directory = environ.get("CREDENTIALS_DIRECTORY", "")
    if directory:
        path = Path(directory) / "sigprobe-token"
        if path.exists():
            # the service manager sets its permissions; its directory is private to the service
            return Token(_from_file(path, private=False), "credentials")
    return None


_PREFIX: Final = re.compile(r"(?i)(?:bearer\s+|sigprobe-(?:probe|admin)-|eyJ[A-Za-z0-9_-]{8,}\.)\S{8,}")
_OWN: Final = re.compile(r"sigprobe-(?:probe|admin)-[A-Za-z0-9_-]{40,}")
"""A whole token of the collector, whatever was copied together with it."""
_RUN: Final = re.compile(r"[A-Za-z0-9+]{16,}")
_HEX: Final = re.compile(r"[0-9a-fA-F]{32,}")
_TEXT_SHAPE: Final = re.compile(r"[A-Za-z0-9+/=_.~-]{20,512}")
_EXTENSION: Final = re.compile(r"\.[A-Za-z]{1,8}$")


def looks_like_token(text: str) -> bool:
    """Return True for a text that is itself a secret and not a file name, address, place or operator.

    Detected are the collector's own tokens, `Bearer …`, JSON web tokens, long hexadecimal numbers, and long mixed runs
    of letters and digits.
    """
    text = text.strip(_AROUND).strip("'\"")
    if _PREFIX.fullmatch(text) or _HEX.fullmatch(text) or _OWN.search(text):
        return True
    if not _TEXT_SHAPE.fullmatch(text) or text.startswith(("/", "~", ".")) or _EXTENSION.search(text):
        return False
    runs = _RUN.findall(text)
    return any(re.search("[0-9]", run) and re.search("[a-z]", run) and re.search("[A-Z]", run) for run in runs)


def is_secret_for_path(text: str) -> bool:
    """Return True for a token in place of a path; behind directories only for the most certain token formats."""
    return looks_like_token(text) or _PREFIX.fullmatch(text.rpartition("/")[2]) is not None


def bare_token(text: str) -> str | None:
    """Return the token in a pasted text, without words, quotes and blanks around it; None if there is none."""
    own = _OWN.search(text)
    if own is not None:
        return own[0]
    text = re.sub(r"(?i)^bearer\s+", "", text.strip(_AROUND).strip("'\"").strip(_AROUND))
    return text if _TOKEN.match(text) else None


def masked(path: str) -> str:
    """Return a path for the screen, without a last part that looks like a token."""
    head, slash, last = path.rpartition("/")
    return f"{head}{slash}***" if looks_like_token(last) else path


def write_token(path: Path, text: str) -> None:
    """Write a token into a file that only this user can read. Raises OSError, also if the file exists already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())


def _from_file(path: Path, *, private: bool) -> str:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if private and os.name == "posix" and status.st_mode & (stat.S_IRWXO | stat.S_IWGRP):
                raise TokenError("lax", str(path))
            raw = file.read(_MAX_FILE_BYTES)
    except FileNotFoundError:
        raise TokenError("missing", str(path)) from None
    except IsADirectoryError:
        raise TokenError("directory", str(path)) from None
    except OSError:
        raise TokenError("unreadable", str(path)) from None
    try:
        text = decode(raw).strip(_AROUND)
    except UnicodeDecodeError:
        raise TokenError("malformed", str(path)) from None
    if not text:
        raise TokenError("empty", str(path))
    return _checked(text, str(path))


def _checked(text: str, where: str) -> str:
    if not _TOKEN.match(text):
        raise TokenError("malformed", where)
    return text
