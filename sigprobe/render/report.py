"""Build the report for a ticket: one HTML file that opens without a network, and the same as JSON.

All content is from stored records. Names and server answers are untrusted and are escaped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sigprobe.record.kinds import Way, way
from sigprobe.render import words
from sigprobe.render.html_page import facts, page, safe, section, table
from sigprobe.render.route_map import Spot, svg
from sigprobe.render.run_table import rows
from sigprobe.render.screen import advice_of, gps_text, header_parts, headline_of, identity, operator_text, sentences
from sigprobe.render.view import RunView
from sigprobe.words.i18n import _, clock_text, number, size

REPORT_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Evidence:
    """Stored lines of the run, in queue order, and earlier runs at the same place for comparison."""

    lines: Sequence[bytes]
    earlier: Sequence[RunView]

    def digest(self) -> str:
        """Return the SHA-256 over the stored lines, each with a line end. It lets a reader with the lines verify the
        report."""
        return hashlib.sha256(b"".join(line + b"\n" for line in self.lines)).hexdigest()


def report_json(view: RunView, evidence: Evidence) -> dict[str, Any]:
    """Return the report for programs: the verdict, and every record as stored."""
    return {
        "report": REPORT_VERSION,
        "verdict": view.verdict.to_dict(),
        "data_used_bytes": view.data_used_bytes,
        "records": [json.loads(line) for line in evidence.lines],
        "record_sha256": [hashlib.sha256(line).hexdigest() for line in evidence.lines],
        "sha256": evidence.digest(),
    }


def report_html(view: RunView, evidence: Evidence) -> str:
    """Return the report for people, as one file: style inside, no script, no requests."""
    title = _("Network report: {who}").format(who=identity(view.tags))
    body = "".join(
        [
            f"<h1>{safe(title)}</h1><p>{safe(' · '.join(header_parts(view)))}</p>",
            _verdict(view),
            section(_("Measurements"), _measurements(view)),
            section(_("Network path from this device"), _path(view)),
            section(_("Earlier tests here"), _earlier(evidence.earlier)),
            section(_("Signal"), facts(_signal(view))),
            section(_("Place"), _place(view)),
            section(_("Clock"), facts(_clock(view))),
            section(_("Evidence"), _records(view, evidence)),
        ]
    )
    return page(title, body)


def _verdict(view: RunView) -> str:
    told = [f"<b>{safe(headline_of(view))}</b>"]
    if advice_of(view):
        told.append(safe(advice_of(view)))
    told += [safe(text) for text, _code in sentences(view)]
    owner = _("Responsible: {owner}").format(owner=owner_word(view.verdict.owner))
    sure = _("Confidence: {percent} %").format(percent=number(view.verdict.confidence * 100))
    told.append(f"{safe(owner)}. {safe(sure)}. {safe(words.screen_code(view.verdict.cause))}")
    return f'<div class="verdict">{"<br>".join(told)}</div>'


def owner_word(owner: str) -> str:
    """Return the responsible party in words."""
    known = {
        "none": _("nobody"),
        "local": _("this location (device, cable, data package)"),
        "operator": _("the operator"),
        "service": _("the service operator"),
        "collector": _("the collector's administrator"),
        "uncertain": _("uncertain"),
    }
    return known.get(owner, owner)


def _measurements(view: RunView) -> str:
    body = [(row.label, row.value, row.word, " ".join(row.notes)) for row in rows(view)]
    rated = table((_("Metric"), _("Value"), _("Quality"), ""), body)
    if view.profile is None:
        return rated
    basis = _("Grades by the thresholds {name} of {date}; our own assessment, not a regulation.").format(
        name=view.profile.name, date=view.profile.version
    )
    return f"{rated}<p>{safe(basis)}</p>"


def _path(view: RunView) -> str:
    data: Mapping[str, Any] = next((r.data for r in view.results if way(r.kind) is Way.WALK), {})
    steps: list[tuple[str, str, str]] = []
    if data.get("interface"):
        steps.append((_("Interface"), str(data["interface"]), str(data.get("ipv4") or data.get("ipv6") or "")))
    gateway = data.get("gateway")
    if isinstance(gateway, dict):
        steps.append((_("Gateway"), str(gateway.get("address")), _answer(gateway)))
    groups = ((_("DNS server"), "resolvers"), (_("Reference"), "references"), (_("Target"), "targets"))
    steps += [(_("Hop"), str(h.get("address")), _ms(h.get("rtt_ms"))) for h in _dicts(data.get("hops"))]
    for title, key in groups:
        steps += [(title, str(point.get("address")), _answer(point)) for point in _dicts(data.get(key))]
    for point in _dicts(data.get("collectors")):
        failure = point.get("failure")
        steps.append((_("Collector"), f"{point.get('host')}:{point.get('port')}", _failed(failure)))
    return table((_("Step"), _("Address"), _("Answer")), steps)


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _answer(point: Mapping[str, Any]) -> str:
    if point.get("answers"):
        return _ms(point.get("rtt_median_ms") or point.get("tcp_ms")) or _("answers")
    return _failed(point.get("failure") or "no_reply")


def _failed(code: Any) -> str:
    return _("answers") if code is None else f"{_('no answer')} {words.screen_code(str(code))}"


def _ms(value: Any) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{number(value, 1)} ms" if is_number else ""


def _earlier(views: Sequence[RunView]) -> str:
    body = []
    for view in views:
        values = [f"{row.label} {row.value}" for row in rows(view) if row.value]
        body.append((clock_text(view.started_at, view.zone), headline_of(view), ", ".join(values[:5])))
    return table((_("Time"), _("Result"), _("Values")), body)


def _signal(view: RunView) -> list[tuple[str, str]]:
    network = view.tags.network
    numbers = (
        ("RSRP", network.rsrp_dbm, "dBm"),
        ("RSRQ", network.rsrq_db, "dB"),
        ("SINR", network.sinr_db, "dB"),
        ("RSSI", network.rssi_dbm, "dBm"),
    )
    return [
        (_("Operator"), " ".join(p for p in (operator_text(view.tags), network.operator.plmn or "") if p)),
        *((name, f"{number(value)} {unit}" if value is not None else "") for name, value, unit in numbers),
        (_("Registration"), network.registration or ""),
        (_("Cell"), " ".join(p for p in (network.area_code, network.cell_id) if p)),
        (_("Interface"), " ".join(p for p in (network.interface, network.access, network.family) if p)),
    ]


def _place(view: RunView) -> str:
    told = f"<p>{safe(gps_text(view))}</p>"
    place = view.tags.location
    if place is None:
        return told
    spot = Spot(place.lat, place.lon, "bad" if view.verdict.owner not in ("none", "uncertain") else "", "")
    reasons = ", ".join(place.quality_reasons)
    quality = facts([(_("Position quality"), " ".join(p for p in (place.quality, reasons) if p))])
    return told + quality + svg([spot], whole=True, title=_("Location of the test"))


def _clock(view: RunView) -> list[tuple[str, str]]:
    clock = view.tags.clock
    known = {True: _("yes"), False: _("no"), None: _("unknown")}
    offset = ""
    if clock.offset_est_ms is not None:
        offset = f"{number(clock.offset_est_ms / 1000, 1)} s"
        if clock.offset_err_ms is not None:
            offset += f" (± {number(clock.offset_err_ms / 1000, 1)} s)"
    return [
        (_("Set by the network"), known[clock.synced]),
        (_("Difference from the collector"), offset or _("unknown")),
    ]


def _records(view: RunView, evidence: Evidence) -> str:
    names = [
        (str(record.get("seq")), str(record.get("kind")), str(_target(record)), str(record.get("id")))
        for record in (json.loads(line) for line in evidence.lines)
    ]
    known = facts(
        [
            (_("Run"), str(json.loads(evidence.lines[0]).get("run_id")) if evidence.lines else ""),
            (_("Probe"), str(json.loads(evidence.lines[0]).get("probe_id")) if evidence.lines else ""),
            (_("Data used"), size(view.data_used_bytes)),
            (_("SHA-256 of the records"), evidence.digest()),
        ]
    )
    note = _("The hash shows that the records were not changed later, not that they were measured honestly.")
    return f"{known}<p>{safe(note)}</p>" + table((_("No."), _("Check"), _("Target"), "id"), names)


def _target(record: Mapping[str, Any]) -> Any:
    target = record.get("target")
    return target.get("name") if isinstance(target, dict) else ""
