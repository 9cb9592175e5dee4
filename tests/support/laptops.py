"""Simulate a laptop: its queue, and transfer files made by hand."""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sigprobe.buffer import Buffer, State
from sigprobe.protocol import transfer_file
from sigprobe.upload import offline
from sigprobe.upload.offline import Receipted, TakenIn
from tests.support.collector_client import make_result

HEADER = b'{"format":"sigprobe-results","version":1,"probe_id":null,"created_at":"2029-02-14T07:05:01.123Z"}'


@dataclass
class Laptop:
    """A queue and its directory."""

    folder: Path
    buffer: Buffer

    def measure(self, count: int, **changes: Any) -> list[str]:
        """Put results into the queue; returns their ids."""
        return [self.buffer.put(make_result(**changes)).result.id for _ in range(count)]

    def lines(self, *states: State) -> dict[str, bytes]:
        """Return the stored bytes by id."""
        return {row.id: row.line for row in self.buffer.rows(*states)}

    def take(self, path: Path) -> TakenIn:
        """Import a file of results."""
        with transfer_file.opened(path) as file:
            return offline.take_in(self.buffer, file, offline.verify(file))

    def take_receipts(self, path: Path) -> Receipted:
        """Import a file of receipts."""
        with transfer_file.opened(path) as file:
            return offline.apply_receipts(self.buffer, file, offline.verify(file))

    def config(self, max_mb: int = 256) -> Path:
        """Return a settings file for this queue."""
        path = self.folder / "config.yaml"
        path.write_text(
            'probe: {tps_id: "3273011001005"}\n'
            "targets: [{kind: ping, name: device, address: 127.0.0.1}]\n"
            f'buffer: {{path: "{self.buffer.path}", max_mb: {max_mb}}}\n'
        )
        return path


def pack(raw: bytes) -> bytes:
    """Return bytes packed as one gzip member, as a file must be."""
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    body = packer.compress(raw) + packer.flush()
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + body + struct.pack("<LL", zlib.crc32(raw), len(raw) % 2**32)


def whole(lines: Sequence[bytes], header: bytes = HEADER, **trailer: Any) -> bytes:
    """Return a file with a correct trailer, except for the given changes."""
    raw = b"".join(line + b"\n" for line in (header, *lines))
    end = {"end": True, "count": len(lines), "sha256": hashlib.sha256(raw).hexdigest()} | trailer
    return pack(raw + json.dumps(end, separators=(",", ":")).encode() + b"\n")


def receipts_file(path: Path, *receipts: tuple[str, str, str]) -> Path:
    """Return a file of receipts: (id, SHA-256 in hex, status) each."""
    with transfer_file.writing(
        path, transfer_file.Header(transfer_file.RECEIPTS, 1, None, "2029-02-14T07:05:01.123Z")
    ) as writer:
        for name, digest, status in receipts:
            writer.add_receipt(transfer_file.ReceiptLine(name, digest, status, "https://collector.example/"))
    return path


def sha256(line: bytes) -> str:
    """Return the digest a receipt names."""
    return hashlib.sha256(line).hexdigest()
