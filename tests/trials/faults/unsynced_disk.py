"""A disk whose power can be cut: an SQLite VFS that knows what was flushed and what only seemed written.

Files really lie in a directory, so everything works as usual. Beside them the disk keeps, for each file, the bytes
that the last xSync made durable and the writes since. A cut keeps of those any, none, or parts of a sector run.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import apsw

SECTOR = 512


class PowerCutError(Exception):
    """The power is gone: nothing can be written any more."""


class UnsyncedDisk(apsw.VFS):
    """A VFS over "unix". `cut_at` is the number of the write, flush or truncation at which the power goes."""

    def __init__(self, name: str, rng: random.Random) -> None:
        self.name = name
        self.rng = rng
        self.durable: dict[str, bytearray] = {}
        self.pending: dict[str, list[tuple[int, bytes | None]]] = {}
        self.operations = 0
        self.cut_at: int | None = None
        self.image: dict[str, bytes] | None = None
        super().__init__(name, "unix")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        return _UnsyncedFile(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        self.tick()
        super().xDelete(filename, syncdir)
        self.durable.pop(filename, None)
        self.pending.pop(filename, None)

    def tick(self) -> None:
        """Count an operation on the disk; at the chosen one the power goes, and stays away."""
        self.operations += 1
        if self.cut_at is not None and self.operations >= self.cut_at:
            if self.image is None:
                self.image = self._what_is_left()
            raise PowerCutError

    def cut(self) -> None:
        """Cut the power now, and keep nothing that was not flushed."""
        self.image = {name: bytes(kept) for name, kept in self.durable.items()}
        self.cut_at = self.operations

    def _what_is_left(self) -> dict[str, bytes]:
        left: dict[str, bytes] = {}
        for name, kept in self.durable.items():
            data = bytearray(kept)
            outcome = self.rng.choice(["none", "all", "each"])
            for offset, written in self.pending.get(name, []):
                if outcome == "none" or (outcome == "each" and self.rng.random() < 0.5):
                    continue
                if written is None:
                    del data[offset:]
                elif outcome == "each" and self.rng.random() < 0.5:  # torn: some of its sectors
                    for start in range(0, len(written), SECTOR):
                        if self.rng.random() < 0.5:
                            write_into(data, offset + start, written[start : start + SECTOR])
                else:
                    write_into(data, offset, written)
            left[name] = bytes(data)
        return left

    def restore(self, directory: Path) -> None:
        """Lay out what is left after the cut."""
        assert self.image is not None
        for name, data in self.image.items():
            (directory / Path(name).name).write_bytes(data)


def write_into(data: bytearray, offset: int, written: bytes) -> None:
    """Write beyond the end as a file does: with zeros in between."""
    if len(data) < offset:
        data.extend(bytes(offset - len(data)))
    data[offset : offset + len(written)] = written


class _UnsyncedFile(apsw.VFSFile):
    def __init__(self, disk: UnsyncedDisk, name: Any, flags: list[int]) -> None:
        super().__init__("unix", name, flags)
        self.disk = disk
        self.path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        there = Path(self.path)
        self.disk.durable.setdefault(self.path, bytearray(there.read_bytes() if there.exists() else b""))

    def xWrite(self, data: bytes, offset: int) -> None:
        self.disk.tick()
        super().xWrite(data, offset)
        self.disk.pending.setdefault(self.path, []).append((offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:
        self.disk.tick()
        super().xTruncate(newsize)
        self.disk.pending.setdefault(self.path, []).append((newsize, None))

    def xSync(self, flags: int) -> None:
        self.disk.tick()
        data = self.disk.durable[self.path]
        for offset, written in self.disk.pending.pop(self.path, []):
            if written is None:
                del data[offset:]
            else:
                write_into(data, offset, written)
