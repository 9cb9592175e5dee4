"""The screen of a run: its exact text, its bounds, and what it does on poor consoles."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sigprobe.record.result import Location, Network, Operator, Outcome, Tags
from sigprobe.render import words
from sigprobe.render.console import traits
from sigprobe.render.first_line import first_line
from sigprobe.render.screen import headline_of, identity, summary, summary_plain
from sigprobe.render.view import RunView, UploadKind, UploadLine
from sigprobe.verdict import decide
from sigprobe.words.codes import CODES
from sigprobe.words.i18n import set_language
from tests.render.samples import NEED, RTTS, TAGS, WHEN, dns, ping, result, speed, view, web

Speak = Callable[[str], None]

GOOD_ID = """\
TPS 3273011001005 · Kota Bandung · Telkomsel 4G · 27 Nov 2026 14.05 WIB
GPS -6,91474 107,60981 (±8 m)
  Sinyal             -98 dBm  ~ sedang
  Latensi              62 ms  ✓ baik    ▁▁▃▂█▁▂▂  jitter 9 ms
  Paket hilang           0 %  ✓ baik
  DNS                  41 ms  ✓ baik
  Unduh            12,4 Mbps  ✓ baik
  Unggah            1,1 Mbps  ! kurang  (batas 2 Mbps)
  sirekap (HTTPS)     380 ms  ✓ baik
Hasil: INTERNET LAMBAT SAAT MENGUNGGAH. Data terpakai 14 MB.
Kemungkinan: jaringan operator terlalu padat, batas kecepatan paket data atau
  pengguna lain di jaringan ini. Cara memastikan: ulangi pengujian dengan
  operator lain, lalu cek kuota data (*888#), lalu minta pengguna lain
  menghentikan unduhan dan video.
Tersimpan. Sudah dikirim ke server pusat (0 menunggu).
Berikutnya: sigprobe status
"""
GOOD_EN = """\
TPS 3273011001005 · Kota Bandung · Telkomsel 4G · 27 Nov 2026 14:05 WIB
GPS -6.91474 107.60981 (±8 m)
  Signal             -98 dBm  ~ medium
  Latency              62 ms  ✓ good    ▁▁▃▂█▁▂▂  jitter 9 ms
  Packet loss            0 %  ✓ good
  DNS                  41 ms  ✓ good
  Download         12.4 Mbps  ✓ good
  Upload            1.1 Mbps  ! poor    (limit 2 Mbps)
  sirekap (HTTPS)     380 ms  ✓ good
Result: THE INTERNET IS SLOW WHEN UPLOADING. Data used 14 MB.
Possible: operator's network overloaded, speed limit of the data plan or other
  users of this network. To find out: repeat the test with another operator,
  then check the data quota (*888#), then ask others to pause downloads and
  video.
Saved. Sent to the collector (0 waiting).
Next: sigprobe status
"""
BLANK_ID = """\
Lokasi kpu-kota-bandung · 27 Nov 2026 15.05 WITA
GPS belum mendapat lokasi. [SP-GPS-01]
  Latensi                     ✗ gagal    [SP-NET-06]
  DNS                         ✗ gagal    [SP-NET-04]
  sirekap (HTTPS)             ✗ gagal    [SP-DNS-01]
  Kecepatan                   – belum diuji [SP-LCK-01]
Perangkat ini tidak punya gateway bawaan, jadi jaringan lain tidak dapat
  dijangkau. [SP-NET-06]
Tidak ada rute dari perangkat ini ke kpu. [SP-NET-04]
Alamat sirekap tidak ditemukan (DNS gagal). [SP-DNS-01]
Pengujian lain masih berjalan. [SP-LCK-01]
Hasil: TIDAK TERSAMBUNG KE JARINGAN. Data terpakai 0 B.
Silakan nyalakan data seluler atau Wi-Fi, matikan mode pesawat, lalu coba lagi.
Tersimpan. Server pusat belum dapat dihubungi. 5 hasil aman di perangkat ini;
  pengiriman dicoba lagi pukul 15.35 WITA. [SP-SYN-01]
Berikutnya: sigprobe upload
"""
PLAIN_ID = """\
TPS 3273011001005, Kota Bandung, Telkomsel 4G, 27 Nov 2026 14.05 WIB
GPS -6,91474 107,60981 (±8 m)
Sinyal: -98 dBm, sedang
Latensi: 62 milidetik, baik, jitter 9 milidetik
Paket hilang: 12 persen, buruk, batas 3 persen
Hasil: BANYAK PAKET HILANG DI INTERNET.
Data terpakai 14 MB.
Kemungkinan: jaringan operator terlalu padat, batas kecepatan paket data atau pengguna lain di jaringan ini. \
Cara memastikan: ulangi pengujian dengan operator lain, \
lalu cek kuota data (*888#), lalu minta pengguna lain menghentikan unduhan dan video.
Tersimpan. Sudah dikirim ke server pusat (0 menunggu).
Berikutnya: sigprobe status
"""


def field_run() -> RunView:
    return view([ping(), dns(), speed(), web()])


def blank_spot() -> RunView:
    tags = Tags(site="kpu-kota-bandung")
    results = [
        result("ping", "gateway", "default-gateway", "no_gateway", tags=tags),
        result("dns", "kpu", "kpu.go.id", "network_unreachable", tags=tags),
        result("http", "sirekap", "https://sirekap-web.kpu.go.id/", "name_not_found", tags=tags),
        result("throughput", "center", "https://c.example/", "busy", Outcome.SKIPPED, tags=tags),
    ]
    retry = datetime(2026, 11, 27, 7, 35, tzinfo=UTC)
    upload = UploadLine("kept", 5, retry)
    return view(
        results, tags=tags, place=None, zone="WITA", data_used_bytes=0, pending=5, upload=upload, place_may_come=True
    )


def test_golden(speak: Speak) -> None:
    """A run in the field looks exactly so, in both languages."""
    speak("id")
    assert summary(field_run()) == GOOD_ID
    speak("en")
    assert summary(field_run()) == GOOD_EN


def test_blank_spot(speak: Speak) -> None:
    """A blank spot says what failed with its code, that all is kept, and when it is sent again."""
    speak("id")
    assert re.sub(r" +\[SP", " [SP", summary(blank_spot())) == re.sub(r" +\[SP", " [SP", BLANK_ID)


def test_why_there_is_no_position(speak: Speak) -> None:
    """A GPS that has no position yet is not blamed where none is in use, nor in a run that is shown again."""
    speak("id")
    told = {may: summary(replace(blank_spot(), place_may_come=may)).splitlines()[1] for may in (True, False, None)}
    assert told == {
        True: "GPS belum mendapat lokasi. [SP-GPS-01]",
        False: "Tanpa lokasi: GPS tidak dipakai.",
        None: "Lokasi tidak tercatat.",
    }


def test_plain(speak: Speak) -> None:
    """For a screen reader: one record a line, percentages and milliseconds in words, no symbols or curves."""
    speak("id")
    text = summary_plain(view([ping(loss_ratio=0.12)]))
    assert text == PLAIN_ID
    assert not set(text) & set("✓✗▁▂▃▄▅▆▇█│─%")


def test_color_changes_nothing_but_color() -> None:
    """Without its colour codes the coloured screen is the plain one, and each word stands beside its symbol."""
    colored = summary(field_run(), color=True)
    assert "\x1b[" in colored
    bare = re.sub(r"\x1b\[[0-9;]*m", "", colored)
    assert [line.rstrip() for line in bare.splitlines()] == summary(field_run()).splitlines()


def test_ascii_set(speak: Speak) -> None:
    """On a console without ✓ and ▁ nothing raises, and the columns stay where they are."""
    speak("id")
    text = summary(field_run(), ascii=True)
    assert text.isascii()
    assert "+ baik" in text and "(+-8 m)" in text
    widths = [line.index("Mbps") for line in text.splitlines() if "Mbps" in line and line.startswith("  Un")]
    assert len(set(widths)) == 1


class Tty(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("encoding", "environ", "color", "ascii_only"),
    [
        ("utf-8", {"TERM": "xterm"}, True, False),
        ("utf-8", {"TERM": "xterm", "NO_COLOR": "1"}, False, False),
        ("utf-8", {"TERM": "dumb"}, False, True),
        ("cp1252", {"TERM": "xterm"}, True, True),
        ("ascii", {}, True, True),
    ],
)
def test_console(encoding: str, environ: dict[str, str], color: bool, ascii_only: bool) -> None:
    """NO_COLOR, TERM=dumb and the console's encoding decide how it is drawn."""
    stream = Tty(io.BytesIO(), encoding=encoding)
    look = traits(stream, environ)
    assert (look.color, look.ascii) == (color, ascii_only)
    assert look.width <= 80
    stream.write(summary(field_run(), ascii=look.ascii, color=look.color, width=look.width))
    stream.flush()


def test_no_color_off_a_terminal() -> None:
    """A pipe gets no colour and no animation."""
    look = traits(io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), {})
    assert (look.tty, look.color) == (False, False)


@pytest.mark.parametrize(
    ("upload", "says"),
    [
        (UploadLine("sent"), "Saved. Sent to the collector (2 waiting)."),
        (UploadLine("off"), "Saved. Not sent (2 waiting)."),
        (None, "Saved. Not sent (2 waiting)."),
        (UploadLine("none"), "No collector is configured"),
        (
            UploadLine("tokenless"),
            "Not sent (2 waiting): this device has no usable token. Next: sigprobe doctor",
        ),
        (UploadLine("kept"), "[SP-SYN-01]"),
        (UploadLine("kept", 1, WHEN), "1 result is safe on this device; upload will be retried at 14:05 WIB."),
        (UploadLine("portal"), "[SP-SYN-02]"),
        (UploadLine("token"), "[SP-SYN-03]"),
        (UploadLine("busy"), "[SP-SYN-04]"),
        (UploadLine("tls"), "[SP-SYN-05]"),
        (UploadLine("refuses"), "[SP-SYN-08]"),
        (UploadLine("unnoted"), "[SP-DSK-04]"),
        (UploadLine("storage"), "[SP-DSK-05]"),
        (UploadLine("set_aside", 3), "[SP-SYN-06]"),
    ],
)
def test_upload_line(upload: UploadLine | None, says: str) -> None:
    """Each way the sending can end has its sentence, and all start by saying that the results are saved."""
    text = " ".join(summary(view([ping()], upload=upload, pending=2)).split())
    assert says in text
    assert "Saved." in text


def test_data_of_other_programs_stands_apart(speak: Speak) -> None:
    """What crossed the interface beside the run's own bytes is told as that of others, and nothing where none did."""
    speak("en")
    beside = replace(field_run(), data_used_bytes=100_000, interface_bytes=5_500_000)
    assert "Data used 100 kB. Other programs used 5.4 MB." in " ".join(summary(beside).split())
    assert "Other programs used 5.4 MB." in summary_plain(beside)
    for alone in (None, 100_000, 90_000):
        assert "Other programs" not in summary(replace(beside, interface_bytes=alone))


def test_not_saved_never_says_saved() -> None:
    """A full disk is said in capitals, and nothing claims that the result was kept."""
    text = summary(view([ping()], storage_failure="disk_full", saved=0))
    assert "NOT SAVED" in text and "[SP-DSK-01]" in text
    assert "Saved." not in text
    assert text.endswith("Next: sigprobe doctor\n")


@pytest.mark.parametrize("failed", [0, 3])
def test_at_most_twelve_rows(failed: int) -> None:
    """However many checks there are, the table has twelve rows, and no failure is among what is left out."""
    bad = [web(f"good{i}") for i in range(20)] + [
        result("http", f"bad{i}", "https://b.example/", "refused") for i in range(failed)
    ]
    text = summary(view(bad))
    table = [line for line in text.splitlines() if re.search(r"HTTPS|Signal|more lines", line)]
    assert len(table) == 12
    assert all(f"bad{i} (HTTPS)" in text for i in range(failed))
    assert "more lines" in table[-1]


def test_outside_text_cannot_steer_the_terminal() -> None:
    """Control characters in names, places and operators never reach the console."""
    tags = Tags(site="x\x1b[2J", network=Network(operator=Operator(name="Evil\x1b]0;t\x07\u202e")))
    text = summary(view([result("later", "a\x1b[1m", tags=tags)], tags=tags, place="p\r\nq"))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", text)
    assert len(text.splitlines()) < 12


def test_identity() -> None:
    """A TPS, a site, or neither."""
    assert identity(TAGS) == "TPS 3273011001005"
    assert identity(Tags(site="kantor")) == "Site kantor"
    assert identity(Tags()) == "Without TPS number"


TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
NUMBERS = st.none() | st.floats(0, 1e11)
FRACTION = st.none() | st.floats(0, 1)


@st.composite
def runs(draw: st.DrawFn) -> RunView:
    tags = Tags(
        tps_id=draw(st.none() | st.just("3273011001005")),
        site=draw(st.none() | TEXT),
        location=draw(
            st.none()
            | st.builds(
                Location,
                lat=st.floats(-90, 90),
                lon=st.floats(-180, 180),
                accuracy_m=NUMBERS,
                source=st.sampled_from([None, "gpsd", "fixed", "manual"]),
                fix_age_s=st.none() | st.floats(-1e6, 1e9),
            )
        ),
        network=Network(
            access=draw(st.sampled_from([None, "wifi", "cellular", "ethernet", "odd"])),
            operator=Operator(name=draw(st.none() | TEXT)),
            rat=draw(st.sampled_from([None, "lte", "nr", "other"])),
            rssi_dbm=draw(st.none() | st.floats(-150, 0)),
        ),
    )
    results = []
    for index in range(draw(st.integers(0, 15))):
        outcome = draw(st.sampled_from(list(Outcome)))
        code = None if outcome is Outcome.OK else draw(st.sampled_from([*CODES, "from_the_future"]))
        data = {
            key: draw(NUMBERS)
            for key in ("rtt_median_ms", "jitter_ms", "query_ms", "total_ms", "download_bps", "upload_bps")
        }
        data |= {"loss_ratio": draw(FRACTION), "rtts_ms": draw(st.none() | st.lists(NUMBERS, max_size=12))}
        kind = draw(st.sampled_from(["ping", "dns", "http", "throughput", "path"]))
        results.append(result(kind, f"{index}{draw(TEXT)}", draw(st.none() | TEXT), code, outcome, tags, **data))
    kinds = list(get_args(UploadKind))
    upload = draw(
        st.none() | st.builds(UploadLine, st.sampled_from(kinds), st.integers(0, 10**6), st.none() | st.just(WHEN))
    )
    return RunView(
        results=results,
        verdict=decide(results, NEED),
        tags=tags,
        started_at=WHEN,
        profile=draw(st.sampled_from([None, NEED])),
        zone=draw(st.sampled_from(["WIB", "WITA", "WIT"])),
        place=draw(st.none() | TEXT),
        data_used_bytes=draw(st.integers(0, 10**13)),
        saved=draw(st.integers(0, 20)),
        pending=draw(st.integers(0, 10**7)),
        upload=upload,
        storage_failure=draw(st.sampled_from([None, "disk_full"])),
        warnings=draw(st.lists(TEXT, max_size=2)),
    )


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(runs(), st.sampled_from(["id", "en"]), st.integers(40, 120), st.booleans())
def test_bounds(run: RunView, language: str, width: int, ascii_only: bool) -> None:
    """Whatever was measured, no line is wider than 80 columns or the console, and the verdict is there."""
    set_language(language)
    text = summary(run, width=width, ascii=ascii_only)
    for line in text.splitlines():
        assert words.columns(line) <= min(width, 80)
        assert line == line.rstrip()
    assert ("Hasil: " if language == "id" else "Result: ") in text
    assert not ascii_only or text.isascii()
    assert all(c.isprintable() or c == "\n" for c in text)
    plain = summary_plain(run)
    assert len(plain.splitlines()) >= 5
    assert all(c.isprintable() or c == "\n" for c in plain)


@given(st.sampled_from(sorted(CODES)), st.dictionaries(st.sampled_from(["name", "names", "n"]), TEXT))
def test_sentences_never_raise(code: str, values: dict[str, str]) -> None:
    """Missing fields leave a sentence that can be read, in both languages."""
    for language in ("id", "en"):
        set_language(language)
        text = words.sentence(code, **values) + words.advice(code, **values)
        assert "{" not in words.sentence(code)
        assert text
    assert "from_the_future" in words.sentence("from_the_future")


def test_first_line(speak: Speak) -> None:
    """The first line says who, what, how long and how much."""
    speak("id")
    steps = ["gateway", "kpu", "sirekap", "center"]
    text = first_line("TPS 3273011001005", "Kota Bandung", "Telkomsel", steps, 45, 40_000_000)
    assert text.splitlines()[0] == "TPS 3273011001005 · Kota Bandung · Telkomsel"
    assert "gateway, kpu, sirekap, center: sekitar 45 detik, paling banyak 40 MB" in text
    assert all(len(line) <= 80 for line in text.splitlines())
    assert first_line(None, None, None, [], 0, 0, ascii=True).isascii()


@pytest.mark.process
def test_first_line_loads_no_rich() -> None:
    """The first line and the uncoloured screen must be quick, so Rich stays out."""
    code = (
        "import sys; from sigprobe.render.first_line import first_line; first_line('a', None, None, ['b'], 1, 1);"
        "from sigprobe.render import live, machine, status; sys.exit('rich' in sys.modules or 'yaml' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0 ms"), (0.07, "0.07 ms"), (0.42, "0.4 ms"), (9.2, "9 ms"), (1234.5, "1,234 ms")]
)
def test_millis(value: float, text: str) -> None:
    """Milliseconds have as many digits as they are worth."""
    assert words.millis(value) == text


@pytest.mark.parametrize(
    ("values", "curve"),
    [([], ""), ([1.0], ""), ([5.0, 5.1], "▂▂"), ([0.0, 7.0], "▁█"), ([1.0, None, 9.0], "▁×█"), (RTTS[-3:], "▂×▂")],
)
def test_spark(values: list[float | None], curve: str) -> None:
    """Equal values are flat, lost ones a cross, and one value alone is no curve."""
    assert words.spark(values) == curve


@pytest.mark.parametrize(("language", "label"), [("id", "Jalur ke internet"), ("en", "Internet path")])
def test_the_path_is_named_in_words(speak: Speak, language: str, label: str) -> None:
    """The check that every run adds by itself is called what it is, not by its kind."""
    speak(language)
    text = summary(view([ping(), result("path", "path", code="no_network")]))
    assert label in text
    assert "  path " not in text, "the kind's own name"


@pytest.mark.parametrize(
    ("language", "told", "says", "word"),
    [
        ("en", ["10.33.1.1"], "It returns 10.33.1.1; other servers return 203.0.113.7.", "false answer"),
        ("en", [], "It returns no such name; other servers return 203.0.113.7.", "false answer"),
        ("id", ["10.33.1.1"], "Jawabannya 10.33.1.1; menurut server lain 203.0.113.7.", "jawaban palsu"),
    ],
)
def test_a_false_answer_of_the_resolver_is_shown_with_both(
    speak: Speak, language: str, told: list[str], says: str, word: str
) -> None:
    """However fast it came it is not good, and both answers stand on the screen."""
    speak(language)
    compared = {"word": "tampered", "reason": "private", "system": told, "others": ["203.0.113.7"]}
    false = result("dns", "kpu", "kpu.go.id", "tampered", Outcome.DEGRADED, query_ms=4.0, comparison=compared)
    for text in (summary(view([ping(), false])), summary_plain(view([ping(), false]))):
        assert says in " ".join(text.split())
        assert word in text and "[SP-DNS-10]" in text


def test_nothing_is_said_of_an_internet_that_was_not_tested() -> None:
    """Where only this device and its gateway were asked, their answers are no word about the way beyond."""
    here = result("http", "demo", "http://127.0.0.1:8001/", total_ms=3.0)
    gate = result("ping", "gateway", "default-gateway", rtt_median_ms=2.0, loss_ratio=0.0)
    assert "THE INTERNET WAS NOT TESTED" in headline_of(view([here, gate]))
    assert headline_of(view([here, gate, ping("world")])) == "THE CONNECTION WORKS WELL"
    point = {"address": "1.1.1.1", "place": "beyond", "answers": True, "rtts_ms": []}
    assert headline_of(view([here, gate, result("path", "path", references=[point])])) == "THE CONNECTION WORKS WELL"


@pytest.mark.parametrize(
    ("text", "width"),
    [
        ("", 0),
        ("Kota Bandung · ✓ …", 18),
        ("e\u0301", 1),
        ("日本", 4),
        ("a\u200bb", 2),
        ("\U0001f468\u200d\U0001f469\u200d\U0001f467", 2),
    ],
)
def test_the_width_of_a_text_is_that_on_a_terminal(text: str, width: int) -> None:
    """Accents and invisible characters take no column, wide letters and a family in one emoji take two."""
    assert words.columns(text) == width
    assert words.columns(words.pad(text, 20)) == 20


def test_our_own_symbols_need_no_tables() -> None:
    """The fast way counts as Rich does for every character that it knows."""
    from rich.cells import cell_len

    known = [chr(code) for code in range(0x20, 0x3000) if words._NARROW.fullmatch(chr(code))]
    assert len(known) > 300
    assert [char for char in known if cell_len(char) != 1] == []


@pytest.mark.parametrize("width", [40, 60, 80])
@pytest.mark.parametrize("language", ["id", "en"])
def test_a_narrow_terminal_shows_whole_values(width: int, language: str, speak: Speak) -> None:
    """On 40 columns nothing is cut in the middle: a value keeps its unit, a note is whole or left out."""
    from sigprobe.render import live

    speak(language)
    run = [ping(), dns(), web(), speed(), result("dns", "kpu", "kpu.go.id", "name_not_found")]
    text = summary(view(run), width=width)
    assert all(words.columns(line) <= width for line in text.splitlines())
    cut = [line for line in text.splitlines() if line.startswith("  ") and line.endswith("…")]
    assert cut == []
    step = live._Step("throughput", "download", 12_400_000.0, "bps", 0.5, [1.0, 2.0])
    assert "Mbps" in live._line("center", step, width) and "50 %" in live._line("center", step, width)
    lines = [live._line("a-name-that-is-long", step, width)]
    lines += [line for one in run for line in live.final_lines(one, None, width)]
    assert all(words.columns(f"  {line}".rstrip()) < width for line in lines), lines
    begin = first_line("TPS 3273011001005", "Kota Bandung", "Telkomsel", ["a", "b", "c"], 23, 9_000_000, width=width)
    assert all(words.columns(line) <= width for line in begin.splitlines())


def test_results_on_a_narrow_terminal(speak: Speak) -> None:
    """Two lines a record, with its time, outcome, check, target and state."""
    from sigprobe.render.status import ListedResult, results_text

    speak("en")
    text = results_text([ListedResult(ping().to_dict(), "pending")], width=40)
    assert text == "27 Nov 2026 14:05 WIB  ✓ ok\n  ping gateway · waiting\n"


def test_a_countdown_without_a_limit(speak: Speak) -> None:
    """What the first line promised is counted down as an estimate; once it is over, no time is claimed."""
    from sigprobe.render.console import Traits
    from sigprobe.render.live import Live

    speak("en")
    now = [100.0]
    live = Live(look=Traits(80, True, False, False), expected_s=23, stream=io.StringIO(), clock=lambda: now[0])
    live.started("gateway", "ping")
    assert live.lines()[-1].strip() == "about 23 s left"
    now[0] += 20
    assert live.lines()[-1].strip() == "about 3 s left"
    now[0] += 20
    assert live.lines()[-1].strip() == "finishing"
    live.cleared("gateway")
    assert live.lines() == []
