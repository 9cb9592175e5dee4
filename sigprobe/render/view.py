"""The plain values a run's screen is made of. Whoever ran the test fills them; nothing here looks anything up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
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
    """What became of the sending. `count` is how many records are meant (waiting, or set aside)."""

    kind: UploadKind
    count: int = 0
    retry_at: datetime | None = None
    again: Retry = "at"


@dataclass(frozen=True, slots=True)
class RunView:
    """One run as its screen shows it.

    `tags` are the run record's; `place` is the TPS in words; `zone` is WIB, WITA or WIT. `saved` and `pending` count
    records. `storage_failure` is a code of the table (`disk_full`, …) when something could not be saved.
    `warnings` are finished sentences in the language in use. `next_command` None lets the screen choose.
    `nearby` is the sentence that ends the verdict of a blank spot. `place_may_come` tells a GPS that has no position
    yet from none in use; None where that is unknown. `automatic` is True where an agent, a timer or cron sends later.
    """

    results: Sequence[Result]
    verdict: Verdict
    tags: Tags
    started_at: datetime
    profile: Profile | None = None
    zone: str = "WIB"
    place: str | None = None
    data_used_bytes: int = 0
    saved: int = 0
    pending: int = 0
    upload: UploadLine | None = None
    storage_failure: str | None = None
    warnings: Sequence[str] = field(default_factory=tuple)
    next_command: str | None = None
    nearby: str | None = None
    place_may_come: bool | None = None
    automatic: bool = True
