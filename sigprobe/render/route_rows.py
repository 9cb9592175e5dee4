"""Serialize a drive for programs: plain values, CSV, and GeoJSON (RFC 7946). Independent of the language."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sigprobe.record import kinds
from sigprobe.record.result import Location
from sigprobe.render.machine import Dialect, csv_line
from sigprobe.runs.route import Point, Stretch, Summary, pieces

ROUTE_SCHEMA: Final = 1
"""Version of the rows' own shape; additive changes never raise it."""

_PLACE: Final = (
    *("lat", "lon", "alt_m", "accuracy_m", "fix", "satellites", "hdop", "location_source", "fix_age_s"),
    *("location_quality", "location_quality_reasons"),
)
_NETWORK: Final = (
    *("interface", "access", "rat", "registration", "roaming", "rssi_dbm", "rsrp_dbm", "rsrq_db", "sinr_db"),
    *("cell_id", "area_code"),
)
_NUMBERS: Final = ("latency_ms", "loss_ratio", "dns_ms", "http_total_ms", "download_bps", "upload_bps")
_AT_LEAST: Final = {"download_at_least": "download_bps", "upload_at_least": "upload_bps"}
_LATER_NUMBERS: Final = tuple(n.metric for n in kinds.numbers() if n.metric not in _NUMBERS)
"""The other numbers that a profile can grade; they stand behind the first columns, whose order is published."""


def row(drive_id: str, point: Point) -> dict[str, Any]:
    """Return one point as flat values; unknown values are None. Degrees WGS 84, distance from the start in metres."""
    network = point.network
    return {
        "drive_id": drive_id,
        "point": point.number,
        "run_id": point.run_id,
        "started_at": point.at,
        **_place(point.location),
        "distance_m": point.distance_m,
        "service": point.service,
        "grade": point.grade or None,
        **{metric: point.numbers.get(metric) for metric in _NUMBERS},
        **{column: rate in point.at_least if rate in point.numbers else None for column, rate in _AT_LEAST.items()},
        "verdict_owner": point.verdict.owner,
        "verdict_cause": point.verdict.cause,
        "verdict_confidence": point.verdict.confidence,
        "failure_codes": list(point.codes),
        "checks": {check.name: check.outcome for check in point.checks},
        "operator_plmn": network.operator.plmn,
        "operator_name": network.operator.name,
        **{name: getattr(network, name) for name in _NETWORK},
        "data_used_bytes": point.data_used_bytes,
        "saved": point.saved,
        **{metric: point.numbers.get(metric) for metric in _LATER_NUMBERS},
    }


def _place(place: Location | None) -> dict[str, Any]:
    if place is None:
        return dict.fromkeys(_PLACE)
    values = (
        *(round(place.lat, 7), round(place.lon, 7), place.alt_m, place.accuracy_m, place.fix, place.satellites),
        *(place.hdop, place.source, place.fix_age_s, place.quality, list(place.quality_reasons)),
    )
    return dict(zip(_PLACE, values, strict=True))


def summary_values(summary: Summary, ended: str | None) -> dict[str, Any]:
    """Return the totals of a drive. `ended` is its end reason: time, points, data, stopped, storage, files; None during
    it."""
    return {
        "ended": ended,
        "points": summary.points,
        "duration_s": round(summary.seconds, 1),
        "distance_m": summary.distance_m,
        "points_with_service": summary.with_service,
        "points_measured": summary.measured,
        "service_share": None if summary.service_share is None else round(summary.service_share, 4),
        "grades": {grade or "none": count for grade, count in summary.grades.items()},
        "points_without_position": summary.unplaced,
        "gaps": summary.gaps,
        "data_used_bytes": summary.data_used_bytes,
        "worst": None if summary.worst is None else _stretch(summary.worst),
    }


def _stretch(stretch: Stretch) -> dict[str, Any]:
    return {
        "grade": stretch.grade,
        "from_point": stretch.first.number,
        "to_point": stretch.last.number,
        "points": stretch.count,
        "started_at": stretch.first.at,
        "duration_s": round(stretch.seconds, 1),
        "length_m": None if stretch.length_m is None else round(stretch.length_m, 1),
    }


# --- CSV ----------------------------------------------------------------------------------------------------


def csv_header(dialect: Dialect = "plain") -> str:
    """Return the names of the columns, for the first line of a file."""
    return ("\ufeff" if dialect == "excel-id" else "") + csv_line(CSV_COLUMNS, dialect)


def csv_row(drive_id: str, point: Point, dialect: Dialect = "plain") -> str:
    """Format one point as CSV. An empty cell is a null; lists are joined by spaces, checks are `name:outcome`."""
    values = row(drive_id, point)
    return csv_line([_flat(values[name]) for name in CSV_COLUMNS], dialect)


def _flat(value: Any) -> Any:
    if isinstance(value, Mapping):
        return " ".join(f"{name}:{told}" for name, told in value.items())
    if isinstance(value, list):
        return " ".join(map(str, value)) or None
    return value


CSV_COLUMNS: Final = (
    *("drive_id", "point", "run_id", "started_at", *_PLACE, "distance_m", "service", "grade"),
    *(*_NUMBERS, "verdict_owner", "verdict_cause"),
    *("verdict_confidence", "failure_codes", "checks", "operator_plmn", "operator_name", *_NETWORK),
    *("data_used_bytes", "saved", *_AT_LEAST, *_LATER_NUMBERS),
)
"""The columns, in order. New ones are added at the end, never taken away or renamed."""


# --- GeoJSON ------------------------------------------------------------------------------------------------


def feature(drive_id: str, point: Point) -> str:
    """Return one point as a GeoJSON feature; its geometry is null without a known position."""
    values = row(drive_id, point)
    lat, lon = values.pop("lat"), values.pop("lon")
    geometry = None if lat is None else {"type": "Point", "coordinates": [lon, lat]}
    return _json({"type": "Feature", "geometry": geometry, "properties": values})


def geojson(drive_id: str, points: Sequence[Point], features: Sequence[str], summary: Mapping[str, Any]) -> str:
    """Return the whole file: the route in pieces, split at unknown positions, then the points. Longitude comes first.

    `features` are the texts of the points, each built once.
    """
    lines = [
        _json(
            {
                "type": "Feature",
                "geometry": {
                    "type": "LineString",
                    "coordinates": [
                        [round(p.location.lon, 7), round(p.location.lat, 7)] for p in way if p.location is not None
                    ],
                },
                "properties": {"drive_id": drive_id, "from_point": way[0].number, "to_point": way[-1].number},
            }
        )
        for way in pieces(points)
        if len(way) > 1
    ]
    body = ",\n".join([*lines, *features])
    told = _json({"schema": ROUTE_SCHEMA, "drive_id": drive_id, **summary})
    return f'{{"type":"FeatureCollection","sigprobe":{told},"features":[\n{body}\n]}}\n'


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
