"""Simulate ModemManager on a private bus: the parts that sigprobe reads, and values that it must not read."""

from __future__ import annotations

import select
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jeepney
from jeepney.io.blocking import open_dbus_connection

from tests.support.survivors import end

SERVICE = "org.freedesktop.ModemManager1"
MODEM = SERVICE + ".Modem"
CANARIES = ("490154203237518", "510109876543210", "8962101234567890123", "+6281234567890")
"""An IMEI, an IMSI, an ICCID and a phone number, where ModemManager has them."""

Variant = tuple[str, Any]


def modem(
    number: int = 0,
    *,
    interface: str = "wwan0",
    registration: int = 1,
    state: int = 11,
    rat: int = 1 << 14,
    plmn: str = "51010",
    name: str = "TELKOMSEL",
    rate: int = 5,
    lte: dict[str, float] | None = None,
    capabilities: int = 7,
) -> dict[str, dict[str, Variant]]:
    """Return a modem's interfaces with their properties, canaries included."""
    signal = {"rssi": -71.0, "rsrp": -98.0, "rsrq": -11.0, "snr": 4.2} if lte is None else lte
    return {
        MODEM: {
            "EquipmentIdentifier": ("s", CANARIES[0]),
            "DeviceIdentifier": ("s", "a" * 40),
            "OwnNumbers": ("as", [CANARIES[3]]),
            "State": ("i", state),
            "AccessTechnologies": ("u", rat),
            "SignalQuality": ("(ub)", (61, True)),
            "Ports": ("a(su)", [(f"cdc-wdm{number}", 6), (interface, 2)]),
            "Bearers": ("ao", [f"/org/freedesktop/ModemManager1/Bearer/{number}"]),
        },
        MODEM + ".Modem3gpp": {
            "Imei": ("s", CANARIES[0]),
            "OperatorCode": ("s", plmn),
            "OperatorName": ("s", name),
            "RegistrationState": ("u", registration),
        },
        MODEM + ".Signal": {
            "Rate": ("u", rate),
            "Lte": ("a{sv}", {key: ("d", value) for key, value in signal.items()}),
            "Gsm": ("a{sv}", {"rssi": ("d", -1.7976931348623157e308)}),
        },
        MODEM + ".Location": {
            "Capabilities": ("u", capabilities),
            "Enabled": ("u", 1),
            "SignalsLocation": ("b", False),
        },
        SERVICE + ".Sim": {"Imsi": ("s", CANARIES[1]), "SimIdentifier": ("s", CANARIES[2])},
    }


class ModemService:
    """The service. Its fields may be changed at any time; `calls` lists the calls it received."""

    def __init__(self, address: str) -> None:
        self.modems: dict[str, dict[str, dict[str, Variant]]] = {}
        self.location: dict[int, Variant] = {1: ("s", "510,10,FFFE,0A1B2C3,12D4")}
        self.bearers: dict[str, tuple[bool, str]] = {}
        self.refused: set[str] = set()
        self.garbage = False
        self.silent = False
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self._stop = threading.Event()
        self._connection = open_dbus_connection(address)
        answer = self._connection.send_and_get_reply(jeepney.message_bus.RequestName(SERVICE))
        assert answer.body == (1,)
        self._thread = threading.Thread(target=self._serve, name="ModemManager")
        self._thread.start()

    def add(self, number: int = 0, **options: Any) -> None:
        """Add a modem; it is connected on its interface unless `connected` is False."""
        connected = options.pop("connected", True)
        self.modems[f"/org/freedesktop/ModemManager1/Modem/{number}"] = modem(number, **options)
        self.bearers[f"/org/freedesktop/ModemManager1/Bearer/{number}"] = (
            connected,
            options.get("interface", "wwan0") if connected else "",
        )

    def close(self) -> None:
        """Disconnect from the bus."""
        self._stop.set()
        self._thread.join(10)
        self._connection.close()

    def _serve(self) -> None:
        while not self._stop.is_set():
            ready, _, _ = select.select([self._connection.sock], [], [], 0.05)
            while ready:
                try:
                    message = self._connection.receive(timeout=0)
                except TimeoutError:
                    break
                if message.header.message_type is jeepney.MessageType.method_call and not self.silent:
                    self._connection.send(self._answer(message))

    def _answer(self, message: Any) -> Any:
        fields = jeepney.HeaderFields
        path, name = message.header.fields[fields.path], message.header.fields[fields.member]
        self.calls.append((name, message.body))
        if name in self.refused:
            return jeepney.new_error(message, SERVICE + ".Error.Core.Unauthorized", "s", ("not you",))
        if self.garbage:
            return jeepney.new_method_return(message, "as", (["what", "is", "this"],))
        if name == "GetManagedObjects":
            return jeepney.new_method_return(message, "a{oa{sa{sv}}}", (self.modems,))
        if name == "GetLocation":
            return jeepney.new_method_return(message, "a{uv}", (self.location,))
        if name == "Get" and path in self.bearers:
            connected, interface = self.bearers[path]
            value = ("b", connected) if message.body[1] == "Connected" else ("s", interface)
            return jeepney.new_method_return(message, "v", (value,))
        if name == "Setup":
            if len(message.body) == 1:
                self.modems[path][MODEM + ".Signal"]["Rate"] = ("u", message.body[0])
            else:
                self.modems[path][MODEM + ".Location"]["Enabled"] = ("u", message.body[0])
            return jeepney.new_method_return(message)
        return jeepney.new_error(message, "org.freedesktop.DBus.Error.UnknownMethod", "s", (name,))


@contextmanager
def private_bus(daemon: str, folder: Path) -> Iterator[str]:
    """Provide the address of a private bus; its daemon ends with the block."""
    config = folder / "bus.conf"
    config.write_text(
        "<busconfig><type>session</type>"
        f"<listen>unix:path={folder / 'bus'}</listen><auth>EXTERNAL</auth>"
        '<policy context="default"><allow send_destination="*" eavesdrop="true"/>'
        '<allow eavesdrop="true"/><allow own="*"/></policy></busconfig>',
        encoding="utf-8",
    )
    command = [daemon, f"--config-file={config}", "--nofork", "--print-address"]
    with (folder / "bus.err").open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert address, (folder / "bus.err").read_text()
            yield address.partition(",guid")[0]
        finally:
            end(process)
