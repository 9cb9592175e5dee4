"""The table of regencies, districts and villages, and what is suggested for a slip."""

from __future__ import annotations

import importlib.util
import io
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sigprobe import places
from sigprobe.places import areas
from sigprobe.tag.tps import TpsError, parse_tps

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A table that nobody has read yet, before the test and after it."""

    def forget() -> None:
        areas._header.cache_clear()
        areas._block.cache_clear()

    forget()
    yield monkeypatch  # type: ignore[misc]
    monkeypatch.undo()
    forget()


def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("places_tool", ROOT / "tools" / "places.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("code", "full", "title"),
    [
        ("3273011001005", "Sukarasa, Sukasari, Kota Bandung, Jawa Barat", "Kota Bandung"),
        ("9671011001001", "Remu Utara, Sorong, Kota Sorong, Papua Barat Daya", "Kota Sorong"),
        ("3101011001001", None, "Kab. Administrasi Kepulauan Seribu"),
        ("110101", "Bakongan, Kabupaten Aceh Selatan, Aceh", "Kab. Aceh Selatan"),
        ("3273", "Kota Bandung, Jawa Barat", "Kota Bandung"),
        ("3273999001005", "Kota Bandung, Jawa Barat", "Kota Bandung"),
        ("3299011001005", "Jawa Barat", "Jawa Barat"),
        ("2073011001005", None, None),
        ("32x", "Jawa Barat", "Jawa Barat"),
        ("", None, None),
        (None, None, None),
    ],
)
def test_a_code_names_its_place(code: str | None, full: str | None, title: str | None) -> None:
    """A code gives the names that the table has for it, and none for what it does not have."""
    found = places.place(code)
    assert found.title == title
    if code != "3101011001001":
        assert found.full == full


def test_every_block_is_whole() -> None:
    """All 38 provinces hold villages, and counts are those the table states: 514, 7,285 and 83,762."""
    info = places.table_info()
    assert info is not None
    assert set(info.blocks) == set(places.PROVINCES)
    texts = [areas._block(code) or "" for code in info.blocks]
    lines = [line for text in texts for line in text.split("\n")[1:]]
    counts = {
        "regencies": sum(line.startswith("=") for line in lines),
        "districts": sum(line.startswith("-") for line in lines),
        "villages": sum(line[:1].isdigit() for line in lines),
    }
    assert counts == dict(info.counts) == {"regencies": 514, "districts": 7285, "villages": 83762}
    assert sum(counts.values()) == len(lines)


def test_the_file_says_whose_data_it_is() -> None:
    """Attribution, licence and vintage stand readable at the head of the file, and in the documentation."""
    head = areas.FILE.read_bytes()[:2000]
    info = places.table_info()
    assert info is not None and info.licence == "ODbL-1.0" and info.as_of == "2025-04"
    for text in (info.attribution, info.decree, info.as_of):
        assert text.encode() in head
    document = (ROOT / "docs" / "data.md").read_text()
    assert "ODbL" in document and "idn-area-data" in document and info.as_of in document and info.decree in document
    assert areas.FILE.stat().st_size < 600_000


def test_a_village_that_is_not_listed_is_a_doubt_and_no_more() -> None:
    """An unknown village in a listed province is doubtful; a known one, a short code and no province are not."""
    assert places.place("3273011099005").doubtful
    assert not places.place("3273011001005").doubtful
    assert not places.place("3273").doubtful and not places.place("2073011001005").doubtful
    parse_tps("3273011099005")  # the shape is right, so it may be used


def test_a_province_that_the_list_lacks_raises_no_doubt(fresh: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A list from before a province was founded says nothing against the codes of that province."""
    tool = maker()
    older = tmp_path / "areas.bin"
    older.write_bytes(tool.build({"92": "\n=01Kabupaten Sorong\n-01Makbon\n2001Asbaken"}, {"villages": 1}))
    fresh.setattr(areas, "FILE", older)
    assert not places.place("9671011001001").doubtful
    assert places.place("9671011001001").title == "Papua Barat Daya"
    assert places.place("9201012001001").known and places.place("9201012002001").doubtful


@pytest.mark.parametrize("damage", ["missing", "empty", "foreign", "cut", "flipped", "header"])
def test_a_damaged_table_costs_names_only(fresh: pytest.MonkeyPatch, tmp_path: Path, damage: str) -> None:
    """Without a readable table the province stays, nothing is doubted, and nothing raises."""
    raw = areas.FILE.read_bytes()
    at, length = (places.table_info() or pytest.fail("no table")).blocks["32"]
    broken = tmp_path / "areas.bin"
    if damage != "missing":
        middle = at + length // 2
        broken.write_bytes(
            {
                "empty": b"",
                "foreign": b"PK\x03\x04" + raw[4:],
                "cut": raw[:middle],
                "flipped": raw[:middle] + bytes(b ^ 0x55 for b in raw[middle : middle + 64]) + raw[middle + 64 :],
                "header": raw[:40] + b"\x00" + raw[41:],
            }[damage]
        )
    areas._header.cache_clear()
    areas._block.cache_clear()
    fresh.setattr(areas, "FILE", broken)
    found = places.place("3273011001005")
    assert found.title == "Jawa Barat" and not found.known and not found.doubtful
    assert places.near_misses("2273011001005") in ((), ("1273011001005",))


@pytest.mark.process
def test_one_look_up_is_quick() -> None:
    """A first look-up in a fresh process takes under 30 ms: one block is read, not the table."""
    script = (
        "import time; from sigprobe.places import place; t = time.perf_counter();"
        "assert place('3515182001001').known; print(time.perf_counter() - t)"
    )
    spent = [float(subprocess.check_output([sys.executable, "-c", script], text=True)) for _ in range(3)]
    assert min(spent) < 0.030


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("2273011001005", "3273011001005"),  # a wrong digit in the province
        ("3273010101005", "3273011001005"),  # two digits swapped
        ("327301101005", "3273011001005"),  # one missing
        ("32733011001005", "3273011001005"),  # one typed twice
        ("32730110015", "3273011001005"),  # zeros left out of the station's number
        ("327301100105", "3273011001005"),
        ("3273011001000", None),  # the station's number is never guessed
        ("32730", None),
        ("telkomsel", None),
        ("3273011001005", None),
    ],
)
def test_a_slip_is_recognised(typed: str, meant: str | None) -> None:
    """What was most likely meant is among the first three; nothing is made up where nothing can be known."""
    found = places.near_misses(typed)
    assert len(found) <= 3 and typed not in found
    if meant is not None:
        assert meant in found
    elif not typed.startswith("3273011001"):
        assert found == ()
    for code in found:
        assert parse_tps(code) == code and places.place(code).known


def villages() -> list[str]:
    text = areas._block("32") or ""
    codes, regency, district = [], "", ""
    for line in text.split("\n")[1:]:
        if line.startswith("="):
            regency = line[1:3]
        elif line.startswith("-"):
            district = line[1:3]
        else:
            codes.append("32" + regency + district + line[:4])
    return codes


VILLAGES = villages()


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(VILLAGES), st.integers(1, 999), st.integers(0, 9), st.integers(0, 9), st.booleans())
def test_any_slip_leads_back(village: str, number: int, at: int, digit: int, swap: bool) -> None:
    """One wrong or swapped digit in a listed village's code is among all the codes one slip away."""
    right = f"{village}{number:03d}"
    if swap and at < 9:
        typed = right[:at] + right[at + 1] + right[at] + right[at + 2 :]
    else:
        typed = right[:at] + str(digit) + right[at + 1 :]
    if typed != right:
        assert right in places.near_misses(typed, limit=200)


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(max_size=20), st.text("0123456789", max_size=16)))
def test_no_text_raises(text: str) -> None:
    """Any text at all has a place, perhaps an empty one, and perhaps suggestions."""
    found = places.place(text)
    assert not (found.known and found.doubtful)
    if found.known:
        assert found.village and found.district and found.regency and found.province
    assert len(places.near_misses(text)) <= 3
    if found.doubtful and len(text) == 13:
        try:
            parse_tps(text)
        except TpsError:
            assert text[2:4] == "00" or text[4:6] == "00" or text[6] not in "123" or text.endswith("000")


def test_the_tool_refuses_another_package(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only the package whose digest is written down makes the table, so that it can be made again."""
    other = tmp_path / "other.tgz"
    with tarfile.open(other, "w:gz") as package:
        package.addfile(tarfile.TarInfo("package/data/villages.csv"), io.BytesIO())
    tool = maker()
    before = areas.FILE.read_bytes()
    assert tool.main([str(other)]) == 2
    assert tool.SHA256 in capsys.readouterr().err
    assert areas.FILE.read_bytes() == before


def test_the_table_is_what_the_tool_writes() -> None:
    """Rebuilding from the table's own texts gives the same header and texts: format and tool agree."""
    tool = maker()
    raw = areas.FILE.read_bytes()
    fields, texts = tool.inflate(raw)
    counts = fields["counts"]
    assert isinstance(counts, dict)
    assert tool.inflate(tool.build(texts, counts)) == (fields, texts)


def test_time_is_not_spent_twice() -> None:
    """A second look-up in the same province reads nothing."""
    places.place("3273011001005")
    began = time.perf_counter()
    for _ in range(100):
        places.place("3273011001005")
    assert time.perf_counter() - began < 0.5
