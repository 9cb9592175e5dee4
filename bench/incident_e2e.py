"""Send the results of many devices over HTTP into a collector, with an outage in them, and see what it finds.

    python bench/incident_e2e.py [--streams 200] [--hours 2] [--database URL]

The devices' runs are real records, sent by real requests to a served collector with one token a device. Time is
injected: the hours pass as fast as the machine can. The clocks of the collector and of its worker follow the devices'.
Prints what was found beside the truth, and exits 1 when something is missing, wrong or too much. Without `--database`
it uses SQLite in a temporary directory; a PostgreSQL database must be empty.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.incident_rehearsal import rehearse


def main() -> int:
    """Run it once and print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--database", default=None, help="an empty PostgreSQL database; default: a new SQLite file")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sigprobe-e2e-") as folder:
        seen = rehearse(told.database or f"sqlite:///{folder}/collector.db", told.streams, told.hours)
    print(f"{seen.requests} requests, {seen.records} records in {seen.took_s:.0f} s")
    for line in seen.told:
        print(line)
    faults = seen.faults()
    for fault in faults:
        print(f"FAULT: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
