"""Where a collector's token comes from, and whether the file that holds it is kept well.

A token is never taken from the command line and never written anywhere by the probe.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TOKEN: Final = re.compile(r"^[\x21-\x7e]{1,512}$")


class TokenError(Exception):
    """The token cannot be used. `reason` is `missing`, `unreadable`, `lax`, `empty` or `malformed`."""

    def __init__(self, reason: str, path: str) -> None:
        super().__init__(f"{reason}: {path}")
        self.reason = reason
        self.path = path


@dataclass(frozen=True, slots=True)
class Token:
    """A token and where it came from: `environment`, `file` or `credentials`."""

    text: str
    origin: str

    def __repr__(self) -> str:
        """Keep the token out of tracebacks and logs."""
        return f"Token(***, {self.origin})"


def read_token(token_file: str | None, environ: Mapping[str, str] = os.environ) -> Token | None:
    """Find the token: SIGPROBE_TOKEN, the configured file, or the service manager's credential.

    None when none of them is there. Raises TokenError for one that is there but must not or cannot be used: a file
    that others may read or the group may write is refused.
    """
    text = environ.get("SIGPROBE_TOKEN", "").strip()
    if text:
        return Token(_checked(text, "SIGPROBE_TOKEN"), "environment")
    if token_file:
        return Token(_from_file(Path(token_file).expanduser(), private=True), "file")
    directory = environ.get("CREDENTIALS_DIRECTORY", "")
    if directory:
        path = Path(directory) / "sigprobe-token"
        if path.exists():
            # the service manager keeps its rights; its directory is the service's alone
            return Token(_from_file(path, private=False), "credentials")
    return None


def _from_file(path: Path, *, private: bool) -> str:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if private and os.name == "posix" and status.st_mode & (stat.S_IRWXO | stat.S_IWGRP):
                raise TokenError("lax", str(path))
            text = file.read(4096).decode("utf-8", errors="replace").strip()
    except FileNotFoundError:
        raise TokenError("missing", str(path)) from None
    except OSError:
        raise TokenError("unreadable", str(path)) from None
    if not text:
        raise TokenError("empty", str(path))
    return _checked(text, str(path))


def _checked(text: str, where: str) -> str:
    if not _TOKEN.match(text):
        raise TokenError("malformed", where)
    return text
