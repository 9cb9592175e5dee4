"""Read operator, radio and cell from ModemManager; else use the configured operator.

Properties are read by name. The numbers of the equipment, the SIM card and the owner are never read.
"""

from __future__ import annotations

import logging
import math
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sigprobe import places
from sigprobe.record.result import Network, Operator
from sigprobe.tag.bus import Bus, BusError, system_bus

SERVICE: Final = "org.freedesktop.ModemManager1"
ROOT: Final = "/org/freedesktop/ModemManager1"
MODEM: Final = SERVICE + ".Modem"
GPP: Final = MODEM + ".Modem3gpp"
SIGNAL: Final = MODEM + ".Signal"
LOCATION: Final = MODEM + ".Location"
BEARER: Final = SERVICE + ".Bearer"

SIGNAL_RATE_S: Final = 5
POLL_S: Final = 2.0
FIRST_S: Final = 0.3
"""How long a run may wait, once, for the first word of a modem; where there is no ModemManager it takes 10 ms."""

SOURCE_CELL: Final = 1 << 0
"""ModemManager's location source of the cell and area code; `modemplace` has those of satellites."""

_PORT_NET: Final = 2
_REGISTRATION: Final = (
    *("idle", "home", "searching", "denied", "unknown", "roaming", "home_sms_only", "roaming_sms_only"),
    *("emergency_only", "home_csfb_not_preferred", "roaming_csfb_not_preferred", "attached_rlos"),
)
_REGISTERED: Final = frozenset({"home", "roaming", "home_csfb_not_preferred", "roaming_csfb_not_preferred"})
# bit of MMModemAccessTechnology, the newest first: a modem on two at once is as good as the newer
_RATS: Final = (
    *((15, "nr"), (14, "lte"), (16, "lte-m"), (17, "nb-iot"), (9, "hspa+"), (8, "hspa"), (7, "hsupa"), (6, "hsdpa")),
    *((5, "umts"), (4, "edge"), (3, "gprs"), (2, "gsm"), (1, "gsm"), (13, "evdo"), (12, "evdo"), (11, "evdo")),
    (10, "1xrtt"),
)
_TABLES: Final = {"nr": ("Nr5g", "Lte"), "lte": ("Lte",), "lte-m": ("Lte",), "nb-iot": ("Lte",)}
_WIDE: Final = frozenset({"umts", "hsdpa", "hsupa", "hspa", "hspa+"})
_SEARCHING_STATE: Final = 7

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Radio:
    """State of one modem. `interfaces` are its network ports and those of its connections."""

    path: str
    interfaces: frozenset[str] = frozenset()
    connected: bool = False
    operator: Operator = field(default_factory=Operator)
    rat: str | None = None
    registration: str | None = None
    roaming: bool | None = None
    rssi_dbm: float | None = None
    rsrp_dbm: float | None = None
    rsrq_db: float | None = None
    sinr_db: float | None = None
    cell_id: str | None = None
    area_code: str | None = None

    @property
    def registered(self) -> bool:
        """Return whether the modem is registered on a network."""
        return self.registration in _REGISTERED


def configured_operator(text: str | None) -> Operator:
    """Parse `probe.operator` or `--operator`: PLMN digits or a name; empty fields without either."""
    found = places.operator(text)
    return Operator() if found is None else Operator(plmn=found.plmn, name=found.name)


# --- which modem --------------------------------------------------------------------------------------------


def choose(radios: Iterable[Radio], interface: str | None) -> Radio | None:
    """Choose the modem that carries `interface`, else a connected one, else a registered one, else any; None without
    one."""
    return min(
        radios,
        key=lambda r: (interface not in r.interfaces, not r.connected, not r.registered, r.path),
        default=None,
    )


def on_link(network: Network, radio: Radio | None) -> Network:
    """Add the modem's data to the network tag, if the link in use is the modem's.

    A modem that is idle beside a Wi-Fi or cable link says nothing about that link. Its operator must not be named for
    it.
    """
    if radio is None:
        return network
    if network.interface not in radio.interfaces and network.access in ("wifi", "ethernet"):
        return network
    carried = network.interface in radio.interfaces
    told = radio.operator
    named = network.operator
    return replace(
        network,
        access="cellular" if carried else network.access,
        operator=told if told.plmn or told.name else named,
        rat=radio.rat,
        registration=radio.registration,
        roaming=radio.roaming,
        rssi_dbm=radio.rssi_dbm,
        rsrp_dbm=radio.rsrp_dbm,
        rsrq_db=radio.rsrq_db,
        sinr_db=radio.sinr_db,
        cell_id=radio.cell_id,
        area_code=radio.area_code,
    )


@dataclass(frozen=True, slots=True)
class Choice:
    """Modem in use among several, and the network ports of the others."""

    used: Radio
    others: tuple[str, ...]


def choice(radios: Sequence[Radio], network: Network) -> Choice | None:
    """If there are several modems, return the one whose interface this link uses; else None."""
    used = choose(radios, network.interface)
    carried = used is not None and network.interface in used.interfaces
    if used is None or len(radios) < 2 or (network.access in ("wifi", "ethernet") and not carried):
        return None
    return Choice(used, tuple(name for radio in radios if radio is not used for name in sorted(radio.interfaces)))


# --- ModemManager -------------------------------------------------------------------------------------------


def read_radios(bus: Bus) -> list[Radio]:
    """Return every modem of ModemManager; empty when it does not run. Requests signal values. Raises BusError."""
    return [_radio(bus, path, interfaces) for path, interfaces in modems(bus)]


def modems(bus: Bus) -> list[tuple[str, Mapping[str, Any]]]:
    """Return path and interfaces with properties of each modem; empty when ModemManager does not run."""
    if not bus.has(SERVICE):
        return []
    told = bus.call(SERVICE, ROOT, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
    found = told if isinstance(told, dict) else {}
    return [(p, i) for p, i in sorted(found.items()) if isinstance(i, dict) and isinstance(i.get(MODEM), dict)]


def _radio(bus: Bus, path: str, interfaces: Mapping[str, Any]) -> Radio:
    modem, network = interfaces[MODEM], _group(interfaces, GPP)
    rat = _rat(modem.get("AccessTechnologies"))
    registration = _registration(network.get("RegistrationState"), modem.get("State"))
    names, connected = _bearers(bus, modem.get("Bearers"))
    cell_id, area_code = _cell(bus, path, interfaces)
    registered = registration in _REGISTERED
    return Radio(
        path=path,
        interfaces=frozenset({*names, *_ports(modem.get("Ports"))}),
        connected=connected,
        operator=_operator(network) if registered else Operator(),
        rat=rat if registered else None,
        registration=registration,
        roaming=registration.startswith("roaming") if registration is not None and registered else None,
        cell_id=cell_id if registered else None,
        area_code=area_code if registered else None,
        **_signal(bus, path, _group(interfaces, SIGNAL), rat),
    )


def _group(interfaces: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    group = interfaces.get(name)
    return group if isinstance(group, dict) else {}


def _operator(network: Mapping[str, Any]) -> Operator:
    code, name = network.get("OperatorCode"), network.get("OperatorName")
    plmn = code if isinstance(code, str) and re.fullmatch(r"[0-9]{5,6}", code) else None
    known = places.operator(plmn)
    if known is not None and known.name is not None:
        return Operator(plmn, known.name)
    text = " ".join(name.split())[:64] if isinstance(name, str) else ""
    return Operator(plmn, text if text and text != plmn else None)


def _rat(bits: object) -> str | None:
    if not isinstance(bits, int) or bits < 0 or bits == 0xFFFFFFFF:
        return None
    return next((name for bit, name in _RATS if bits >> bit & 1), None)


def _registration(state: object, modem_state: object) -> str | None:
    if isinstance(state, int) and not isinstance(state, bool) and 0 <= state < len(_REGISTRATION):
        return _REGISTRATION[state]
    if not isinstance(modem_state, int):
        return None
    if modem_state == _SEARCHING_STATE:
        return "searching"
    return "unknown" if modem_state > _SEARCHING_STATE else None


def _ports(ports: object) -> list[str]:
    pairs = ports if isinstance(ports, list) else []
    good = (p for p in pairs if isinstance(p, tuple) and len(p) == 2 and isinstance(p[0], str))
    return [name for name, kind in good if kind == _PORT_NET]


def _bearers(bus: Bus, paths: object) -> tuple[list[str], bool]:
    """Return the interfaces of a modem's connections, and whether one of them is up."""
    names: list[str] = []
    connected = False
    for path in paths if isinstance(paths, list) else []:
        try:
            up = bus.get(SERVICE, path, BEARER, "Connected") is True
            name = bus.get(SERVICE, path, BEARER, "Interface")
        except BusError:
            continue  # a connection that ended meanwhile
        connected = connected or up
        if isinstance(name, str) and name:
            names.append(name)
    return names, connected


def _signal(bus: Bus, path: str, group: Mapping[str, Any], rat: str | None) -> dict[str, float | None]:
    """Return the signal of the technology in use. ModemManager measures none until an interval is set."""
    if group and group.get("Rate") in (0, None):
        try:
            bus.call(SERVICE, path, SIGNAL, "Setup", "u", SIGNAL_RATE_S)
        except BusError as error:
            _log.debug("no signal values: %s", error)
    wanted = _TABLES.get(rat or "", ("Umts", "Gsm") if rat in _WIDE else ("Gsm", "Umts") if rat else ())
    tables = [_group(group, name) for name in (*wanted, "Nr5g", "Lte", "Umts", "Gsm")]
    table = next((t for t in tables if any(_decibels(v, -200, 60) is not None for v in t.values())), {})
    return {
        "rssi_dbm": _decibels(table.get("rssi"), -150, -10),
        "rsrp_dbm": _decibels(table.get("rsrp"), -160, -20),
        "rsrq_db": _decibels(table.get("rsrq"), -50, 25),
        "sinr_db": _decibels(table.get("snr"), -40, 60),
    }


def _decibels(value: object, low: float, high: float) -> float | None:
    """Return a value within the measurable range; ModemManager encodes unknown as a huge negative number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return round(float(value), 1) if low <= value <= high else None


def _cell(bus: Bus, path: str, interfaces: Mapping[str, Any]) -> tuple[str | None, str | None]:
    if not _group(interfaces, LOCATION):
        return None, None
    try:
        told = bus.call(SERVICE, path, LOCATION, "GetLocation")
    except BusError as error:
        _log.debug("no cell: %s", error)
        return None, None
    return cell(told.get(SOURCE_CELL) if isinstance(told, dict) else None)


def cell(text: object) -> tuple[str | None, str | None]:
    """Parse cell id and area code from ModemManager's `MCC,MNC,LAC,CI,TAC` with hexadecimal codes."""
    parts = text.split(",") if isinstance(text, str) else []
    if len(parts) < 4 or not all(re.fullmatch(r"[0-9A-Fa-f]{0,16}", part) for part in parts[2:5]):
        return None, None
    codes = [int(part or "0", 16) for part in (*parts[2:5], "0")][:3]
    # an LTE cell has a tracking area, and the location area is then all ones
    area = next((code for code in (codes[2], codes[0]) if code not in (0, 0xFFFE, 0xFFFF, 0xFFFFFF)), None)
    known = codes[1] not in (0, 0xFFFF, 0x0FFFFFFF, 0xFFFFFFFF)
    return str(codes[1]) if known else None, None if area is None else str(area)


# --- in the background --------------------------------------------------------------------------------------


class ModemReader:
    """Last state of the modems. Reading begins at once, in a daemon thread, and ends with `close`."""

    def __init__(
        self,
        connect: Callable[[], AbstractContextManager[Bus]] = system_bus,
        *,
        poll_s: float = POLL_S,
    ) -> None:
        self.problem: str | None = None
        self._connect = connect
        self._poll_s = poll_s
        self._radios: tuple[Radio, ...] = ()
        self._asked = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, name="modem", daemon=True)
        self._thread.start()

    def radios(self) -> tuple[Radio, ...]:
        """Return every modem's state, at most `POLL_S` and one query old; empty if it is unavailable."""
        return self._radios

    def network(self, network: Network) -> Network:
        """Return the tag of the link in use, with its modem's data. Does not block."""
        return on_link(network, choose(self._radios, network.interface))

    def choice(self, network: Network) -> Choice | None:
        """If there are several modems, return the one whose interface this link uses."""
        return choice(self._radios, network)

    def wait(self, timeout_s: float = FIRST_S) -> bool:
        """Wait until ModemManager was queried once; False after the timeout."""
        return self._asked.wait(timeout_s)

    def close(self) -> None:
        """Stop reading; the data read so far stays available."""
        self._stop.set()
        self._thread.join(2.0)

    def __enter__(self) -> ModemReader:
        """Return itself; reading has begun already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop reading."""
        self.close()

    def _read(self) -> None:
        while not self._stop.is_set():
            try:
                with self._connect() as bus:
                    while not self._stop.is_set():
                        self._radios = tuple(read_radios(bus))
                        self.problem = None if self._radios else "there is no modem"
                        self._asked.set()
                        self._stop.wait(self._poll_s)
            except BusError as error:
                self._radios, self.problem = (), str(error)
            except Exception as error:  # noqa: BLE001 - values of types nobody expects must not cost the reader
                _log.debug("modem: %r", error)
                self._radios, self.problem = (), f"{type(error).__name__}: {error}"
            self._asked.set()
            self._stop.wait(self._poll_s)
