"""Serialize records for programs: a JSON document, NDJSON lines, and flat CSV. Independent of the language.

Records are used as stored, so a program reads the same bytes as the collector.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal

from sigprobe.record import kinds
from sigprobe.record.result import is_at_least
from sigprobe.verdict import Verdict

DOCUMENT_SCHEMA: Final = 1
"""Version of the document's own shape; additive changes never raise it."""

Record = bytes | Mapping[str, Any]
Dialect = Literal["plain", "excel-id"]


def document(
    *,
    run_id: str,
    verdict: Verdict,
    results: Sequence[Record],
    data_used_bytes: int,
    saved: int,
    pending: int,
) -> dict[str, Any]:
    """Return the output of `test --json`. `results` are the stored records without the run record, in config order.

    `saved` and `pending` count records, the run record included.
    """
    return {
        "schema": DOCUMENT_SCHEMA,
        "run_id": run_id,
        "verdict": verdict.to_dict(),
        "results": [as_dict(record) for record in results],
        "data_used_bytes": data_used_bytes,
        "saved": saved,
        "pending": pending,
    }


def as_dict(record: Record) -> dict[str, Any]:
    """Return a stored line, or its parsed form, as a dict."""
    if isinstance(record, bytes):
        parsed = json.loads(record)
        if not isinstance(parsed, dict):
            raise ValueError("a record must be a JSON object")  # noqa: TRY004 - it is the bytes that are wrong
        return parsed
    return dict(record)


def json_text(value: Any) -> str:
    """Return a JSON document for stdout: indent of two, one line end, ASCII only, for every console."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, indent=2) + "\n"


def ndjson(line: bytes) -> bytes:
    """Return one stored record as a line: its bytes unchanged, and a line end."""
    return line + b"\n"


# --- CSV ----------------------------------------------------------------------------------------------------

_ENVELOPE: Final[Mapping[str, tuple[str, ...]]] = {
    "id": ("id",),
    "run_id": ("run_id",),
    "probe_id": ("probe_id",),
    "stream_id": ("stream_id",),
    "seq": ("seq",),
    "kind": ("kind",),
    "target": ("target", "name"),
    "address": ("target", "address"),
    "address_used": ("target", "address_used"),
    "started_at": ("started_at",),
    "duration_ms": ("duration_ms",),
    "outcome": ("outcome",),
    "failure_code": ("failure", "code"),
    "failure_detail": ("failure", "detail"),
    "tps_id": ("tags", "tps_id"),
    "election_id": ("tags", "election_id"),
    "site": ("tags", "site"),
    "lat": ("tags", "location", "lat"),
    "lon": ("tags", "location", "lon"),
    "alt_m": ("tags", "location", "alt_m"),
    "accuracy_m": ("tags", "location", "accuracy_m"),
    "fix": ("tags", "location", "fix"),
    "location_source": ("tags", "location", "source"),
    "fix_age_s": ("tags", "location", "fix_age_s"),
    "location_quality": ("tags", "location", "quality"),
    "interface": ("tags", "network", "interface"),
    "access": ("tags", "network", "access"),
    "family": ("tags", "network", "family"),
    "gateway": ("tags", "network", "gateway"),
    "operator_plmn": ("tags", "network", "operator", "plmn"),
    "operator_name": ("tags", "network", "operator", "name"),
    "rat": ("tags", "network", "rat"),
    "registration": ("tags", "network", "registration"),
    "roaming": ("tags", "network", "roaming"),
    "rssi_dbm": ("tags", "network", "rssi_dbm"),
    "rsrp_dbm": ("tags", "network", "rsrp_dbm"),
    "rsrq_db": ("tags", "network", "rsrq_db"),
    "sinr_db": ("tags", "network", "sinr_db"),
    "cell_id": ("tags", "network", "cell_id"),
    "area_code": ("tags", "network", "area_code"),
    "clock_synced": ("tags", "clock", "synced"),
    "software_version": ("software", "version"),
}
_DATA: Final = tuple(dict.fromkeys(name for kind in kinds.KINDS.values() for name in kind.columns))
_VERDICT: Final[Mapping[str, tuple[str, ...]]] = {
    "verdict_owner": ("data", "verdict", "owner"),
    "verdict_cause": ("data", "verdict", "cause"),
    "verdict_confidence": ("data", "verdict", "confidence"),
}
_PATHS: Final[Mapping[str, tuple[str, ...]]] = {
    **_ENVELOPE,
    **{name: ("data", name) for name in _DATA},
    **_VERDICT,
}
_LATER: Final = {column.name: column for kind in kinds.KINDS.values() for column in kind.later_columns}
CSV_COLUMNS: Final = (*_PATHS, *_LATER, "data_json")
"""The columns, in order. New ones are added before `data_json`, never taken away or renamed.

Each is the field of the same name in the record; `target` and `address` are the target's, `location_…`, `clock_…`,
`operator_…`, `software_…` and `verdict_…` the parts of those objects. An empty cell is a null. `data_json` is the
whole `data` as JSON, so that nothing is lost. `answers_compared` is the comparison of resolvers in one word, with the
system's answer and the others' beside it. `…_at_least` is true where the rate is only a lower bound: the test ended
before it knew the link's own. `…_p10_bps` and `…_p90_bps` are percentiles of the rates of single seconds.
"""


_LOOKS_LIKE_NUMBER: Final = re.compile(r"[0-9][0-9.,]*([eE][+-]?[0-9]+)?|[0-9]{1,4}[-/][0-9]{1,2}([-/][0-9]{1,4})?")
"""Text that Excel reads as a number or a date: `3273011001005` becomes 3,27E+12 and `007` becomes 7 otherwise."""


def csv_rows(records: Iterable[Record], dialect: Dialect = "plain", *, header: bool = True) -> Iterator[str]:
    """Yield the records as CSV text, one piece per record, the header first; lines end in CR LF (RFC 4180).

    `excel-id` opens by double click in Excel with Indonesian settings: a BOM, `;`, a decimal comma. Text that looks
    like a number becomes `="…"`, so that TPS numbers stay whole.
    """
    excel = dialect == "excel-id"
    if header:
        yield ("\ufeff" if excel else "") + _csv_line(CSV_COLUMNS, excel)
    for record in records:
        yield _csv_line(_cells(as_dict(record), excel), excel)


def _cells(record: Mapping[str, Any], excel: bool) -> Iterator[str]:
    for path in _PATHS.values():
        yield _cell(_at(record, path), excel)
    data = record.get("data")
    for column in _LATER.values():
        value = _at(data, column.path)
        # a record of another version may hold anything here
        if column.at_least and isinstance(data, Mapping) and value is not None:
            value = is_at_least(data, column.path[0])
        yield _cell(value, excel)
    yield json.dumps(record.get("data"), ensure_ascii=False, separators=(",", ":"))


def _at(record: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        record = record.get(name) if isinstance(record, Mapping) else None
    return record


def _cell(value: Any, excel: bool) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        text = repr(value)
        return text.replace(".", ",") if excel else text
    if isinstance(value, str):
        return f'="{value}"' if excel and _LOOKS_LIKE_NUMBER.fullmatch(value) else guarded(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def guarded(text: str) -> str:
    """Text that a spreadsheet would run as a formula gets a leading apostrophe; numbers are never text here."""
    formula = text.lstrip()[:1] in ("=", "+", "-", "@") or text[:1] in ("\t", "\r", "\n")
    return f"'{text}" if formula else text


def csv_line(values: Iterable[Any], dialect: Dialect = "plain") -> str:
    """Format values as one line of CSV, as in `csv_rows`: null is empty, formulas are escaped."""
    excel = dialect == "excel-id"
    return _csv_line((_cell(value, excel) for value in values), excel)


def _csv_line(cells: Iterable[str], excel: bool) -> str:
    out = io.StringIO()
    csv.writer(out, delimiter=";" if excel else ",", lineterminator="\r\n").writerow(cells)
    return out.getvalue()
