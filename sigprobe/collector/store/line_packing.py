"""Compress lines on their way into PostgreSQL, and give them back byte for byte.

Each line is a zstd frame of its own, made with a dictionary of what lines have in common: names and usual values. The
frame holds the dictionary's number, and no line begins as a frame does, so what is stored says itself how to read it.
PostgreSQL's own compression only begins at rows of 2 kB, which most records do not reach.

A database holds the dictionaries that its lines need, so a copy can be read without this program's files. Writers
compress once `line_dictionaries` has a row: programs of earlier versions would hand out the frames.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from importlib import resources
from typing import Any, Final

from sqlalchemy import Connection, Dialect, LargeBinary, inspect
from sqlalchemy.types import TypeDecorator

IN_USE: Final = "2026-11"
"""The dictionary that a database begins with. Dictionaries are added, never changed or removed."""

MOST_BYTES: Final = 1 << 20
"""A frame that says it holds more is not of our making: a line has 64 KiB at most."""

MAGIC: Final = b"\x28\xb5\x2f\xfd"
_LEVEL: Final = 3


class StoredLine(TypeDecorator[bytes]):
    """A line as its probe sent it, whichever way it is stored."""

    impl = LargeBinary
    cache_ok = True

    def process_result_value(self, value: Any, dialect: Dialect) -> bytes | None:
        """Return the line's own bytes."""
        return None if value is None else unpack(bytes(value))


class UnknownDictionaryError(Exception):
    """A line was compressed with a dictionary that neither this program nor this database has."""


_known: Final[dict[int, bytes]] = {}
_local: Final = threading.local()
"""Contexts of zstd serve one thread at a time."""


def shipped(name: str = IN_USE) -> tuple[int, bytes]:
    """Return a dictionary of this program with its number, and remember it."""
    content = (resources.files("sigprobe.collector.store") / "dictionaries" / f"{name}.zdict").read_bytes()
    number = int.from_bytes(content[4:8], "little")
    _known.setdefault(number, content)
    return number, content


def remember(number: int, content: bytes) -> None:
    """Use a dictionary that a database holds."""
    _known.setdefault(number, bytes(content))


QUERY: Final = "SELECT number, content FROM line_dictionaries ORDER BY since"
"""What `remember_all` reads."""


def remember_all(rows: Iterable[Any]) -> int | None:
    """Remember the dictionaries of a database. Returns the number of the newest, None while lines are stored plain."""
    newest = None
    for row in rows:
        remember(int(row[0]), row[1])
        newest = int(row[0])
    return newest


def learn(connection: Connection) -> int | None:
    """Remember all dictionaries of a database; the number of the one in use. One of an earlier version has none."""
    if not inspect(connection).has_table("line_dictionaries"):
        return None
    return remember_all(connection.exec_driver_sql(QUERY))


def pack(line: bytes, number: int) -> bytes:
    """Return a line compressed with a dictionary, or as it is where that is not shorter."""
    packers: dict[int, Any] = _local.__dict__.setdefault("packers", {})
    packer = packers.get(number)
    if packer is None:
        import zstandard

        packer = packers[number] = zstandard.ZstdCompressor(level=_LEVEL, dict_data=_dictionary(number, _LEVEL))
    packed: bytes = packer.compress(line)
    return packed if len(packed) < len(line) else line


def unpack(stored: bytes) -> bytes:
    """Return the line of what is stored. Raises UnknownDictionaryError."""
    if not stored.startswith(MAGIC):
        return stored
    import zstandard

    frame = zstandard.get_frame_parameters(stored)
    if frame.content_size > MOST_BYTES:
        raise ValueError("a stored line is larger than any line")
    readers: dict[int, Any] = _local.__dict__.setdefault("readers", {})
    reader = readers.get(frame.dict_id)
    if reader is None:
        reader = readers[frame.dict_id] = zstandard.ZstdDecompressor(dict_data=_dictionary(frame.dict_id, None))
    line: bytes = reader.decompress(stored)
    return line


def _dictionary(number: int, level: int | None) -> Any:
    import zstandard

    if number not in _known:
        shipped()
    if number not in _known:
        raise UnknownDictionaryError(number)
    found = zstandard.ZstdCompressionDict(_known[number])
    if level is not None:
        found.precompute_compress(level=level)
    return found
