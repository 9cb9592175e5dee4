"""Train the dictionary with which PostgreSQL's lines are compressed, from records of real tests.

    python tools/line_dictionary.py sigprobe/collector/store/dictionaries/NAME.zdict

A collector and a resolver on loopback are tested with every kind of check; then the tags are varied over what modems,
GPS receivers and operators report. A dictionary is never changed once a release holds it: its number stands in every
line that was compressed with it. Train a new file, and name it in `store/line_packing.py` as the one in use.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zstandard

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from sigprobe.record.result import new_id  # noqa: E402
from sigprobe.words.codes import CODES  # noqa: E402
from tests.support.real_lines import real_lines  # noqa: E402

SIZE = 16 * 1024
CONFIG = """probe: {{tps_id: "3273011001005"}}
location: {{source: fixed, fixed: {{lat: -6.91474, lon: 107.60981}}}}
buffer: {{path: "{folder}/buffer.db"}}
verdict: {{references: ["127.0.0.3"]}}
targets:
  - {{kind: ping, name: gateway, address: 127.0.0.2, count: 10, interval_ms: 50}}
  - {{kind: dns, name: kpu, hostname: kpu.go.id, resolvers: ["127.0.0.1"], timeout_ms: 1000}}
  - {{kind: http, name: sirekap, url: "{url}healthz"}}
  - {{kind: http, name: closed, url: "http://127.0.0.1:9/"}}
  - {{kind: throughput, name: center, url: "{url}", max_mb: 10, max_s: 3}}
  - {{kind: web, name: sirekap-page, url: "{url}login", max_mb: 2}}
  - {{kind: video, name: center-video, url: "{url}", media_s: 4, max_mb: 4}}
"""
"""Every kind of check. Port 9 refuses and nothing resolves names there, so failures are among the records."""


def varied(records: list[dict[str, Any]], count: int) -> Iterator[bytes]:
    """Yield lines of these records as other devices in other places would write them."""
    rng = random.Random(2026)
    operators = [
        ("51010", "Telkomsel"),
        ("51011", "XL"),
        ("51001", "Indosat Ooredoo Hutchison"),
        ("51009", "Smartfren"),
    ]
    for number in range(count):
        record = json.loads(json.dumps(records[number % len(records)]))
        for key in ("id", "run_id", "probe_id", "stream_id", "boot_id"):
            record[key] = new_id()
        record["seq"] = rng.randrange(1, 90_000)
        record["started_at"] = (
            f"2029-02-14T{rng.randrange(24):02d}:{rng.randrange(60):02d}:01.{rng.randrange(999):03d}Z"
        )
        tags = record["tags"]
        tags["tps_id"] = f"{rng.choice((31, 32, 33, 35, 64, 73))}{rng.randrange(10**11):011d}"
        plmn, name = rng.choice(operators)
        network = tags.get("network")
        if network is not None:
            network["operator"] = {"plmn": rng.choice((None, plmn)), "name": name}
            if rng.random() < 0.6:
                network |= {
                    "interface": rng.choice(("wwan0", "wlan0", "usb0")),
                    "access": "mobile",
                    "rat": rng.choice(("lte", "nr-nsa", "umts")),
                    "registration": "home",
                    "roaming": False,
                    "rsrp_dbm": -rng.randrange(70, 130),
                    "rsrq_db": -rng.randrange(3, 20),
                    "sinr_db": rng.randrange(-5, 30),
                    "rssi_dbm": -rng.randrange(50, 110),
                    "cell_id": str(rng.randrange(10**8)),
                }
        place = tags.get("location")
        if place is not None:
            place |= {"lat": round(rng.uniform(-10, 5), 5), "lon": round(rng.uniform(95, 140), 5)}
            if rng.random() < 0.5:
                place |= {"source": "gpsd", "fix": "3d", "satellites": rng.randrange(4, 14), "hdop": 1.1}
                place |= {"alt_m": 712.5, "accuracy_m": 8.4, "fix_age_s": 0.4, "quality": "good", "quality_reasons": []}
        if rng.random() < 0.3 and record["kind"] != "run":
            record["outcome"] = rng.choice(("failed", "degraded"))
            record["failure"] = {"code": rng.choice(sorted(CODES)), "detail": None}
        yield json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode()


def main() -> int:
    """Train, write, and say what it brings on records that were not part of the training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    given = parser.parse_args()
    if given.file.exists():
        parser.error(f"{given.file} exists: lines may have been compressed with it")
    records = [json.loads(line) for line in real_lines(CONFIG, 4)]
    print(f"{len(records)} records of kinds {sorted({record['kind'] for record in records})}")
    *learnt, last = (list(varied(records, 600)) for _ in range(6))
    dictionary = zstandard.train_dictionary(SIZE, [line for part in learnt for line in part])
    given.file.parent.mkdir(parents=True, exist_ok=True)
    given.file.write_bytes(dictionary.as_bytes())
    packer = zstandard.ZstdCompressor(level=3, dict_data=dictionary)
    packed = [packer.compress(line) for line in last]
    print(f"number {dictionary.dict_id()}; {sum(map(len, packed)) / sum(map(len, last)):.3f} of a line is left")
    return 0


if __name__ == "__main__":
    sys.exit(main())
