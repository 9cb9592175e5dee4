"""Interfaces, routes and counters, read from captured samples of /proc and /sys."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from sigprobe.net import routes

ROUTE = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0
wwan0\t00000000\t00000000\t0001\t0\t0\t700\t00000000\t0\t0\t0
docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
wlan0\t0001A8C0\t00000000\t0001\t0\t0\t600\t00FFFFFF\t0\t0\t0
*\t0000000A\t00000000\t0200\t0\t0\t0\t000000FF\t0\t0\t0
"""
MODEM_ROUTE = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
wwan0\t00000000\t00000000\t0001\t0\t0\t700\t00000000\t0\t0\t0
"""
ANY = "0" * 32
IPV6_ROUTE = f"""\
fd000000000000000000000000000000 40 {ANY} 00 {ANY} 00000100 00000001 00000000 00000001    wlan0
{ANY} 00 {ANY} 00 fe800000000000000000000000000001 00000258 00000001 00000000 00000003    wlan0
{ANY} 00 {ANY} 00 {ANY} ffffffff 00000001 00000000 00200200       lo
"""


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "route").write_text(ROUTE)
    (tmp_path / "net" / "ipv6_route").write_text(IPV6_ROUTE)
    return tmp_path


def interface(sys: Path, name: str, *, kind: str = "1", uevent: str = "", driver: str = "") -> Path:
    home = sys / "class" / "net" / name
    (home / "statistics").mkdir(parents=True)
    (home / "type").write_text(f"{kind}\n")
    (home / "uevent").write_text(f"{uevent}INTERFACE={name}\nIFINDEX=3\n")
    (home / "statistics" / "rx_bytes").write_text("123456\n")
    (home / "statistics" / "tx_bytes").write_text("789\n")
    if driver:
        (sys / "drivers" / driver).mkdir(parents=True)
        (home / "device").mkdir()
        (home / "device" / "driver").symlink_to(sys / "drivers" / driver)
    return home


def test_the_default_route_is_the_one_with_the_lowest_metric(proc: Path) -> None:
    """Of two links the system prefers the one named; a blackhole route is none."""
    found = routes.default_route("ipv4", proc)
    assert found is not None
    assert (found.interface, found.gateway, found.metric) == ("wlan0", "192.168.1.1", 600)
    assert routes.main_route(proc) == found
    assert {r.interface for r in routes.routes("ipv4", proc)} == {"wlan0", "wwan0", "docker0"}


def test_a_link_local_gateway_keeps_its_interface(proc: Path) -> None:
    """fe80:: addresses mean nothing without the interface."""
    assert routes.default_gateway(proc=proc) == "192.168.1.1"
    assert routes.default_gateway("ipv6", proc) == "fe80::1%wlan0"


def test_a_modem_without_a_gateway_still_has_a_route(proc: Path) -> None:
    """Point-to-point modems have a default route and no gateway: the two are told apart."""
    (proc / "net" / "route").write_text(MODEM_ROUTE)
    (proc / "net" / "ipv6_route").unlink()
    found = routes.main_route(proc)
    assert found is not None and (found.interface, found.gateway) == ("wwan0", None)
    assert routes.default_gateway(proc=proc) is None
    assert routes.families(proc) == "ipv4"


def test_families(proc: Path) -> None:
    """Both families, one, or none: by their default routes."""
    assert routes.families(proc) == "both"
    (proc / "net" / "route").write_text("")
    assert routes.families(proc) == "ipv6"
    (proc / "net" / "ipv6_route").write_text("")
    assert routes.families(proc) is None


def test_an_unreadable_system_is_not_known_rather_than_wrong(tmp_path: Path) -> None:
    """Where there is no /proc and no /sys, everything is None and nothing fails."""
    assert routes.default_route("ipv4", tmp_path) is None
    assert routes.default_gateway(proc=tmp_path) is None
    assert routes.families(tmp_path) is None
    assert routes.access("eth0", tmp_path) is None
    assert routes.counters("eth0", tmp_path) is None
    assert routes.interface_for("127.0.0.1", tmp_path) is None


@pytest.mark.parametrize("text", ["Iface\n", "eth0 zz zz zz\n", "\x00\xff\n", "eth0\t00000000\n" * 3])
def test_nonsense_in_the_tables_is_skipped(proc: Path, text: str) -> None:
    """A line that cannot be read is no route."""
    (proc / "net" / "route").write_text(text)
    (proc / "net" / "ipv6_route").write_text(text)
    assert routes.routes("ipv4", proc) == [] and routes.routes("ipv6", proc) == []


def test_kinds_of_links(tmp_path: Path) -> None:
    """Wi-Fi, cellular and Ethernet are told apart; a tethered phone is left open, loopback and tunnels too."""
    (interface(tmp_path, "wlp2s0") / "wireless").mkdir()
    interface(tmp_path, "wlan9", uevent="DEVTYPE=wlan\n")
    interface(tmp_path, "wwan0", kind="65534", uevent="DEVTYPE=wwan\n")
    interface(tmp_path, "rmnet0", kind="519")
    interface(tmp_path, "enp3s0")
    interface(tmp_path, "usb0", driver="rndis_host")
    interface(tmp_path, "enx1", driver="r8152")
    interface(tmp_path, "lo", kind="772")
    interface(tmp_path, "tun0", kind="65534")
    interface(tmp_path, "bnep0", uevent="DEVTYPE=bluetooth\n")
    found = {name: routes.access(name, tmp_path) for name in ("wlp2s0", "wlan9", "wwan0", "rmnet0", "enp3s0", "enx1")}
    assert found == {
        "wlp2s0": "wifi",
        "wlan9": "wifi",
        "wwan0": "cellular",
        "rmnet0": "cellular",
        "enp3s0": "ethernet",
        "enx1": "ethernet",
    }
    assert {routes.access(name, tmp_path) for name in ("usb0", "lo", "tun0", "bnep0", "gone")} == {None}


def test_byte_counters(tmp_path: Path) -> None:
    """Bytes in and out as the kernel counts them; half-readable is not known."""
    home = interface(tmp_path, "wlan0")
    assert routes.counters("wlan0", tmp_path) == routes.Counters(123456, 789)
    (home / "statistics" / "tx_bytes").unlink()
    assert routes.counters("wlan0", tmp_path) is None


@pytest.mark.skipif(not Path("/proc/net/dev").exists(), reason="reads Linux's own tables")
def test_the_loopback_of_this_machine() -> None:
    """The live tables are read too: loopback is lo, and its counters only grow."""
    assert routes.interface_for("127.0.0.1") == "lo"
    before = routes.counters("lo")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("127.0.0.1", 0))
        sender.sendto(b"x" * 100, sender.getsockname())
    after = routes.counters("lo")
    assert before is not None and after is not None
    assert after.tx_bytes >= before.tx_bytes + 100


def test_no_way_no_address() -> None:
    """Something that is no address has no source address and no interface."""
    assert routes.local_address("not an address") is None
    assert routes.interface_for("not an address") is None
