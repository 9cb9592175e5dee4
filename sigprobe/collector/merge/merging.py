"""Store what another collector has and this one lacks, each result once, under its first receipt.

Ids and digests are compared first, and only missing lines are read. So a merge that was interrupted goes on where it
was as fast as ids can be compared, and repeating one changes nothing. Each batch of the other collector is stored as a
batch here, with its sender and the time at which it was received there.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Engine, insert, select, update

from sigprobe.collector.ingest import queries as ingest_queries
from sigprobe.collector.ingest.records import sort_lines
from sigprobe.collector.ingest.rows import NewBatch, NewResult
from sigprobe.collector.merge.other import Other, OtherResult
from sigprobe.collector.store.chunks import chunks
from sigprobe.collector.store.schema import results, tokens
from sigprobe.collector.web.problems import ProblemError
from sigprobe.protocol.batches import ACCEPTED, CONFLICT, DUPLICATE, REJECTED, RETRY

_CHUNK: Final = 500
_EXAMPLES: Final = 20


@dataclass(slots=True)
class Merged:
    """Counts of results by their fate here, and of tokens. `examples`: ids that were not stored, with the reason."""

    statuses: Counter[str] = field(default_factory=Counter)
    examples: list[tuple[str, str]] = field(default_factory=list)
    tokens_added: int = 0
    tokens_revoked: int = 0
    tokens_left: list[str] = field(default_factory=list)
    """Names of tokens that another token here has in use."""

    def note(self, name: str, status: str, reason: str | None = None) -> None:
        """Count one result."""
        self.statuses[status] += 1
        if reason is not None and len(self.examples) < _EXAMPLES:
            self.examples.append((name, f"{status}: {reason}"))


def merge(engine: Engine, other: Other, progress: Callable[[int, int], None] = lambda _done, _whole: None) -> Merged:
    """Take over tokens and results. Raises OtherError, and SQLAlchemyError of our own database; both can be repeated.

    What was committed by then stays.
    """
    found = Merged()
    _merge_tokens(engine, other, found)
    whole, done = other.count(), 0
    for page in other.pages():
        here = dict(_digests(engine, list(page)))
        for name, digest in page.items():
            if name in here:
                _note_known(found, name, same=here[name] == digest)
        missing = [name for name in page if name not in here]
        read = 0
        for part in other.read(missing):
            _store(engine, part, page, found)
            read += len(part)
            progress(done + len(here) + read, max(whole, done + len(page)))
        # what the other collector removed meanwhile is neither here nor there
        done += len(page)
        progress(done, max(whole, done))
    return found


def _note_known(found: Merged, name: str, *, same: bool) -> None:
    if same:
        found.note(name, DUPLICATE)
    else:
        found.note(name, CONFLICT, "this id is here with another content")


def _digests(engine: Engine, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    for part in chunks(names, _CHUNK):
        with engine.connect() as connection:
            rows = connection.execute(select(results.c.id, results.c.sha256).where(results.c.id.in_(part))).all()
        yield from ((row.id, bytes(row.sha256)) for row in rows)


def _store(engine: Engine, part: Iterable[OtherResult], digests: Mapping[str, bytes], found: Merged) -> None:
    batches: dict[tuple[datetime, str], list[NewResult]] = {}
    for stored in part:
        row = _row(stored, digests[stored.id], found)
        if row is not None:
            batches.setdefault((stored.received_at, stored.carrier), []).append(row)
    group = [NewBatch(rows, carrier, None, received_at) for (received_at, carrier), rows in sorted(batches.items())]
    for statuses in ingest_queries.store_batches(engine, group):
        for name, status in statuses.items():
            if status in (ACCEPTED, RETRY):
                found.note(name, status)
            else:
                # another sender was faster since the ids were compared
                _note_known(found, name, same=status == DUPLICATE)


def _row(stored: OtherResult, digest: bytes, found: Merged) -> NewResult | None:
    """Return the row of a line by this version's rules, which may be stricter than those that it was stored under."""
    if not hmac.compare_digest(hashlib.sha256(stored.line).digest(), digest):
        found.note(stored.id, REJECTED, "its bytes are not those that were received")
        return None
    try:
        rows = sort_lines([stored.line]).rows
    except ProblemError as error:
        found.note(stored.id, REJECTED, error.title)
        return None
    if not rows or rows[0].id != stored.id:
        found.note(stored.id, REJECTED, "this version does not store such a record")
        return None
    return rows[0]


def _merge_tokens(engine: Engine, other: Other, found: Merged) -> None:
    """Take over tokens that are not here, and revocations; the one in use here keeps its name."""
    theirs = other.tokens()
    with engine.execution_options(write=True).begin() as connection:
        known: dict[str, Any] = {
            row.hash: row for row in connection.execute(select(tokens.c.id, tokens.c.hash, tokens.c.revoked_at))
        }
        names = set(connection.scalars(select(tokens.c.name).where(tokens.c.revoked_at.is_(None))))
        ids = {row.id for row in known.values()}
        for token in theirs:
            own = known.get(token.hash)
            if own is not None:
                if own.revoked_at is None and token.revoked_at is not None:
                    connection.execute(update(tokens).where(tokens.c.id == own.id).values(revoked_at=token.revoked_at))
                    found.tokens_revoked += 1
                continue
            if token.revoked_at is None and token.name in names:
                found.tokens_left.append(token.name)
                continue
            if token.id in ids:
                continue
            connection.execute(insert(tokens).values(**token._asdict()))
            if token.revoked_at is None:
                names.add(token.name)
                found.tokens_added += 1
