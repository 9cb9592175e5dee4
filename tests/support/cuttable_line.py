"""A line between two sites that a test cuts and mends: every TCP connection through it goes to one target."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType


class Line:
    """Forward connections on a free port of 127.0.0.1 to `target()`, while the line is whole."""

    def __init__(self, target: Callable[[], tuple[str, int] | None]) -> None:
        self._target = target
        self._whole = True
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._entry = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._entry.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End all connections and refuse new ones; what was on the way is lost."""
        with self._lock:
            self._whole = False
            for end in self._open:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Let new connections through."""
        self._whole = True

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._entry.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(near,), daemon=True).start()

    def _carry(self, near: socket.socket) -> None:
        target = self._target() if self._whole else None
        with near:
            if target is None:
                return
            try:
                far = socket.create_connection(target, 5)
            except OSError:
                return
            with far:
                far.settimeout(None)
                with self._lock:
                    if not self._whole:
                        return
                    self._open |= {near, far}
                back = threading.Thread(target=_pump, args=(far, near), daemon=True)
                back.start()
                _pump(near, far)
                back.join()
                with self._lock:
                    self._open -= {near, far}

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._entry.close()
        self.cut()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65_536):
            sink.sendall(piece)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
