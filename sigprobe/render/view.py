"""Define the plain values of a run's screen. The caller fills them; nothing is looked up here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from sigprobe.record.profile import Profile
from sigprobe.record.result import Result, Tags
from sigprobe.verdict import Verdict

UploadKind = Literal[
    "sent",
    "kept",
    "portal",
    "token",
    "busy",
    "tls",
    "refuses",
    "unnoted",
    "storage",
    "set_aside",
    "none",
    "tokenless",
    "off",
]
"""How the upload after a test ended: everything `sent`; `kept` since no collector was reached; a `portal` answered;
the `token` was refused; the collector was `busy`; its certificate did not hold (`tls`); it `refuses` all;
what it holds could not be noted here (`unnoted`); the queue failed (`storage`); some records were `set_aside`;
`none` is configured; this device is `tokenless`, so nobody was asked; it was switched `off`."""


Retry = Literal["at", "schedule", "hand"]
"""What sends the rest: the agent `at` a known time, a `schedule` with its next test, a person by `hand`."""


@dataclass(frozen=True, slots=True)
class UploadLine:
    """Result of an upload. `count` is the number of affected records (waiting, or set aside).

    `why` is the failure code of the error on the path to the host `whom`, if known.
    """

    kind: UploadKind
    count: int = 0
    retry_at: datetime | None = None
    again: Retry = "at"
    why: str | None = None
    whom: str | None = None


@dataclass(frozen=True, slots=True)
class RunView:
    """One run as its screen shows it.

    `tags` are the run record's; `place` is the TPS in words; `zone` is WIB, WITA or WIT. `saved` and `pending` count
    records. `storage_failure` is a code of the table (`disk_full`, …) when something could not be saved. `warnings` are
    finished sentences in the language in use. With `next_command` None the screen chooses. `nearby` is the last
    sentence of a blank spot's verdict. `place_may_come`: True while GPS has no position yet, False without GPS, None if
    unknown. `automatic` is True when an agent, a timer or cron uploads later. `folder` is that of the settings file: it
    may hold contacts. `interface_bytes` has other programs' data, too.
    """

    results: Sequence[Result]
    verdict: Verdict
    tags: Tags
    started_at: datetime
    profile: Profile | None = None
    zone: str = "WIB"
    place: str | None = None
    data_used_bytes: int = 0
    interface_bytes: int | None = None
    saved: int = 0
    pending: int = 0
    upload: UploadLine | None = None
    storage_failure: str | None = None
    warnings: Sequence[str] = field(default_factory=tuple)
    next_command: str | None = None
    nearby: str | None = None
    place_may_come: bool | None = None
    automatic: bool = True
    folder: Path | None = None
