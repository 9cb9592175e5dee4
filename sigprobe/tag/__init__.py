"""Tag results with identity, position, time, network and operator."""

from __future__ import annotations

from dataclasses import replace

from sigprobe.record.result import Location, Tags
from sigprobe.tag.clock import read_clock
from sigprobe.tag.modem import ModemReader, configured_operator
from sigprobe.tag.network import read_network


def read_tags(
    *,
    tps_id: str | None,
    election_id: str | None = None,
    site: str | None = None,
    operator: str | None = None,
    modem: ModemReader | None = None,
) -> Tags:
    """Return the current tags, without `location`. Reads a few files of the kernel; sends nothing.

    `tps_id` is the result of `tps.parse_tps`. `operator` is from the settings or `--operator`, used if `modem` reports
    none.
    """
    network = read_network(configured_operator(operator))
    return Tags(
        tps_id=tps_id,
        election_id=election_id,
        site=site,
        network=network if modem is None else modem.network(network),
        clock=read_clock(),
    )


def with_location(tags: Tags, location: Location | None) -> Tags:
    """Return the same tags with the present position."""
    return replace(tags, location=location)
