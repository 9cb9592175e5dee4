"""Check rules across several keys. They use plain values, so they run even if single keys are wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from sigprobe.config.model import RESERVED_NAMES
from sigprobe.config.problems import Key, shown
from sigprobe.words.i18n import _

Broken = tuple[Key, str, str]
"""The key, what is wrong, what helps."""


def broken(root: dict[str, Any]) -> Iterator[Broken]:
    """Yield every rule between keys that these values break."""
    yield from _probe(root.get("probe"))
    yield from _location(root.get("location"))
    yield from _targets(root.get("targets"))
    upload = root.get("upload")
    yield from _collectors(upload.get("collectors") if isinstance(upload, dict) else None)


def _probe(probe: Any) -> Iterator[Broken]:
    if not isinstance(probe, dict):
        return
    given = [name for name in ("tps_id", "site") if probe.get(name) is not None]
    if len(given) == 2:
        yield ("probe", "site"), _("tps_id and site cannot be used together; keep one of them."), ""
    elif not given and not {"tps_id", "site"} & probe.keys():
        hint = _("For example: {example}").format(example='tps_id: "3273011001005"')
        yield ("probe",), _("needs tps_id, or site where there is no TPS code."), hint
    elif not given:
        name = "tps_id" if "tps_id" in probe else "site"
        value = '"3273011001005"' if name == "tps_id" else '"kpu-kota-bandung"'
        hint = _("For example: {example}").format(example=f"{name}: {value}")
        yield ("probe", name), _("is empty; the probe needs tps_id or site."), hint


def _location(location: Any) -> Iterator[Broken]:
    if not isinstance(location, dict):
        return
    examples = {"fixed": "fixed: {lat: -6.91474, lon: 107.60981}", "nmea": "nmea: /dev/ttyUSB0"}
    source = location.get("source")
    if source in ("fixed", "nmea") and location.get(source) is None:
        message = _("{source} needs the key location.{source} too.").format(source=source)
        yield ("location", "source"), message, _("For example: {example}").format(example=examples[source])


def _targets(targets: Any) -> Iterator[Broken]:
    first: dict[str, int] = {}
    for index, target in enumerate(targets if isinstance(targets, list) else ()):
        name = target.get("name") if isinstance(target, dict) else None
        if not isinstance(name, str):
            continue
        key: Key = ("targets", index, "name")
        if name in RESERVED_NAMES:
            message = _("{value} is a name that sigprobe uses itself; choose another one.")
            yield key, message.format(value=shown(name)), ""
        elif name in first:
            message = _("{value} is already the name of targets[{index}]; each target needs its own.")
            yield key, message.format(value=shown(name), index=first[name]), ""
        first.setdefault(name, index)


def _collectors(collectors: Any) -> Iterator[Broken]:
    first: dict[tuple[str, str, int | None, str], int] = {}
    for index, collector in enumerate(collectors if isinstance(collectors, list) else ()):
        if not isinstance(collector, dict):
            continue
        if collector.get("allow_unchecked_time") is True and collector.get("ca_file") is None:
            key: Key = ("upload", "collectors", index, "allow_unchecked_time")
            yield key, _("is allowed only together with ca_file."), ""
        place = _same(collector.get("url"))
        if place is None:
            continue
        if place in first:
            message = _("this is the same collector as upload.collectors[{index}]; name it once.")
            yield ("upload", "collectors", index, "url"), message.format(index=first[place]), ""
        first.setdefault(place, index)


def _same(url: Any) -> tuple[str, str, int | None, str] | None:
    """Return what makes two spellings of one address the same."""
    if not isinstance(url, str):
        return None
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        return None
    return parts.scheme, (parts.hostname or "").rstrip("."), port, parts.path.rstrip("/")
