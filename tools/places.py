"""Make `sigprobe/places/areas.bin`: `npm pack idn-area-data@4.0.1`, then `python tools/places.py FILE.tgz`.

With `--check` nothing is written: it says whether the table in the tree holds exactly what the package holds.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import sys
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "sigprobe" / "places" / "areas.bin"
FORMAT = b"sigprobe areas 1\n"
SHA256 = "8d47ffb2be39c08aacb0a2dd43193a1edb5754edb1022d57158341c702acc32d"
LEVELS = {"regencies": (4, "=", 2), "districts": (6, "-", 4), "villages": (10, "", 6)}
INFO: dict[str, object] = {
    "as_of": "2025-04",
    "decree": "Kepmendagri 300.2.2-2138 Tahun 2025",
    "source": "npm idn-area-data 4.0.1 (published 2026-05-06), sha256 " + SHA256,
    "licence": "ODbL-1.0",
    "attribution": "Contains information from idn-area-data (https://github.com/fityannugroho/idn-area-data), which is "
    "made available under the Open Database License (ODbL) 1.0, https://opendatacommons.org/licenses/odbl/1-0/",
}


def rows(package: tarfile.TarFile, level: str) -> Iterator[tuple[str, str]]:
    """Code (digits alone) and name of each area of a level."""
    file = package.extractfile(f"package/data/{level}.csv")
    if file is None:
        raise SystemExit(f"{level}.csv is missing")
    width = LEVELS[level][0]
    for row in csv.DictReader(io.TextIOWrapper(file, "utf-8", newline="")):
        code, name = row["code"].replace(".", ""), " ".join(row["name"].split())
        if len(code) != width or not code.isdigit() or not name:
            raise SystemExit(f"{level}: {row!r}")
        yield code, name


def blocks(package: tarfile.TarFile) -> tuple[dict[str, str], dict[str, int]]:
    """The text of each province's block, and how many areas of each level there are."""
    areas: dict[str, str] = {}
    counts = {}
    for level, (_width, mark, shown_from) in LEVELS.items():
        found = {code: mark + code[shown_from:] + name for code, name in rows(package, level)}
        counts[level] = len(found)
        areas.update(found)
    texts: dict[str, str] = {}
    # a shorter code sorts before the longer ones that begin with it
    for code in sorted(areas):
        if len(code) > 4 and code[: {6: 4, 10: 6}[len(code)]] not in areas:
            raise SystemExit(f"{code} lies in no area that is listed")
        texts[code[:2]] = texts.get(code[:2], "") + "\n" + areas[code]
    return texts, counts


def build(texts: dict[str, str], counts: dict[str, int]) -> bytes:
    """The whole file; the same for the same texts and the same zlib."""
    body = b""
    where: dict[str, tuple[int, int]] = {}
    for province, text in sorted(texts.items()):
        packed = zlib.compress(text.encode(), 9)
        where[province] = (len(body), len(packed))
        body += packed
    header = json.dumps({**INFO, "counts": counts, "blocks": where}, separators=(",", ":"))
    return FORMAT + header.encode() + b"\n" + body


def inflate(raw: bytes) -> tuple[dict[str, object], dict[str, str]]:
    """A file's header without offsets, and its texts: what must agree whatever zlib packed it."""
    _format, header, body = raw.split(b"\n", 2)
    fields = json.loads(header)
    texts = {p: zlib.decompress(body[at : at + n]).decode() for p, (at, n) in fields.pop("blocks").items()}
    return fields, texts


def main(arguments: list[str]) -> int:
    """Write the table, or check it; 1 when it differs, 2 for a wrong call."""
    files = [word for word in arguments if word != "--check"]
    if len(files) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    raw = Path(files[0]).read_bytes()
    if hashlib.sha256(raw).hexdigest() != SHA256:
        print(f"{files[0]} is another file than the one this table is made of (sha256 {SHA256})", file=sys.stderr)
        return 2
    with tarfile.open(fileobj=io.BytesIO(raw)) as package:
        texts, counts = blocks(package)
    made = build(texts, counts)
    if "--check" in arguments:
        same = TARGET.exists() and inflate(TARGET.read_bytes()) == inflate(made)
        print("the table is up to date" if same else "the table differs from the package", file=sys.stderr)
        return 0 if same else 1
    TARGET.write_bytes(made)
    print(f"{TARGET}: {len(made)} bytes, {counts}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
