"""Send pending results after a measurement, and report the outcome."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from sigprobe.commands.support import sentences
from sigprobe.commands.support.command_result import Message

if TYPE_CHECKING:
    from sigprobe.buffer import Buffer
    from sigprobe.commands.support.automation import Way
    from sigprobe.config import Loaded
    from sigprobe.render.view import Retry, UploadKind, UploadLine
    from sigprobe.upload import Collector, Report


def send(buffer: Buffer, senders: Sequence[Collector]) -> Report:
    """Upload for a short time. If the queue itself fails, the report stops with that code."""
    from sigprobe.buffer import SendingError, StorageError
    from sigprobe.runs import runner as rounds
    from sigprobe.upload import Report
    from sigprobe.upload.drain import END_OF_TEST_S

    try:
        return rounds.send(buffer, list(senders), limit_s=END_OF_TEST_S)
    except StorageError as error:
        # nothing is lost: what was sent and could not be marked is sent again, and answered `duplicate`
        code = error.code if isinstance(error, SendingError) else SendingError.code
        return Report(stopped=code, detail=str(error))


def messages(sent: Report, *, shown: bool) -> Iterator[Message]:
    """Yield what an upload after a test reports beside its line on the screen, or without one (`shown` False)."""
    if sent.stopped in ("ack_unnoted", "queue_failed") and not shown:
        yield sentences.code_error(sent.stopped, sent.detail)
    if sent.stopped != "collector_token":
        for url in sent.refused:
            yield Message(f"{url}: {sentences.code_text('collector_token')}", error=True)
    yield from sentences.after_upload(sent)


_KINDS: Final[dict[str, UploadKind]] = {
    "collector_unreachable": "kept",
    "interrupted": "kept",
    "collector_portal": "portal",
    "collector_token": "token",
    "collector_busy": "busy",
    "collector_tls": "tls",
    "collector_refuses": "refuses",
    "ack_unnoted": "unnoted",
    "queue_failed": "storage",
}


def upload_line(loaded: Loaded, sent: Report | None, pending: int, way: Way | None, *, no_upload: bool) -> UploadLine:
    """Return how the upload ended, for the screen; `way` is what sends the rest automatically."""
    from sigprobe.render.view import UploadLine

    if not loaded.config.upload.collectors:
        return UploadLine("none", pending)
    if no_upload:
        return UploadLine("off", pending)
    if sent is None:
        return UploadLine("tokenless", pending)  # why was said before the test
    if sent.stopped is None:
        return UploadLine("set_aside", sent.rejected) if sent.rejected else UploadLine("sent", pending)
    again: Retry = "at" if way == "agent" else "hand" if way is None else "schedule"
    retry_at = sentences.local_time(sent.retry_at) if way == "agent" else None
    return UploadLine(_KINDS.get(sent.stopped, "kept"), pending, retry_at, again, sent.why, sent.whom)
