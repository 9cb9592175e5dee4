"""What follows a measurement: sending what waits, and what is said of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sigprobe.commands.support import common

if TYPE_CHECKING:
    from sigprobe.buffer import Buffer
    from sigprobe.config import Loaded
    from sigprobe.upload import Report


def send(buffer: Buffer, senders: list[Any]) -> Report:
    """Drain for a short while. When the queue itself failed, the report has stopped for that, and knows no more."""
    from sigprobe.buffer import SendingError, StorageError
    from sigprobe.runs import runner as rounds
    from sigprobe.upload import Report
    from sigprobe.upload.drain import END_OF_TEST_S

    try:
        return rounds.send(buffer, senders, limit_s=END_OF_TEST_S)
    except StorageError as error:
        # nothing is lost: what was sent and could not be marked is sent again, and answered `duplicate`
        code = error.code if isinstance(error, SendingError) else SendingError.code
        return Report(stopped=code, detail=str(error))


def say_about(sent: Report, *, shown: bool) -> None:
    """What an upload at the end of a test has to tell beside its line on the screen, and where that is not `shown`."""
    if sent.stopped in ("ack_unnoted", "queue_failed") and not shown:
        common.say_code(sent.stopped, sent.detail)
    if sent.stopped != "collector_token":
        for url in sent.refused:
            common.say_code("collector_token", url)
    common.say_unchecked(sent)
    common.say_clock(sent)


_KINDS = {
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


def upload_line(loaded: Loaded, sent: Report | None, pending: int, *, no_upload: bool) -> Any:
    """What became of the sending, for the screen."""
    from sigprobe.render.view import UploadLine

    if no_upload:
        return UploadLine("off", pending)
    if not loaded.config.upload.collectors:
        return UploadLine("none", pending)
    if sent is None:
        return UploadLine("tokenless", pending)  # why was said before the test
    if sent.stopped is None:
        return UploadLine("set_aside", sent.rejected) if sent.rejected else UploadLine("sent", pending)
    kind: Any = _KINDS.get(sent.stopped, "kept")
    return UploadLine(kind, pending, common.local_time(sent.retry_at))
