"""Build queue path, backoff state and collectors from the settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sigprobe.files import locations
from sigprobe.upload import Backoff, Collector

if TYPE_CHECKING:
    from sigprobe.config import Loaded


@dataclass(frozen=True, slots=True)
class TokenTrouble:
    """A collector that is left out because its token cannot be used: a reason of `TokenError`, or `none`."""

    url: str
    reason: str
    path: str


def queue_path(loaded: Loaded) -> Path:
    """Where the queue lies: as configured, else where the settings file that is in force has it."""
    configured = loaded.config.buffer.path
    return locations.default_queue(loaded.path) if configured is None else Path(configured)


def backoff_of(queue: Path) -> Backoff:
    """The memory of failed tries that lies beside the queue, read anew."""
    return Backoff(queue.with_name(queue.name + ".backoff.json"))


def read_collectors(loaded: Loaded) -> tuple[list[Collector], list[TokenTrouble], bool]:
    """The collectors that may be asked, with their tokens; those that may not; whether a token is the environment's."""
    from sigprobe.files.tokens import TokenError, read_token

    found: list[Collector] = []
    trouble: list[TokenTrouble] = []
    from_environment = False
    upload = loaded.config.upload
    for entry in upload.collectors:
        try:
            token = read_token(entry.token_file)
        except TokenError as error:
            trouble.append(TokenTrouble(entry.url, error.reason, error.path))
            continue
        if token is None:
            trouble.append(TokenTrouble(entry.url, "none", ""))
            continue
        from_environment = from_environment or token.origin == "environment"
        found.append(Collector(entry.url, token.text, entry.ca_file, entry.allow_unchecked_time, upload.proxy))
    return found, trouble, from_environment
