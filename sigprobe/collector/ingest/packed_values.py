"""Pack values for PostgreSQL in its binary format, and columns of them as arrays.

psycopg can do it value by value; packing a whole column at a time takes a fifth of that. The format is fixed since
PostgreSQL 7.4. A field is its length and its bytes, −1 for NULL. An array is a head and its fields one after the other.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import BigInteger, Boolean, Float, Integer, LargeBinary, String, Uuid
from sqlalchemy.types import TypeEngine

from sigprobe.collector.store.line_packing import StoredLine
from sigprobe.collector.store.schema import UtcTime

NULL: Final = struct.pack("!i", -1)

_LENGTH: Final = struct.Struct("!i")
_ARRAY: Final = struct.Struct("!iiIii")
"""Dimensions, whether there may be NULL, type, length, first index."""
_INT4: Final = struct.Struct("!ii")
_INT8: Final = struct.Struct("!iq")
_FLOAT8: Final = struct.Struct("!id")
_TRUE: Final = struct.pack("!i?", 1, True)
_FALSE: Final = struct.pack("!i?", 1, False)
_16: Final = _LENGTH.pack(16)
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def text(value: str | None) -> bytes:
    """Return a field of type text or varchar."""
    return NULL if value is None else _text(value)


@functools.lru_cache(maxsize=8192)
def _text(value: str) -> bytes:
    # most texts come again and again: kinds, operators, outcomes, places
    raw = value.encode()
    return _LENGTH.pack(len(raw)) + raw


def raw(value: bytes) -> bytes:
    """Return a field of type bytea."""
    return _LENGTH.pack(len(value)) + value


def uuid(value: str | None) -> bytes:
    """Return a field of type uuid, from its text with dashes."""
    return NULL if value is None else _16 + bytes.fromhex(value.replace("-", ""))


def int4(value: int | None) -> bytes:
    """Return a field of type integer."""
    return NULL if value is None else _INT4.pack(4, value)


def int8(value: int | None) -> bytes:
    """Return a field of type bigint."""
    return NULL if value is None else _INT8.pack(8, value)


def float8(value: float | None) -> bytes:
    """Return a field of type double precision."""
    return NULL if value is None else _FLOAT8.pack(8, value)


def flag(value: bool | None) -> bytes:
    """Return a field of type boolean."""
    return NULL if value is None else _TRUE if value else _FALSE


def time(value: datetime | None) -> bytes:
    """Return a field of type timestamptz."""
    return NULL if value is None else _INT8.pack(8, (value - _EPOCH) // _MICROSECOND)


class Array(bytes):
    """A whole array, packed. Each type of elements has a class of its own, by which psycopg knows what it sends."""

    __slots__ = ()


_ARRAYS: Final = {
    element: (type(f"Array{element}", (Array,), {"__slots__": ()}), whole)
    for element, whole in (
        *((16, 1000), (17, 1001), (20, 1016), (23, 1007), (25, 1009), (701, 1022), (1184, 1185), (2950, 2951)),
    )
}
"""For each type of elements its class, and the number of its array type. Both have been fixed for decades."""


def array(element: int, fields: Sequence[bytes]) -> Array:
    """Return an array with one dimension. `element` is the type of its fields, as PostgreSQL numbers it."""
    made: Array = _ARRAYS[element][0](_ARRAY.pack(1, 1, element, len(fields), 1) + b"".join(fields))
    return made


def element_of(kind: TypeEngine[Any]) -> int:
    """Return the number of the type in which values of a column are sent."""
    for known, element in _ELEMENTS:
        if isinstance(kind, known):
            return element
    raise LookupError(kind)


_ELEMENTS: Final = (
    *((Uuid, 2950), (UtcTime, 1184), (Boolean, 16), (StoredLine, 17), (LargeBinary, 17), (Float, 701), (String, 25)),
    *((BigInteger, 20), (Integer, 23)),
)


def register(connection: Any) -> None:
    """Let a connection send packed arrays."""
    from psycopg.adapt import Dumper
    from psycopg.pq import Format

    class Sent(Dumper):
        format = Format.BINARY

        def dump(self, obj: Array) -> Array:
            return obj

    for element, (made, whole) in _ARRAYS.items():
        connection.adapters.register_dumper(made, type(f"Sent{element}", (Sent,), {"oid": whole}))
