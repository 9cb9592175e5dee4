"""Status, results, doctor, explanations and the live line: plain values in, text out."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable

import pytest

from sigprobe.render import words
from sigprobe.render.console import Traits
from sigprobe.render.live import Live
from sigprobe.render.status import (
    DoctorLine,
    ListedResult,
    StatusView,
    Usage,
    codes_text,
    doctor_text,
    explain_kind_text,
    explain_text,
    results_text,
    status_command,
    status_text,
)
from sigprobe.words.codes import CODES
from tests.render.samples import NEED, WHEN, dns, ping, result, speed

Speak = Callable[[str], None]

STATUS_ID = """\
Antrean kirim           3 menunggu
Tertua yang menunggu    27 Nov 2026 14.05 WIB
Terkirim                1.200
Disisihkan              2
                        2 × seq must be positive
Pengiriman terakhir     belum pernah
Percobaan terakhir      Yang menjawab bukan server pusat, mungkin halaman login
                        jaringan ini. Tidak ada yang terkirim. [SP-SYN-02]
Pengujian berikutnya    belum dijadwalkan (sigprobe schedule install)
Lokasi terakhir         belum ada
Data terpakai hari ini  14 MB dari 400 MB
Penyimpanan             /var/lib/sigprobe/buffer.db (1,1 MB dari 256 MB)
Berikutnya: sigprobe upload
"""
DOCTOR_ID = """\
✓ baik        jam: selaras
✗ kesalahan   ping: tidak diizinkan
              > sudo sysctl -w net.ipv4.ping_group_range='0 2147483647'
1 kesalahan, 0 peringatan.
"""
TTY = Traits(80, True, True, False)
PIPE = Traits(80, False, False, False)


def full_status() -> StatusView:
    return StatusView(
        pending=3,
        acked=1200,
        rejected=2,
        oldest_pending_at=WHEN,
        last_attempt="collector_portal",
        reasons={"seq must be positive": 2},
        day=Usage(14_000_000, 400_000_000),
        buffer_path="/var/lib/sigprobe/buffer.db",
        buffer_bytes=1_100_000,
        buffer_limit_bytes=256_000_000,
        collectors=1,
    )


def test_status_golden(speak: Speak) -> None:
    """The status looks exactly so in Indonesian."""
    speak("id")
    assert status_text(full_status()) == STATUS_ID


@pytest.mark.parametrize("language", ["id", "en"])
def test_status_bounds(speak: Speak, language: str) -> None:
    """No line is wider than 80 columns, a long path is whole, and ASCII holds only ASCII."""
    speak(language)
    path = "/home/petugas/" + "x" * 100 + "/buffer.db"
    view = StatusView(buffer_path=path, other_queues=["/a/b"], last_fix="x", last_fix_at=WHEN, next_run_at=WHEN)
    text = status_text(view, ascii=True)
    assert text.isascii()
    assert all(len(line) <= 80 for line in text.splitlines())
    assert path in "".join(line.strip() for line in text.splitlines())
    assert path in status_text(view, plain=True)


@pytest.mark.parametrize(
    ("view", "command"),
    [
        (StatusView(pending=1, collectors=1), "sigprobe upload"),
        (StatusView(pending=1), "sigprobe explain SP-SYN-07"),
        (StatusView(rejected=1, collectors=1), "sigprobe results --state rejected"),
        (StatusView(collectors=1), "sigprobe test"),
    ],
)
def test_status_command(view: StatusView, command: str) -> None:
    """The next command fits the state."""
    assert status_command(view) == command


def test_doctor(speak: Speak) -> None:
    """Each check has symbol and word, each fault its fix on a line of its own, ready to paste."""
    speak("id")
    lines = [
        DoctorLine("jam", "ok", "selaras", "never shown"),
        DoctorLine("ping", "fail", "tidak diizinkan", "sudo sysctl -w net.ipv4.ping_group_range='0 2147483647'"),
    ]
    assert doctor_text(lines) == DOCTOR_ID
    assert doctor_text(lines, ascii=True).isascii()
    assert "perbaikan: sudo sysctl" in doctor_text(lines, plain=True)
    assert doctor_text(lines[:1]).endswith("Tidak ada masalah.\n")


@pytest.mark.parametrize("name", sorted(CODES))
def test_explain(name: str) -> None:
    """Every code can be explained, with no field left open."""
    text = explain_text(CODES[name])
    assert CODES[name].screen in text and "{" not in text
    assert all(len(line) <= 80 for line in text.splitlines())


def test_results_table() -> None:
    """The last twenty records, with their codes and states; foreign and broken records do not raise."""
    records = [ping(), dns(), result("http", "sirekap", "https://x/", "refused")]
    text = results_text([ListedResult(r.to_dict(), "pending") for r in records])
    assert "SP-TGT-02" in text and "waiting" in text
    odd = [ListedResult({"kind": "later", "outcome": "odd\x1b", "started_at": None, "target": 3}, "new")] * 30
    lines = results_text(odd, ascii=True).splitlines()
    assert len(lines) == 21
    assert all(len(line) <= 80 and line.isprintable() for line in lines)
    assert "sigprobe test" in results_text([])
    assert "http, sirekap" in results_text([ListedResult(records[2].to_dict(), "acked")], plain=True)


def test_live_off_a_terminal() -> None:
    """Without a terminal there is one plain line per finished row, and no escape code."""
    out = io.StringIO()
    with Live(stream=out, look=PIPE, profile=NEED) as live:
        live.started("center", "throughput")
        live.progress("center", "download", 1e6, "bps", 0.5)
        live.say("Waiting for GPS.")
        live.finished(speed())
    assert out.getvalue().splitlines() == [
        "Waiting for GPS.",
        "  Download center                      12.4 Mbps  ✓ good",
        "  Upload center                         1.1 Mbps  ! poor         (limit 2 Mbps)",
    ]


def test_live_quiet() -> None:
    """Quiet means not one byte."""
    out = io.StringIO()
    with Live(stream=out, look=TTY, quiet=True) as live:
        live.started("a", "ping")
        live.say("b")
        live.finished(ping("a"))
    assert out.getvalue() == ""


def test_live_lines() -> None:
    """On a terminal each running step has its value and curve, and the time left is counted down."""
    now = [100.0]
    live = Live(stream=io.StringIO(), look=PIPE, seconds=30, clock=lambda: now[0])
    live.started("center", "throughput")
    for step in range(3):
        live.progress("center", "download", 1e6 * step, "bps", step / 4)
    live.progress("unknown", "x")
    now[0] += 12
    first, last = live.lines()
    assert "center download" in first and "2.0 Mbps" in first and "▁▅█" in first and "50 %" in first
    assert last == "  at most 18 s left"
    live.finished(speed())
    assert live.lines() == ["  at most 18 s left"]
    assert all(words.columns(line) < 80 for line in (first, last))


def test_live_on_a_terminal() -> None:
    """The frozen line stays on the terminal, the cursor comes back, and colour is not needed for it."""
    out = io.StringIO()
    with Live(stream=out, look=TTY, seconds=5, profile=NEED) as live:
        live.started("gateway", "ping")
        live.progress("gateway", "ping", 12.0, "ms", 0.1)
        live.finished(ping())
        live.say("Waiting for GPS.")
    text = out.getvalue()
    assert "Latency gateway" in text and "\x1b[2KWaiting for GPS.\n" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


def test_live_from_many_threads() -> None:
    """Checks side by side may all report while the display refreshes: nothing hangs, no line is lost."""
    out = io.StringIO()

    def work(name: str) -> None:
        live.started(name, "ping")
        for value in range(200):
            live.progress(name, "ping", float(value), "ms", value / 200)
        live.finished(ping(name))

    with Live(stream=out, look=TTY, profile=NEED) as live:
        threads = [threading.Thread(target=work, args=(f"t{i}",)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in threads)
    assert all(f"Latency t{i}" in out.getvalue() for i in range(8))


@pytest.mark.parametrize("width", [40, 60, 80])
def test_sheets_fit_narrow_screens(width: int, speak: Speak) -> None:
    """Status, codes, kinds and checks of the device keep to the width; only commands and paths stay whole."""
    speak("id")
    text = status_text(StatusView(pending=3, buffer_path="/q/buffer.db", last_fix="-6,9 107,6"), width=width)
    text += codes_text(list(CODES.values()), width=width)
    text += "".join(explain_kind_text(name, width=width) for name in ("ping", "path", "run"))
    text += doctor_text([DoctorLine("jam", "fail", "sepuluh kata lagi yang lebih panjang dari baris")], width=width)
    assert [line for line in text.splitlines() if len(line) > width] == []


def test_a_run_and_the_path_are_listed_by_words(speak: Speak) -> None:
    """The records of every test do not repeat their kind in place of a target."""
    speak("en")
    listed = [ListedResult(result(kind, kind).to_dict(), "pending") for kind in ("run", "path", "ping")]
    text = results_text(listed)
    assert "run    whole test" in text and "path   Internet path" in text and "ping   ping" in text
