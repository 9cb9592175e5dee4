"""Languages: whole catalogues, wording rules, and the numbers and times of both languages."""

from __future__ import annotations

import ast
import importlib.util
import io
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigprobe.words import i18n
from sigprobe.words.codes import CODES
from tests.support.at_import import nodes_at_import

ROOT = Path(__file__).parents[2]
WHEN = datetime(2026, 11, 27, 7, 5, tzinfo=UTC)


def tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"tools_{name}", ROOT / "tools" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


catalogues = tool("catalogues")


def indonesian() -> list[tuple[str, str]]:
    pairs = []
    for message in catalogues.read("id"):
        if message.id:
            source = message.id if isinstance(message.id, str) else message.id[-1]
            text = message.string if isinstance(message.string, str) else message.string[0]
            pairs.append((source, text))
    return pairs


def test_catalogues_are_whole() -> None:
    """Every message of the source is translated in both languages, with the same fields and commands."""
    assert catalogues.check() == []


def translated_at_import(source: str) -> list[int]:
    """The lines that translate a text while a module is imported: outside every function body."""
    return [
        node.lineno
        for node in nodes_at_import(ast.parse(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("_", "ngettext")
    ]


def test_no_text_is_translated_at_import() -> None:
    """A module is imported once, but the language may change afterwards, so texts are marked and translated later."""
    early = """A = _("a")
def f(x: O(help=_("b")), y=_("c")):
    return _("d")
class K:
    t = ngettext("e", "f", 1)
"""
    assert translated_at_import(early) == [1, 2, 2, 5], "the control"
    found = {
        f"{path.relative_to(ROOT)}:{line}"
        for path in (ROOT / "sigprobe").rglob("*.py")
        for line in translated_at_import(path.read_text(encoding="utf-8"))
    }
    assert not found


@pytest.mark.parametrize(
    ("source", "text", "fault"),
    [
        ("Hello {name}", "Halo {nama}", "other placeholders"),
        ("Hello {name}", "Halo", "other placeholders"),
        ("Hello", "", "not translated"),
        ("Run: sigprobe init", "Jalankan: sigprobe mulai", "other commands or options"),
        ("Give --tps", "Beri --nomor", "other commands or options"),
    ],
)
def test_check_sees_faults(source: str, text: str, fault: str) -> None:
    """The check itself can fail: each kind of fault is seen."""
    catalogue = catalogues.new_catalogue("id")
    catalogue.add(source, text)
    assert list(catalogues._faults(catalogue[source], 1)) == [fault]


def test_indonesian_wording() -> None:
    """Formal, polite, and with the agreed words."""
    wrong = re.compile(
        r"\b(anda harus|galat|peladen|antrian|nampak|silahkan|resiko|ijin|download|mengupload|kamu)\b", re.IGNORECASE
    )
    commands = re.compile(r"sigprobe [a-z ]+|--[a-z-]+")
    found = [text for _source, text in indonesian() if wrong.search(commands.sub("", text))]
    assert found == []


FIXED = {
    "no_signal": "Tidak ada sinyal seluler di lokasi ini. Hasil tetap tersimpan dan akan dikirim saat ada sambungan.",
    "no_internet": "Sinyal ada, tetapi internet tidak tersambung. Silakan periksa paket data atau mode pesawat.",
    "name_not_found": "Alamat {name} tidak ditemukan (DNS gagal). Silakan coba lagi beberapa saat lagi.",
    "no_fix": "GPS belum mendapat lokasi. "
    "Silakan pindah ke tempat terbuka, atau lanjutkan dengan koordinat TPS terdaftar.",
    "busy": "Pengujian lain masih berjalan. Silakan tunggu atau jalankan: sigprobe status",
    "disk_full": "Ruang penyimpanan penuh. HASIL TIDAK TERSIMPAN. Silakan hapus berkas lain lalu ulangi.",
}


@pytest.mark.parametrize("code", sorted(FIXED))
def test_fixed_sentences(code: str) -> None:
    """The sentences that officers are trained on stand as agreed."""
    texts = dict(indonesian())
    row = CODES[code]
    assert FIXED[code] in f"{texts[row.sentence]} {texts[row.advice]}"


def test_advice_is_polite() -> None:
    """Indonesian advice asks with Silakan, or says that nothing needs doing."""
    texts = dict(indonesian())
    for row in CODES.values():
        assert re.search(r"[Ss]ilakan|Tidak ada yang perlu dilakukan", texts[row.advice]), row.code


def test_extraction_sees_into_f_strings() -> None:
    """A message inside an f-string or with several arguments is found; a variable is not taken for one."""
    source = b"x = f\"{_('inside')} {ngettext('one', 'many', n)}\"\n_(variable)\nN_('a' 'b')\nother('no')\n"
    keywords = ["_", "N_", "ngettext"]
    found = [texts for _line, _name, texts, _c in catalogues.extract_python(io.BytesIO(source), keywords, (), {})]
    assert sorted(map(str, found)) == ["('ab',)", "('inside',)", "('one', 'many', None)"]


@pytest.mark.parametrize(
    ("lang", "texts"),
    [
        ("id", ("1.234,5", "12,4 Mbps", "640 kbps", "14 MB", "1,2 MB", "2 jam 5 menit", "27 Nov 2026 14.05 WIB")),
        ("en", ("1,234.5", "12.4 Mbps", "640 kbps", "14 MB", "1.2 MB", "2 h 5 min", "27 Nov 2026 14:05 WIB")),
    ],
)
def test_numbers_and_times(lang: str, texts: tuple[str, ...]) -> None:
    """Numbers, units, spans and times as each language writes them."""
    said = (
        i18n.number(1234.5, 1, lang),
        i18n.rate(12_400_000, lang),
        i18n.rate(640_000, lang),
        i18n.size(14_000_000, lang),
        i18n.size(1_200_000, lang),
        i18n.duration(7500, lang),
        i18n.clock_text(WHEN, "WIB", lang),
    )
    assert said == texts


@pytest.mark.parametrize(("zone", "text"), [("WIB", "14.05 WIB"), ("WITA", "15.05 WITA"), ("WIT", "16.05 WIT")])
def test_zones(zone: str, text: str) -> None:
    """The country's three zones."""
    assert i18n.clock_text(WHEN, zone, "id", with_date=False) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0 detik"), (59.4, "59 detik"), (60, "1 menit"), (3600, "1 jam"), (90_000, "1 hari 1 jam")],
)
def test_duration(seconds: float, text: str) -> None:
    """Spans in their largest units, never negative."""
    assert i18n.duration(seconds, "id") == text


@given(st.floats(-1e9, 1e9), st.integers(0, 3))
def test_a_rounded_zero_has_no_sign(value: float, digits: int) -> None:
    """-0,0 is never shown."""
    assert not re.fullmatch(r"-[0,.]+", i18n.number(value, digits, "id"))


def test_choice_of_language() -> None:
    """The first known wish, then the locale, then English."""
    assert i18n.choose_language(None, "xx", "id", environ={}) == "id"
    assert i18n.choose_language(environ={"LANG": "id_ID.UTF-8"}) == "id"
    assert i18n.choose_language(environ={"LANG": "in_ID"}) == "id"
    assert i18n.choose_language(environ={"LC_ALL": "C", "LANG": "id_ID"}) == "en"
    assert i18n.choose_language(environ={}) == "en"
    with pytest.raises(ValueError, match="id, en"):
        i18n.set_language("fr")
