"""The TPS code, the clock, the network and all of them together."""

from __future__ import annotations

import re
import struct
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigprobe.record.result import Location, Operator
from sigprobe.tag import clock, network, read_tags, with_location
from sigprobe.tag.modem import configured_operator
from sigprobe.tag.tps import TpsError, parse_tps

SHAPE = re.compile(
    r"(?:1[1-9]|21|3[1-6]|5[1-3]|6[1-5]|7[1-6]|8[12]|9[1-6])(?:0[1-9]|[1-9]\d)(?!00)\d{2}[123]\d{3}(?!000)\d{3}",
    re.ASCII,
)


@pytest.mark.parametrize(
    "text",
    [
        "3273011001005",
        " 32.73.01.1001.005 ",
        "32 73 01 1001 005",
        "32-73-01-1001-005",
        "'3273011001005",
        '"3273011001005"',
    ],
)
def test_a_tps_code_is_stored_as_its_13_digits(text: str) -> None:
    """Dots, spaces and hyphens are how people write it; one form is stored."""
    assert parse_tps(text) == "3273011001005"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (3273011001005, "not_text"),
        (None, "not_text"),
        ("", "empty"),
        (" . ", "empty"),
        ("3,27301E+12", "spreadsheet"),
        ("3.27E+12", "spreadsheet"),
        ("32730110O1005", "not_digits"),
        ("٣٢٧٣٠١١٠٠١٠٠٥", "not_digits"),
        ("327301100100", "length"),
        ("32730110010055", "length"),
        ("2073011001005", "province"),
        ("3200011001005", "regency"),
        ("3273001001005", "district"),
        ("3273014001005", "village"),
        ("3273011001000", "number"),
    ],
)
def test_a_wrong_code_says_what_is_wrong(text: object, reason: str) -> None:
    """Each mistake has its own reason, for a sentence that helps."""
    with pytest.raises(TpsError) as caught:
        parse_tps(text)
    assert caught.value.reason == reason
    assert isinstance(caught.value, ValueError)


@given(st.from_regex(r"[0-9]{13}", fullmatch=True) | st.from_regex(SHAPE, fullmatch=True))
def test_exactly_the_published_shape_is_accepted(code: str) -> None:
    """Thirteen digits are accepted if and only if they have the shape of a TPS code."""
    if SHAPE.fullmatch(code):
        assert parse_tps(code) == code
    else:
        with pytest.raises(TpsError):
            parse_tps(code)


@given(st.text(max_size=30))
def test_no_text_breaks_the_parser(text: str) -> None:
    """Any text is a code of 13 ASCII digits or a TpsError."""
    with suppress(TpsError):
        assert SHAPE.fullmatch(parse_tps(text))


def test_the_clock_counts_from_boot() -> None:
    """boottime is the kernel's, and grows."""
    before = clock.read_clock().boottime_ns
    after = clock.read_clock().boottime_ns
    assert before is not None and after is not None
    assert before < after < before + 60_000_000_000
    assert after / 1e9 >= time.monotonic() - 60


@pytest.mark.parametrize(
    ("answer", "file", "synced", "error_ms"),
    [
        ((True, 1.5), False, True, 1.5),
        ((False, None), True, False, None),
        (None, True, True, None),
        (None, False, None, None),
    ],
)
def test_synced_is_what_is_known(
    tmp_path: Path, answer: tuple[bool, float | None] | None, file: bool, synced: bool | None, error_ms: float | None
) -> None:
    """The kernel's word first, the time service's mark next; where neither is there it is not known."""
    mark = tmp_path / "synchronized"
    if file:
        mark.touch()
    got = clock.read_clock(ask=lambda: answer, timesync=mark)
    assert (got.synced, got.offset_err_ms) == (synced, error_ms)
    assert got.offset_est_ms is None


@pytest.mark.skipif(not Path("/proc").exists(), reason="asks the Linux kernel")
def test_the_kernel_answers() -> None:
    """adjtimex is read without privileges; an error bound comes only with a disciplined clock."""
    answer = clock.kernel_sync()
    assert answer is not None
    synced, error_ms = answer
    assert (error_ms is not None and 0 <= error_ms < 1e6) if synced else error_ms is None


def link_files(root: Path, *, wifi: bool) -> tuple[Path, Path]:
    proc, sys = root / "proc", root / "sys"
    (proc / "net").mkdir(parents=True)
    (proc / "net" / "route").write_text("wlan0 00000000 0101A8C0 0003 0 0 600 00000000 0 0 0\n")
    home = sys / "class" / "net" / "wlan0"
    home.mkdir(parents=True)
    (home / "type").write_text("1\n")
    (home / "uevent").write_text("DEVTYPE=wlan\n" if wifi else "")
    return proc, sys


@pytest.mark.parametrize(("wifi", "access"), [(True, "wifi"), (False, "ethernet")])
def test_the_network_tag(tmp_path: Path, wifi: bool, access: str) -> None:
    """Interface, kind, family, gateway and operator; what cannot be read is None."""
    proc, sys = link_files(tmp_path, wifi=wifi)
    got = network.read_network(Operator("51010", "Telkomsel"), proc=proc, sys=sys)
    assert (got.interface, got.access, got.family, got.gateway) == ("wlan0", access, "ipv4", "192.168.1.1")
    assert got.operator.name == "Telkomsel"
    assert got.wifi_ssid_hash is None and got.rsrp_dbm is None


def test_no_link_is_all_unknown(tmp_path: Path) -> None:
    """Without a route only the configured operator is known."""
    got = network.read_network(Operator("51010", "Telkomsel"), proc=tmp_path, sys=tmp_path)
    assert (got.interface, got.access, got.family, got.gateway) == (None, None, None, None)
    assert got.operator.plmn == "51010"


def test_a_wifi_name_is_read_and_only_its_hash_kept() -> None:
    """The driver writes the name into our buffer; it never leaves but as a hash."""
    import ctypes

    def driver(_: int, __: int, request: bytes) -> bytes:
        name, address, _size, flags = struct.unpack("16sPHH", request)
        assert name.rstrip(b"\0") == b"wlan0"
        ctypes.memmove(address, b"Posko RW 05", 11)
        return struct.pack("16sPHH", name, address, 11, flags)

    assert network.read_ssid("wlan0", driver) == b"Posko RW 05"
    hashed = network._hash(b"Posko RW 05")
    assert hashed is not None and re.fullmatch(r"[0-9a-f]{16}", hashed)
    assert hashed != network._hash(b"Posko RW 06")


def test_no_wifi_no_name() -> None:
    """An interface without Wi-Fi, or a driver that refuses, has no name."""

    def refuse(*_: object) -> bytes:
        raise OSError(95, "Operation not supported")

    assert network.read_ssid("wlan0", refuse) is None
    assert network.read_ssid("lo") is None


def test_the_configured_operator() -> None:
    """What the settings say is carried over; nothing given is nothing known."""
    assert configured_operator("510 10") == Operator("51010", "Telkomsel")
    assert configured_operator("") == Operator() == configured_operator(None)


def test_tags_are_cheap_and_whole() -> None:
    """All tags of this machine within 20 ms once loaded, location apart."""
    read_tags(tps_id=None)
    times = []
    for _ in range(5):
        started = time.perf_counter()
        tags = read_tags(tps_id="3273011001005", election_id="pemilu-2029", site=None, operator="51010")
        times.append(time.perf_counter() - started)
    assert min(times) < 0.02
    assert (tags.tps_id, tags.election_id, tags.network.operator.name) == ("3273011001005", "pemilu-2029", "Telkomsel")
    assert tags.location is None
    placed = with_location(tags, Location(-6.9, 107.6))
    assert placed.location is not None and placed.network == tags.network
