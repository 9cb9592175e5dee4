"""Make the row of `batches` from what was stored of a batch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from sigprobe.collector.ingest.rows import NewResult
from sigprobe.collector.store.clocks import Anchor, anchor_of


def packed_ids(rows: Iterable[NewResult]) -> bytes:
    """Return the ids, 16 bytes each."""
    return bytes.fromhex("".join(row.id for row in rows).replace("-", ""))


def anchors_text(rows: Sequence[NewResult]) -> str | None:
    """Return what these rows tell of their boots' clocks: the best anchor of each boot, as JSON; None for nothing.

    Only rows that were stored now may be given: a line whose id was here already either counted then or is refused.
    """
    found: dict[tuple[str, str], Anchor] = {}
    for row in rows:
        if row.corrected_at is None or row.since_boot_s is None or row.boot_id is None:
            continue
        anchor = anchor_of(row.corrected_at, row.since_boot_s, row.clock_error_s)
        boot = (row.probe_id, row.boot_id)
        if boot not in found or anchor.rank() < found[boot].rank():
            found[boot] = anchor
    if not found:
        return None
    return json.dumps(
        [[probe, boot, anchor.error_s, anchor.booted_at_s] for (probe, boot), anchor in sorted(found.items())]
    )


def waits(row: NewResult) -> bool:
    """Return whether an anchor of its boot is to correct this row."""
    return row.corrected_at is None and row.boot_id is not None and row.since_boot_s is not None
