"""Lists as people make them: what is understood, what is refused and why, and that no garbage raises anything else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sigprobe import lists
from sigprobe.lists import Fault, ListError, Station, read_points, read_tps
from sigprobe.places.geometry import Point
from sigprobe.words import i18n

GOOD = Station("3273011001005", "TPS 5", -6.87, 107.59)
BASE = "id,name,lat,lon\n3273011001005,TPS 5,-6.87,107.59\n"


@pytest.fixture(autouse=True)
def english() -> Iterator[None]:
    i18n.set_language("en")
    yield
    i18n.set_language("en")


def refused(raw: bytes | str) -> tuple[Fault, ...]:
    with pytest.raises(ListError) as caught:
        read_tps(raw if isinstance(raw, bytes) else raw.encode())
    return caught.value.faults


@pytest.mark.parametrize(
    "raw",
    [
        BASE.encode(),
        b"\xef\xbb\xbf" + BASE.encode(),
        BASE.encode("utf-16"),
        BASE.replace("\n", "\r\n").encode(),
        BASE.replace("\n", "\r").encode(),
        BASE.replace(",", ";").encode(),
        BASE.replace(",", "\t").encode(),
        b"sep=;\r\n" + BASE.replace(",", ";").encode(),
        b"Kode TPS;Nama;Lintang;Bujur\n3273011001005;TPS 5;-6,87;107,59\n",
        b"No;Kode TPS;Nama TPS;Latitude;Longitude\n1;32.73.01.1001.005;TPS 5;-6,87;107,59\n",
        b'ID,NAMA,Koordinat\n3273011001005,TPS 5,"-6.87, 107.59"\n',
        b"tps_id;nama;koordinat\n3273011001005;TPS 5;-6,87 107,59\n",
        b'id;name;lat;lon\n="3273011001005";TPS 5;-6.87;107.59\n',
        b"id,name,lat,lon\n'3273011001005,TPS 5,-6.87,107.59\n",
        b"id,name,lat,lon\n3273011001005.0,TPS 5,-6.87,107.59\n",
        b"3273011001005,TPS 5,-6.87,107.59\n",
        b"\n\nid,name,lat,lon\n\n3273011001005,TPS 5,-6.87,107.59\n,,,\n\n",
        b'id,name,lat,lon\n3273011001005,"TPS 5","-6,87","107,59"\n',
    ],
)
def test_the_forms_people_save(raw: bytes) -> None:
    """BOM, delimiters, headers in both languages, decimal commas and Excel's own marks all read as the same TPS."""
    assert read_tps(raw) == ([GOOD], [])


def test_positions_may_be_missing() -> None:
    """A TPS without a registered position is taken; half a position is a fault."""
    assert read_tps(b"id;nama\n3273011001005;A\n")[0] == [Station("3273011001005", "A")]
    assert read_tps(b"id;nama;lat;lon\n3273011001005;A;;\n")[0] == [Station("3273011001005", "A")]
    (fault,) = refused("id;nama;lat;lon\n3273011001005;A;-6,8;\n")
    assert fault.line == 2 and "belong together" in fault.message


def test_excel_has_eaten_the_number() -> None:
    """`3,27E+12` is refused with the reason and the way to mend it, in both spellings."""
    for text in ("3,27301E+12", '"3.27E+12"'):
        (fault,) = refused(f"id;name;lat;lon\n{text};A;-6,8;107,5\n")
        assert fault.line == 2 and "Excel" in fault.message and "Text" in fault.message


def test_swapped_positions_are_put_right_and_said() -> None:
    """Latitude and longitude the wrong way round are seen, turned, and told with their line and number."""
    text = "id,lat,lon\n3273011001005,107.59,-6.87\n3273011001006,-6.87,107.59\n3273011001007,107.6,-6.88\n"
    stations, notes = read_tps(text.encode())
    assert [(s.lat, s.lon) for s in stations] == [(-6.87, 107.59), (-6.87, 107.59), (-6.88, 107.6)]
    (note,) = notes
    assert note.line == 2 and "2 rows" in note.message and "swapped" in note.message


def test_every_fault_at_once_by_its_line() -> None:
    """All faulty rows are named together, each by its own line, and nothing of the file counts."""
    text = (
        "id,name,lat,lon\n"
        "2273011001005,province,-6.87,107.59\n"
        '3273011001005,"two\nlines",-6.87,107.59\n'
        "3273011001005,again,-6.87,107.59\n"
        "327301101005,short,-6.87,107.59\n"
        "3273011001006,comma,-6,87,107,59\n"
        "3273011001007,words,north,107.59\n"
        "3273011001008,far,-691474,107.59\n"
        "3273011001009,off,-96.1,197.59\n"
        "3273011001010,zero,0,0\n"
        ",none,-6.87,107.59\n"
    )
    faults = refused(text)
    assert [f.line for f in faults] == [2, 5, 6, 7, 8, 9, 10, 11, 12]
    said = [f.message for f in faults]
    assert "3273011001005 (Kota Bandung)" in said[0]
    assert "line 3" in said[1]
    assert "12 digits" in said[2] and "3273011001005" in said[2]
    assert "semicolons" in said[3]
    assert "north" in said[4] and "-691474" in said[5] and "not a place on Earth" in said[6]
    assert "0, 0" in said[7] and "missing" in said[8]


def test_doubts_stop_nothing() -> None:
    """An unknown village and a position abroad are warnings with their lines; the rows are taken."""
    stations, notes = read_tps(b"id,lat,lon\n3273011099005,-6.8,107.5\n3273011001005,6.87,107.59\n")
    assert len(stations) == 2
    assert [n.line for n in notes] == [2, 3]
    assert "2025-04" in notes[0].message and "outside Indonesia" in notes[1].message


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (b"id,name,lat,lon\n", "contains no TPS"),
        (b"naam,breite\nx,y\n", "no column id"),
        (b"PK\x03\x04\x00\x00", "not a text file"),
        (b'id,name\n3273011001005,"' + b"x" * 200_000 + b'"\n', "cannot be read as CSV"),
    ],
)
def test_what_is_no_list(raw: bytes, word: str) -> None:
    """A file that is no list at all is refused with one sentence that says what it is."""
    assert any(word in fault.message for fault in refused(raw))


CELLS = st.one_of(
    st.sampled_from(
        ["3273011001005", "3,27E+12", "-6,87", "107.59", "", '"', "TPS;5", "\ufeff", "=1+1", "1e400", "nan"]
    ),
    st.text(max_size=12),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(CELLS, max_size=6), max_size=8), st.sampled_from(",;\t|"), st.booleans())
def test_no_table_raises_anything_else(table: list[list[str]], delimiter: str, header: bool) -> None:
    """Any table is a list or is refused with sentences; what is taken is always usable."""
    text = ("id,name,lat,lon\n".replace(",", delimiter) if header else "") + "\n".join(map(delimiter.join, table))
    try:
        stations, _notes = read_tps(text.encode("utf-8", "replace"))
    except ListError as error:
        assert error.faults and all(f.message and f.message.isprintable() for f in error.faults)
        return
    assert stations and len({s.tps_id for s in stations}) == len(stations)
    for station in stations:
        assert len(station.tps_id) == 13 and station.tps_id.isdigit()
        assert (station.lat is None) == (station.lon is None)
        assert station.lat is None or station.lon is None or (abs(station.lat) <= 90 and abs(station.lon) <= 180)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400))
def test_no_bytes_raise_anything_else(raw: bytes) -> None:
    """Any bytes at all are a list or are refused, as TPS and as points."""
    for read in (read_tps, read_points):
        try:
            read(raw)
        except ListError as error:
            assert error.faults


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5) | st.just("Point"),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["type", "features", "geometry", "coordinates", "properties", "name", "x"]), inner
        )
    ),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(JSON)
def test_no_json_raises_anything_else(value: object) -> None:
    """Any JSON is a list of points or is refused with sentences."""
    try:
        points, _notes = read_points(json.dumps({"type": "FeatureCollection", "features": [value, value]}).encode())
    except ListError as error:
        assert error.faults
        return
    assert all(abs(p.lat) <= 90 and abs(p.lon) <= 180 for p in points)


def feature(coordinates: object, kind: str = "Point", **properties: object) -> dict[str, object]:
    return {"type": "Feature", "geometry": {"type": kind, "coordinates": coordinates}, "properties": properties}


def test_points_from_csv_and_geojson() -> None:
    """The same points come out of CSV and GeoJSON, operators in their usual spelling, doubles once."""
    bts = Point(-6.9, 107.6, "list", name="Sukarasa", kind="BTS", operator="Telkomsel")
    table = "nama;jenis;operator;lintang;bujur\nSukarasa;BTS;51010;-6,9;107,6\nSukarasa;BTS;telkomsel;-6,9;107,6\n"
    assert read_points(table.encode()) == ([bts], [])
    one = feature([107.6, -6.9, 700], nama="Sukarasa", jenis="BTS", operator=51010)
    for document in ({"type": "FeatureCollection", "features": [one, one]}, one, [one]):
        assert read_points(b"\xef\xbb\xbf" + json.dumps(document).encode()) == ([bts], [])


def test_geojson_the_wrong_way_round() -> None:
    """A file that puts the latitude first is seen, turned, and said."""
    points, notes = read_points(json.dumps(feature([-6.9, 107.6])).encode())
    assert (points[0].lat, points[0].lon) == (-6.9, 107.6) and "swapped" in notes[0].message


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        (json.dumps(feature([[107.6, -6.9]], "LineString")).encode(), "LineString"),
        (json.dumps(feature(["a", "b"])).encode(), "not a latitude and longitude"),
        (json.dumps(feature([107.6])).encode(), "not a latitude and longitude"),
        (b'{"type": "FeatureCollection", "features": [', "not JSON"),
        (b'{"type": "Topology"}', "no list of features"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"features": []}', "no point"),
        (b"nama;lat;lon\nA;;\n", "missing"),
        (b"nama;alamat\nA;B\n", "no column lat, lon"),
    ],
)
def test_what_is_no_list_of_points(raw: bytes, word: str) -> None:
    """A file without usable points is refused with a sentence that says what is wrong."""
    with pytest.raises(ListError) as caught:
        read_points(raw)
    assert word in caught.value.faults[0].message


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    """A list that was kept reads back as it was, names with commas, quotes and line ends included."""
    queue = tmp_path / "buffer.db"
    stations = [GOOD, Station("3273011001006", 'a,"b";c'), Station("3273011001007", None, -6.123456789012345, 107.1)]
    points = [Point(-6.9, 107.6, "list", 'B,"T"S', "BTS", "XL"), Point(-0.0005, 109.5, "list")]
    assert lists.kept_tps(queue) == [] and lists.kept_points(queue) == []
    path = lists.keep(queue, stations)
    lists.keep(queue, points)
    assert lists.kept_tps(queue) == stations and lists.kept_points(queue) == points
    assert path.stat().st_mode & 0o077 == 0
    lists.keep(queue, stations[:1])
    assert lists.kept_tps(queue) == [GOOD] and lists.kept_points(queue) == points


def test_a_full_disk_leaves_the_list_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that cannot be written whole leaves the one before it as it was, and no half file."""
    queue = tmp_path / "buffer.db"
    lists.keep(queue, [GOOD])

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="space"):
        lists.keep(queue, [Station("3273011001006")])
    assert lists.kept_tps(queue) == [GOOD] and len([p for p in tmp_path.iterdir() if p.is_file()]) == 1
