"""The modem over a real bus: what is read of it, what never is, and what happens where nothing can be asked."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigprobe.net import routes
from sigprobe.record.result import Network, Operator
from sigprobe.tag import read_tags
from sigprobe.tag.bus import BusError, system_bus
from sigprobe.tag.gps import open_gps
from sigprobe.tag.modem import Choice, ModemReader, Radio, cell, choice, choose, on_link, read_radios
from tests.support.modem_service import CANARIES, MODEM, ModemService, private_bus
from tests.support.requirements import ROOT, missing, needs
from tests.tag.test_nmea import nmea


@pytest.fixture
def bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with private_bus(needs("dbus-daemon", "dbus"), tmp_path) as address:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
        yield address


@pytest.fixture
def service(bus: str) -> Iterator[ModemService]:
    service = ModemService(bus)
    yield service
    service.close()


def radios() -> list[Radio]:
    with system_bus() as bus:
        return read_radios(bus)


def until(condition: Callable[[], bool], seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


# --- what is read -------------------------------------------------------------------------------------------


def test_everything_the_modem_tells_is_in_the_tag(service: ModemService) -> None:
    """Operator, technology, registration, signal and cell arrive in the tag, in the record's units."""
    service.add()
    (radio,) = radios()
    tag = on_link(Network(interface="wwan0"), radio)
    assert tag == Network(
        interface="wwan0",
        access="cellular",
        operator=Operator("51010", "Telkomsel"),
        rat="lte",
        registration="home",
        roaming=False,
        rssi_dbm=-71.0,
        rsrp_dbm=-98.0,
        rsrq_db=-11.0,
        sinr_db=4.2,
        cell_id=str(0x0A1B2C3),
        area_code=str(0x12D4),
    )


def test_numbers_of_equipment_card_and_owner_are_never_kept(service: ModemService) -> None:
    """IMEI, IMSI, ICCID and phone number stand in what ModemManager answers, and nowhere in what is kept."""
    service.add()
    with ModemReader() as reader:
        assert reader.wait(10) and reader.radios()
        tags = read_tags(tps_id=None, modem=reader)
        text = repr((reader.radios(), reader.__dict__, tags))
    assert "51010" in text
    assert not [canary for canary in CANARIES if canary in text]
    asked = json.dumps([body for name, body in service.calls if name == "Get"])
    assert "Imei" not in asked and "EquipmentIdentifier" not in asked


def test_signal_values_are_asked_for_first(service: ModemService) -> None:
    """ModemManager measures nothing until it is told how often; a rate somebody has set stays."""
    service.add(rate=0)
    radios()
    assert ("Setup", (5,)) in service.calls
    service.calls.clear()
    radios()
    assert not [name for name, _ in service.calls if name == "Setup"]


@pytest.mark.parametrize(
    ("options", "registration", "roaming", "operator", "rat"),
    [
        ({"registration": 5, "plmn": "50212", "name": "Maxis"}, "roaming", True, Operator("50212", "Maxis"), "lte"),
        ({"registration": 2, "state": 7, "rat": 0, "plmn": ""}, "searching", None, Operator(), None),
        ({"registration": 3, "state": 6}, "denied", None, Operator(), None),
        ({"registration": 0, "state": 6}, "idle", None, Operator(), None),
        ({"registration": 1, "rat": 1 << 9}, "home", False, Operator("51010", "Telkomsel"), "hspa+"),
        ({"registration": 1, "rat": 1 << 14 | 1 << 15}, "home", False, Operator("51010", "Telkomsel"), "nr"),
        ({"registration": 99}, "unknown", None, Operator(), None),
    ],
)
def test_states_of_registration(
    service: ModemService,
    options: dict[str, Any],
    registration: str,
    roaming: bool | None,
    operator: Operator,
    rat: str | None,
) -> None:
    """Each state has its own word, and a modem that no network has taken in tells no operator."""
    service.add(**options)
    (radio,) = radios()
    assert (radio.registration, radio.roaming, radio.operator, radio.rat) == (registration, roaming, operator, rat)


def test_values_out_of_range_are_unknown(service: ModemService) -> None:
    """What ModemManager writes for unknown, and what no radio can measure, is null and never a number."""
    service.add(lte={"rssi": -1.7976931348623157e308, "rsrp": 0.0, "rsrq": float("nan"), "snr": 900.0})
    (radio,) = radios()
    assert (radio.rssi_dbm, radio.rsrp_dbm, radio.rsrq_db, radio.sinr_db) == (None, None, None, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("510,10,FFFE,0A1B2C3,12D4", ("10597059", "4820")),
        ("510,10,1A2B,00C3D4", ("50132", "6699")),
        ("510,10,0,FFFFFFF,0", (None, None)),
        ("510,10,,,", (None, None)),
        ("510,10,XYZ,1,1", (None, None)),
        ("", (None, None)),
        (None, (None, None)),
        (7, (None, None)),
    ],
)
def test_cell_and_area(text: object, expected: tuple[str | None, str | None]) -> None:
    """Hexadecimal codes become decimal ones; the values for unknown become null."""
    assert cell(text) == expected


@given(st.text(max_size=40) | st.from_regex(r"[0-9A-F,]{0,30}", fullmatch=True))
def test_no_cell_text_breaks_the_reading(text: str) -> None:
    """Any text gives two decimal codes or nulls."""
    assert all(part is None or part.isdigit() for part in cell(text))


# --- which modem --------------------------------------------------------------------------------------------


def test_of_two_modems_the_one_that_carries_the_traffic_counts(service: ModemService) -> None:
    """The modem of the default route wins, then a connected one, then a registered one; both are known."""
    service.add(0, interface="wwan0", registration=2, connected=False)
    service.add(1, interface="wwan1", plmn="51001", name="Indosat")
    found = radios()
    assert len(found) == 2
    by_route, by_state = choose(found, "wwan0"), choose(found, None)
    assert by_route is not None and by_route.path.endswith("/0")
    assert by_state is not None and by_state.operator.name == "Indosat"
    assert choose([], "wwan0") is None


def test_only_a_choice_is_told() -> None:
    """One modem, or two of which none stands in the tag, leave nothing to tell."""
    one, two = Radio("/0", frozenset({"wwan0"}), registration="home"), Radio("/1", frozenset({"wwan1"}))
    assert choice([one], Network(interface="wwan0")) is None
    assert choice([one, two], Network(interface="wlan0", access="wifi")) is None
    assert choice([one, two], Network(interface="wwan1", access="cellular")) == Choice(two, ("wwan0",))
    assert choice([one, two], Network()) == Choice(one, ("wwan1",))


@pytest.mark.parametrize(("language", "says"), [("en", "There are several modems;"), ("id", "Ada beberapa modem;")])
def test_a_run_with_two_modems_says_which_one_was_measured(
    service: ModemService, tmp_path: Path, sigprobe: Callable[..., Any], language: str, says: str
) -> None:
    """The officer learns whose signal stands there, and how to measure the other one."""
    service.add(0, interface="wwan0", registration=2, connected=False)
    service.add(1, interface="wwan1", plmn="51001", name="INDOSAT")
    config = settings(tmp_path)
    done = sigprobe("test", "--only", "device", "--no-upload", "--lang", language, "--config", config)
    assert done.returncode == 0, done.stderr
    text = " ".join(done.stdout.split())
    assert says in text and "wwan1 (Indosat" in text and "wwan0" in text
    assert "nmcli device disconnect wwan1" in text
    service.modems.pop(sorted(service.modems)[0])
    alone = sigprobe("test", "--only", "device", "--no-upload", "--lang", language, "--config", config)
    assert says not in alone.stdout


@pytest.mark.parametrize(("access", "told"), [("wifi", False), ("ethernet", False), (None, True), ("cellular", True)])
def test_an_idle_modem_says_nothing_of_another_link(access: str | None, told: bool) -> None:
    """Beside a Wi-Fi or a cable the modem's operator is not the link's; without any link it is what there is."""
    radio = Radio("/0", frozenset({"wwan0"}), operator=Operator("51010", "Telkomsel"), registration="home")
    tag = on_link(Network(interface=None if access is None else "x0", access=access), radio)
    assert (tag.registration == "home", tag.operator.plmn == "51010") == (told, told)


def test_the_configured_operator_stays_where_the_modem_has_none() -> None:
    """`--operator` counts when nothing can be asked, and gives way to what a modem says."""
    configured = Network(interface="wwan0", operator=Operator(None, "XL"))
    silent, talking = Radio("/0", frozenset({"wwan0"})), Radio("/0", frozenset({"wwan0"}), operator=Operator("51010"))
    assert on_link(configured, None).operator.name == "XL"
    assert on_link(configured, silent).operator.name == "XL"
    assert on_link(configured, talking).operator == Operator("51010")


# --- where nothing can be asked -----------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["unix:path=/nonexistent/bus", "tcp:host=127.0.0.1,port=1", "nonsense", "unix:"])
def test_no_bus_is_quick_and_empty(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a bus every field is null, at once."""
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
    started = time.monotonic()
    with ModemReader() as reader:
        assert reader.wait(10)
        assert time.monotonic() - started < 3
        assert reader.radios() == () and reader.problem
        assert reader.network(Network(interface="wlan0")) == Network(interface="wlan0")


@pytest.mark.slow
@pytest.mark.parametrize("says", ["nothing", "closes", "nonsense", "refuses", "no greeting"])
def test_a_socket_that_is_no_sound_bus(says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bus that is silent, hangs up, talks nonsense, or refuses this user: null everywhere, and no thread is left."""
    answers = {"nothing": [], "closes": [], "nonsense": [b"\x00\xff\r\n"], "refuses": [b"REJECTED EXTERNAL\r\n"] * 3}
    answers["no greeting"] = [b"OK 0123456789abcdef0123456789abcdef\r\n"]
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path / 'bus'}")
    stop = threading.Event()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "bus"))
        server.listen()
        server.settimeout(0.1)

        def serve() -> None:
            held = []
            while not stop.is_set():
                with suppress(OSError):
                    connection, _ = server.accept()
                    held.append(connection)
                    for answer in answers[says]:
                        connection.recv(1024)
                        connection.sendall(answer)
                    if says == "closes":
                        connection.close()
            for connection in held:
                connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        with ModemReader() as reader:
            assert reader.wait(10)
            assert reader.radios() == () and reader.problem
        stop.set()
        thread.join(10)
    assert until(lambda: not any(t.name == "modem" for t in threading.enumerate()))


@pytest.mark.slow
def test_a_modemmanager_that_hangs(service: ModemService) -> None:
    """A service that never answers holds up no run: the first wait has a limit, and tags are there at once."""
    service.add()
    service.silent = True
    started = time.monotonic()
    with ModemReader() as reader:
        assert reader.wait() is False
        assert read_tags(tps_id=None, modem=reader).network.registration is None
        assert time.monotonic() - started < 1
        assert reader.wait(10) and reader.problem


def test_a_bus_without_modemmanager(bus: str) -> None:
    """A bus where no ModemManager runs gives nothing, and is not made to start one."""
    assert radios() == []


def test_a_modemmanager_that_refuses(service: ModemService) -> None:
    """Each refusal costs its own values: no cell, no new signal values, and then nothing at all."""
    service.add(rate=0, lte={})
    service.refused = {"Setup", "GetLocation", "Get"}
    (radio,) = radios()
    assert (radio.cell_id, radio.rssi_dbm, radio.connected) == (None, None, False)
    assert radio.operator.name == "Telkomsel"
    service.refused = {"GetManagedObjects"}
    with pytest.raises(BusError):
        radios()


def test_answers_of_other_types_are_nothing(service: ModemService) -> None:
    """Values of types nobody expects give nulls or no modem, never an exception outside the reader."""
    service.add()
    path = next(iter(service.modems))
    service.modems[path][MODEM + ".Modem3gpp"] = {
        "OperatorCode": ("i", 5),
        "OperatorName": ("b", True),
        "RegistrationState": ("s", "home"),
    }
    service.modems[path][MODEM].update({"AccessTechnologies": ("s", "lte"), "Bearers": ("s", "x"), "Ports": ("u", 1)})
    (radio,) = radios()
    assert (radio.operator, radio.rat, radio.registration, radio.interfaces) == (
        Operator(),
        None,
        "unknown",
        frozenset(),
    )
    service.garbage = True
    with ModemReader() as reader:
        assert reader.wait(10) and reader.radios() == ()


def test_a_modem_that_goes_and_comes_back(service: ModemService) -> None:
    """A modem that is pulled out leaves the tags, and is there again when it is back."""
    service.add()
    with ModemReader(poll_s=0.05) as reader:
        assert until(lambda: len(reader.radios()) == 1)
        service.modems.clear()
        assert until(lambda: reader.radios() == ())
        service.add(1)
        assert until(lambda: len(reader.radios()) == 1)


def test_tags_take_no_time(service: ModemService) -> None:
    """Reading the tags with a modem takes less than 20 ms: the bus is asked in the background."""
    service.add()
    with ModemReader() as reader:
        assert reader.wait(10)
        spans = []
        for _ in range(9):
            started = time.perf_counter()
            read_tags(tps_id=None, modem=reader)
            spans.append(time.perf_counter() - started)
    assert sorted(spans)[4] < 0.02


# --- the modem's own satellite receiver ---------------------------------------------------------------------


@pytest.mark.slow
def test_the_modems_position(service: ModemService) -> None:
    """The modem's receiver is switched on beside what is on already, and each new fix counts."""
    service.add()
    service.location = {2: ("a{sv}", {"latitude": ("d", 1.0), "longitude": ("d", 100.0)})}
    with open_gps(source="modem") as gps:
        assert until(lambda: sum(name == "GetLocation" for name, _ in service.calls) >= 2)
        assert ("Setup", (7, False)) in service.calls and gps.answered
        fields = {"utc-time": ("s", "070501"), "latitude": ("d", -6.91474), "longitude": ("d", 107.60981)}
        service.location = {2: ("a{sv}", {**fields, "altitude": ("d", 700.5)})}
        assert until(lambda: (f := gps.newest()) is not None and f.lat == -6.91474)
        found = gps.location(time.monotonic())
    assert found is not None
    assert (found.lon, found.alt_m, found.source) == (107.60981, 700.5, "modem")


@pytest.mark.slow
def test_a_fix_that_never_changes_is_not_ours(service: ModemService) -> None:
    """ModemManager keeps its last fix for good; what stood there before the run began is not taken for new."""
    service.location = {2: ("a{sv}", {"latitude": ("d", -6.9), "longitude": ("d", 107.6)})}
    service.add()
    with open_gps(source="modem") as gps:
        assert until(lambda: sum(name == "GetLocation" for name, _ in service.calls) >= 3)
        assert gps.newest() is None


@pytest.mark.parametrize("reason", ["no modem", "no receiver", "refused", "no bus"])
def test_a_modem_that_cannot_tell_is_not_waited_for(
    service: ModemService, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for a receiver that is not there or may not be used, and the reason is known."""
    if reason != "no modem":
        service.add(capabilities=1 if reason == "no receiver" else 7)
    if reason == "refused":
        service.refused = {"Setup"}
    if reason == "no bus":
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus")
    started = time.monotonic()
    with open_gps(source="modem") as gps:
        assert gps.wait(20) is False
        assert gps.problem is not None and "modem" in gps.problem
    assert time.monotonic() - started < 8


# --- in a run -----------------------------------------------------------------------------------------------


def settings(folder: Path, nmea: str | None = None) -> str:
    path = folder / "config.yaml"
    document = {
        "probe": {"tps_id": "3273011001005"},
        "location": {"source": "nmea" if nmea else "none", "nmea": nmea, "timeout_ms": 20_000},
        "targets": [{"kind": "ping", "name": "device", "address": "127.0.0.1", "count": 2, "interval_ms": 10}],
        "buffer": {"path": str(folder / "buffer.db")},
    }
    path.write_text(json.dumps(document))
    return str(path)


def test_a_run_carries_modem_and_place(service: ModemService, tmp_path: Path, sigprobe: Callable[..., Any]) -> None:
    """Every check's tags hold the modem, the run's record a doubtful place with its reason, and no canary is kept."""
    route = routes.main_route()
    service.add(interface="wwan0" if route is None else route.interface)
    denpasar = nmea("GPGGA,070501.00,0839.0000,S,11513.2000,E,1,08,0.9,30.5,M,0.0,M,,")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                while connection.send(denpasar):
                    time.sleep(0.2)

        thread = threading.Thread(target=serve)
        thread.start()
        config = settings(tmp_path, f"tcp://127.0.0.1:{server.getsockname()[1]}")
        done = sigprobe("test", "--only", "device", "--json", "--config", config)
        thread.join(10)
    assert done.returncode == 0, done.stderr
    network = json.loads(done.stdout)["results"][0]["tags"]["network"]
    assert network["operator"] == {"plmn": "51010", "name": "Telkomsel"}
    assert (network["rat"], network["registration"], network["rsrp_dbm"]) == ("lte", "home", -98.0)
    kept = sigprobe("results", "--ndjson", "--config", config).stdout
    run = json.loads(kept.splitlines()[-1])
    assert run["tags"]["location"]["source"] == "nmea"
    assert run["tags"]["location"]["quality_reasons"] == ["other_province"]
    assert run["tags"]["network"]["cell_id"] == "10597059"
    everything = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    assert not [canary for canary in CANARIES if canary in kept or canary.encode() in everything]


def test_doctor_names_both_modems(service: ModemService, tmp_path: Path, sigprobe: Callable[..., Any]) -> None:
    """Of two modems doctor says which one counts; numbers of card and equipment are not shown."""
    service.add(0, interface="wwan0", registration=2, connected=False)
    service.add(1, interface="wwan1", plmn="51001", name="INDOSAT")
    done = sigprobe("doctor", "--config", settings(tmp_path))
    lines = [line for line in done.stdout.splitlines() if "wwan" in line]
    assert len(lines) == 2
    assert "searching" in lines[0] and "Indosat" in lines[1]
    assert not [canary for canary in CANARIES if canary in done.stdout]


def test_doctor_names_a_receiver_that_is_not_there(tmp_path: Path, sigprobe: Callable[..., Any]) -> None:
    """A port that is not there is a fault with a command to paste."""
    done = sigprobe("doctor", "--config", settings(tmp_path, str(tmp_path / "ttyUSB0")))
    assert f"noNMEAfrom{tmp_path / 'ttyUSB0'}" in "".join(done.stdout.split())  # wherever the screen broke the line


# --- another's ModemManager ---------------------------------------------------------------------------------


def mock_python() -> str:
    """A Python that has python-dbusmock of 0.38 or later, whose template of ModemManager is not ours."""
    check = "import dbusmock.templates.modemmanager"
    for python in (ROOT / ".venv-dbusmock" / "bin" / "python", Path(sys.executable)):
        if python.exists() and subprocess.run([python, "-c", check], capture_output=True, check=False).returncode == 0:
            return str(python)
    missing(
        "python-dbusmock is not there",
        "apt-get install python3-dbus python3-gi && /usr/bin/python3 -m venv --system-site-packages .venv-dbusmock"
        " && .venv-dbusmock/bin/pip install 'python-dbusmock>=0.38'",
    )
    raise AssertionError


def test_dbusmocks_modemmanager_is_read(bus: str, tmp_path: Path, spawn: Callable[..., Any]) -> None:
    """The template of python-dbusmock, written by others from ModemManager's documents, is read as a modem."""
    with (tmp_path / "mock").open("w") as out:
        command = [mock_python(), "-m", "dbusmock", "--system", "--template", "modemmanager"]
        spawn(command, stdout=out, stderr=out, env={**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": bus})
        with system_bus() as connection:
            name, path = "org.freedesktop.ModemManager1", "/org/freedesktop/ModemManager1"
            assert until(lambda: connection.has(name), 30), (tmp_path / "mock").read_text()
            assert read_radios(connection) == []
            connection.call(name, path, "org.freedesktop.DBus.Mock", "AddSimpleModem")
            (radio,) = read_radios(connection)
            assert (radio.registration, radio.operator) == (None, Operator())
            modem = "/org/freedesktop/ModemManager1/Modems/8"
            state = {"RegistrationState": ("u", 1)}
            connection.call(
                name, modem, "org.freedesktop.DBus.Mock", "AddProperties", "sa{sv}", MODEM + ".Modem3gpp", state
            )
            (radio,) = read_radios(connection)
    assert (radio.registration, radio.rat) == ("home", "lte")
    assert radio.operator == Operator("00101", "TheOperator")
