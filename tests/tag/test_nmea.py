"""NMEA: what its sentences mean, its bad days, and the ways it comes in: a serial port, TCP, UDP."""

from __future__ import annotations

import os
import pty
import socket
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigprobe.tag.fix import Fix, is_position
from sigprobe.tag.gps import open_gps
from sigprobe.tag.nmea import Talk, sentence

PLACE = "0654.8844,S,10736.5886,E"
GGA = f"GPGGA,070501.00,{PLACE},1,08,0.9,700.5,M,0.0,M,,"
RMC = f"GPRMC,070501.00,A,{PLACE},0.0,0.0,140229,,,A"
GSA = "GPGSA,A,3,01,02,03,04,05,06,07,08,,,,,1.8,0.9,1.5"
GST = "GPGST,070501.00,,,,,3.0,4.0,7.0"


def nmea(body: str) -> bytes:
    """A sentence with its checksum and line end."""
    total = 0
    for char in body:
        total ^= ord(char)
    return f"${body}*{total:02X}\r\n".encode()


def talk() -> Talk:
    return Talk(lambda: 100.0, lambda: 0.0)


def feed_all(receiver: Talk, *bodies: str) -> Fix | None:
    """The last fix that the sentences gave."""
    found = None
    for body in bodies:
        found = receiver.feed(nmea(body)) or found
    return found


def until(condition: Callable[[], bool], seconds: float = 15) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


# --- sentences ----------------------------------------------------------------------------------------------


def test_a_fix_is_put_together_from_its_sentences() -> None:
    """Position, height, satellites, dilution, mode, error and the receiver's time all arrive."""
    found = feed_all(talk(), RMC, GSA, GST, GGA)
    assert found is not None
    assert (found.lat, found.lon) == (pytest.approx(-6.91474, abs=1e-6), pytest.approx(107.60981, abs=1e-6))
    assert (found.alt_m, found.satellites, found.hdop, found.mode) == (700.5, 8, 0.9, "3d")
    assert (found.accuracy_m, found.time, found.source) == (5.0, "2029-02-14T07:05:01.000Z", "nmea")


@pytest.mark.parametrize("talker", ["GP", "GN", "GL", "GA", "GB", "GQ"])
def test_every_talker_is_understood(talker: str) -> None:
    """GPS alone, or several systems together: the sentences are the same."""
    assert talk().feed(nmea(talker + GGA[2:])) is not None
    assert talk().feed(nmea(talker + RMC[2:])) is not None


@pytest.mark.parametrize(
    "body",
    [
        f"GPGGA,070501.00,{PLACE},0,00,99.9,,M,,M,,",  # no fix
        f"GPGGA,070501.00,{PLACE},6,08,0.9,700.5,M,0.0,M,,",  # dead reckoning
        f"GPGGA,070501.00,{PLACE},8,08,0.9,700.5,M,0.0,M,,",  # a simulator
        "GPGGA,070501.00,,,,,1,08,0.9,700.5,M,0.0,M,,",  # empty fields
        f"GPGGA,,{PLACE},1,08,0.9,700.5,M,0.0,M,,",  # a memory without a time
        f"GPGGA,999999.00,{PLACE[:9]},X,10736.5886,E,1,08,0.9,700.5,M,0.0,M,,",
        "GPGGA,070501.00,0660.0000,S,10736.5886,E,1,08,0.9,700.5,M,0.0,M,,",  # 60 minutes
        "GPGGA,070501.00,9100.0000,S,10736.5886,E,1,08,0.9,700.5,M,0.0,M,,",
        f"GPRMC,070501.00,V,{PLACE},0.0,0.0,140229,,,A",  # a time without a fix
        f"GPRMC,070501.00,A,{PLACE},0.0,0.0,140229,,,E",  # estimated
        "GPRMC,070501.00,A",
        "GPGGA",
        f"PGRME,{PLACE}",
    ],
)
def test_what_is_no_fix_gives_none(body: str) -> None:
    """Sentences without a satellite fix, with empty or impossible fields, are no position."""
    assert talk().feed(nmea(body)) is None


def test_a_wrong_checksum_does_not_count() -> None:
    """A character that was lost or changed on the way spoils the sentence, and a missing sum does too."""
    good = nmea(GGA)
    assert talk().feed(good) is not None
    assert talk().feed(good.replace(b"0654", b"0854")) is None
    assert talk().feed(good.split(b"*")[0] + b"\r\n") is None
    assert talk().feed(good[:20]) is None and talk().feed(good[20:]) is None
    assert sentence(b"$GPGGA*00") is None


@given(st.integers(0, 100), st.binary(min_size=1, max_size=3))
def test_one_damaged_place_is_never_a_position(at: int, put: bytes) -> None:
    """Whatever bytes are put over a sentence, it is the same fix or none."""
    good = nmea(GGA)
    found = talk().feed(good[:at] + put + good[at + len(put) :])
    whole = talk().feed(good)
    assert found is None or whole is None or (found.lat, found.lon) == (whole.lat, whole.lon)


@given(st.binary(max_size=200) | st.from_regex(rb"\$GP(GGA|RMC|ZDA|GSA|GST),[0-9.,NSEWAV-]{0,80}", fullmatch=True))
def test_no_bytes_break_the_reading(data: bytes) -> None:
    """Any bytes, with a right checksum too, are a position on the globe or nothing."""
    receiver = talk()
    for line in (data, nmea(data.decode("latin-1").lstrip("$"))) if data.isascii() else (data,):
        found = receiver.feed(line)
        assert found is None or is_position(found.lat, found.lon)


def test_midnight_between_the_sentences() -> None:
    """The date comes with RMC or ZDA; a GGA of the next second may be of the next day."""
    late = RMC.replace("070501.00", "235959.00")
    found = feed_all(talk(), late, GGA.replace("070501.00", "000000.00"))
    assert found is not None and found.time == "2029-02-15T00:00:00.000Z"


ZDA = "GPZDA,070501.00,14,02,2029,00,00"


def test_a_zda_gives_the_date_as_an_rmc_does() -> None:
    """A receiver that sends GGA and ZDA, but no RMC, has a time; an implausible year gives none, as with RMC."""
    found = feed_all(talk(), ZDA, GGA)
    assert found is not None and found.time == "2029-02-14T07:05:01.000Z"
    for year in ("1929", "2009", "2087", "2099", "0029", "29"):
        found = feed_all(talk(), ZDA.replace("2029", year), GGA)
        assert found is not None and (found.time, found.at_s) == (None, 100.0), year
    late = feed_all(talk(), ZDA.replace("070501.00", "235959.00"), GGA.replace("070501.00", "000000.00"))
    assert late is not None and late.time == "2029-02-15T00:00:00.000Z"


@pytest.mark.parametrize("order", [(ZDA, RMC), (RMC, ZDA)])
def test_two_dates_that_differ_are_none(order: tuple[str, str]) -> None:
    """A date is used only while it agrees with the other sentence: 1,024 weeks between them, or a single day."""
    for wrong in ("14,02,2048", "13,02,2029"):
        found = feed_all(talk(), *(body.replace("14,02,2029", wrong) for body in order), GGA)
        assert found is not None and found.time is None, wrong
    found = feed_all(talk(), *order, GGA)
    assert found is not None and found.time == "2029-02-14T07:05:01.000Z"


def test_without_a_date_there_is_no_time() -> None:
    """GGA alone has a time of day and no date: the fix counts, its time is null."""
    found = talk().feed(nmea(GGA))
    assert found is not None and found.time is None and found.at_s == 100.0


def test_old_sentences_do_not_lend_their_values() -> None:
    """Satellites and mode of ten seconds ago say nothing of the fix of now."""
    now = [100.0]
    receiver = Talk(lambda: now[0], lambda: 0.0)
    feed_all(receiver, GSA, GGA)
    now[0] = 110.0
    found = receiver.feed(nmea(RMC))
    assert found is not None and (found.satellites, found.mode, found.hdop, found.alt_m) == (None, None, None, None)


# --- a serial port ------------------------------------------------------------------------------------------


@contextmanager
def receiver_on(master: int, slave: int, *, speed: int | None = None, noise: bytes = b"") -> Iterator[None]:
    """A receiver on a pseudo terminal; at another speed than its own nothing of it can be read."""
    stop = threading.Event()

    def send() -> None:
        while not stop.wait(0.05):
            right = speed is None or termios.tcgetattr(slave)[5] == speed
            try:
                os.write(master, noise + nmea(RMC) + nmea(GGA) if right else b"\xf8\x80\x00\n" * 5)
            except OSError:
                return

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)


@contextmanager
def terminal() -> Iterator[tuple[int, int, str]]:
    master, slave = pty.openpty()
    os.set_blocking(master, False)
    try:
        yield master, slave, os.ttyname(slave)
    finally:
        os.close(slave)
        os.close(master)


def test_a_serial_receiver_is_read_through_noise() -> None:
    """Half lines, wrong sums and binary noise between the sentences do not hide the fix."""
    noise = nmea(GGA)[:30] + b"\n" + nmea(GGA).replace(b"1,08", b"1,09") + b"\x00\xff" * 600
    with (
        terminal() as (master, slave, name),
        receiver_on(master, slave, noise=noise),
        open_gps(source="nmea", nmea=name) as gps,
    ):
        assert gps.wait(15)
        found = gps.location(time.monotonic())
    assert found is not None and (found.source, found.satellites) == ("nmea", 8)
    assert found.lat == pytest.approx(-6.91474, abs=1e-6)


@pytest.mark.slow
def test_the_speed_is_found() -> None:
    """A receiver at 4800 is found after the commoner 9600 has brought only garbage."""
    with (
        terminal() as (master, slave, name),
        receiver_on(master, slave, speed=termios.B4800),
        open_gps(source="nmea", nmea=name) as gps,
    ):
        assert gps.wait(20)


@pytest.mark.slow
def test_a_port_that_vanishes_is_opened_again(tmp_path: Path) -> None:
    """A receiver that is pulled out keeps its last fix, and is read again when it is back under its name."""
    port = tmp_path / "ttyUSB0"
    with open_gps(source="nmea", nmea=str(port)) as gps:
        assert gps.wait(10) is False and gps.problem is not None
        for _ in range(2):
            with terminal() as (master, slave, name):
                port.unlink(missing_ok=True)
                port.symlink_to(name)
                before = gps.newest()
                with receiver_on(master, slave):
                    assert until(lambda old=before: gps.newest() not in (None, old), 20)  # type: ignore[misc]
            assert until(lambda: gps.problem is not None)
        assert gps.newest() is not None


def test_a_port_that_may_not_be_opened(tmp_path: Path) -> None:
    """A missing port is not waited for, and its name stands in the reason."""
    started = time.monotonic()
    with open_gps(source="nmea", nmea=str(tmp_path / "none")) as gps:
        assert gps.wait(20) is False
        assert gps.problem is not None and gps.problem.startswith("nmea")
    assert time.monotonic() - started < 5


# --- a phone, over TCP and UDP ------------------------------------------------------------------------------


@pytest.mark.slow
def test_nmea_over_tcp() -> None:
    """An app that serves NMEA on a port is read; when it hangs up it is called again."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(15)
        with open_gps(source="nmea", nmea=f"tcp://127.0.0.1:{server.getsockname()[1]}") as gps:
            for lat in ("0654.8844", "0654.8850"):
                connection, _ = server.accept()
                with connection:
                    data = nmea(RMC.replace("0654.8844", lat))
                    connection.sendall(data[:11])
                    connection.sendall(data[11:])
                    wanted = -6 - float(lat[2:]) / 60
                    assert until(lambda w=wanted: (f := gps.newest()) is not None and abs(f.lat - w) < 1e-6)  # type: ignore[misc]


def test_nmea_over_udp(free_port: Callable[[], int]) -> None:
    """A phone's datagrams are read, several sentences in one or one in each, without a line end at the end too."""
    port = free_port()
    with open_gps(source="nmea", nmea=f"udp://127.0.0.1:{port}") as gps, socket.socket(type=socket.SOCK_DGRAM) as phone:

        def told() -> bool:
            phone.sendto(b"hello", ("127.0.0.1", port))
            phone.sendto(nmea(GGA).strip(), ("127.0.0.1", port))
            return gps.newest() is not None

        assert until(told)
        assert gps.answered


def test_something_that_is_not_nmea() -> None:
    """A web server on the port is not waited for."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(15)
        with open_gps(source="nmea", nmea=f"tcp://127.0.0.1:{server.getsockname()[1]}") as gps:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"X-Header: yes\r\n" * 60)
                assert gps.wait(15) is False
                assert gps.problem == "what comes there is not NMEA"


@pytest.mark.parametrize("address", ["udp://:0", "udp://x", "tcp://:1", "http://127.0.0.1:80", "tcp://host:x"])
def test_addresses_that_are_none(address: str) -> None:
    """An address that cannot be is refused before anything starts."""
    with pytest.raises(ValueError):
        open_gps(source="nmea", nmea=address)
