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
    """Collector that is left out because its token is unusable: a reason of `TokenError`, or `none`."""

    url: str
    reason: str
    path: str


def queue_path(loaded: Loaded) -> Path:
    """Return the path of the queue: as configured, else in the default place for the settings file in use."""
    configured = loaded.config.buffer.path
    return locations.default_queue(loaded.path) if configured is None else Path(configured)


def backoff_of(queue: Path) -> Backoff:
    """Read the backoff state that is stored beside the queue."""
    return Backoff(queue.with_name(queue.name + ".backoff.json"))


def read_collectors(loaded: Loaded) -> tuple[list[Collector], list[TokenTrouble], bool]:
    """Return the usable collectors with tokens, the unusable ones, and whether a token is from the environment."""
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
