"""Let `http.client`, and so urllib3, requests and urllib, read answers with the parser of `http1`.

`http.client` stops at 100 header lines and at lines of 64 KiB, and takes 102 and 103 for final answers. Its sockets,
connections and buffering are kept; only the answer's head and its chunk lines are read here.
"""

from __future__ import annotations

import http.client
from typing import Any

from sigprobe.net import http1

_UNREAD = "UNKNOWN"
"""The status of `http.client` before the head was read."""


class Response(http.client.HTTPResponse):
    """An answer that is read within our own limits. Set it as `response_class` of a connection."""

    _method: str | None
    status: Any
    fp: Any
    chunk_left: int | None
    length: int | None
    will_close: bool
    code: int

    def begin(self) -> None:
        """Read the head of the final answer. Raises ProtocolError, or RemoteDisconnected when nothing came."""
        if self.status != _UNREAD:
            return
        head = self._read_head()
        self.code = self.status = head.status
        self.reason = head.reason
        self.version = 10 if head.version == "1.0" else 11
        self.headers = self.msg = _message(head)
        self.chunked, self.length, self.chunk_left = head.chunked, head.length, None
        self.will_close = not head.keep_alive

    def _read_status(self) -> tuple[str, int, str]:
        """Read the whole head of a proxy's answer to CONNECT; urllib3 then finds no further line."""
        head = self._read_head()
        self.fp = _Empty(self.fp)
        return f"HTTP/{head.version}", head.status, head.reason

    def _read_head(self) -> http1.Head:
        parser = http1.HeadParser(self._method or "GET")
        while parser.head is None:
            line = self.fp.readline(64 * 1024)
            if not line:
                if parser.started:
                    raise http1.ProtocolError("closed in the middle of the headers")
                raise http.client.RemoteDisconnected("closed without an answer")
            parser.feed(line)
        return parser.head

    def _get_chunk_left(self) -> int | None:
        """Payload left in this chunk; None behind the last one."""
        if self.chunk_left:
            return self.chunk_left
        if self.chunk_left == 0 and self._chunk_line().strip():
            raise http1.ProtocolError("broken chunked body: no line end behind a chunk")
        left = http1.chunk_size(self._chunk_line())
        if left:
            self.chunk_left = left
            return left
        read = 0
        while (line := self.fp.readline(http1.MAX_CHUNK_LINE_BYTES)).strip():  # empty as well at the connection's end
            read += len(line)
            if read > http1.MAX_TRAILER_BYTES:
                raise http1.ProtocolError(f"trailers of more than {http1.MAX_TRAILER_BYTES} bytes")
        self.chunk_left = None
        self._close_conn()  # type: ignore[attr-defined]  # of http.client, in all versions
        return None

    def _chunk_line(self) -> bytes:
        line: bytes = self.fp.readline(http1.MAX_CHUNK_LINE_BYTES)
        if not line:
            raise http.client.IncompleteRead(b"")
        if not line.endswith(b"\n"):
            if len(line) < http1.MAX_CHUNK_LINE_BYTES:
                raise http.client.IncompleteRead(line)
            raise http1.ProtocolError("broken chunked body: a line without an end")
        return line


class _Empty:
    """A file without further lines; everything else is the file it stands for."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def readline(self, _limit: int = -1) -> bytes:
        return b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _message(head: http1.Head) -> http.client.HTTPMessage:
    """Return the header fields, with the framing as it was understood: urllib3 reads these two once more."""
    message = http.client.HTTPMessage()
    seen: set[str] = set()
    for name, value in head.fields:
        key = name.lower()
        if key in ("transfer-encoding", "content-length"):
            continue
        if key in seen and key in http1.ONE_VALUE:
            continue
        seen.add(key)
        message[name] = value
    if head.chunked:
        message["Transfer-Encoding"] = "chunked"
    elif head.length is not None and "content-length" in head.headers:
        message["Content-Length"] = str(head.length)
    return message
