"""`sigprobe upload` as people run it: what it says, its exit codes, Ctrl-C, --wait."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sigprobe.buffer import Buffer
from sigprobe.record.result import format_time
from sigprobe.upload import Backoff
from tests.support.agent_process import Spawn, settings
from tests.support.stand_in_collector import Sent, portal, problem, put, receipt, standin, until

Run = Callable[..., subprocess.CompletedProcess[str]]


def fill(folder: Path, count: int) -> None:
    with Buffer(folder / "queue" / "buffer.db") as buffer:
        put(buffer, count)


def pending(folder: Path) -> int:
    with Buffer(folder / "queue" / "buffer.db") as buffer:
        return buffer.pending()


@pytest.mark.parametrize(
    ("answer", "code", "word"),
    [
        (receipt, 0, ""),
        (portal, 4, "SP-SYN-02"),
        (lambda _: problem(401), 4, "SP-SYN-03"),
        (lambda _: problem(503, Retry_After="900"), 4, "SP-SYN-04"),
        (lambda s: receipt(s, lambda _: "rejected"), 0, "SP-SYN-06"),
    ],
)
def test_exit_codes(tmp_path: Path, sigprobe: Run, answer: Callable[[Sent], bytes], code: int, word: str) -> None:
    """0 when nothing is pending, even if all was set aside; 4 with its reason when something is."""
    with standin(answer) as server:
        config = settings(tmp_path, server.url)
        fill(tmp_path, 2)
        done = sigprobe("upload", "--json", "--config", str(config))
    assert done.returncode == code, done.stderr
    assert word in done.stderr
    assert json.loads(done.stdout)["pending"] == (2 if code else 0)


@pytest.mark.parametrize(
    ("language", "says", "advice"),
    [
        ("en", "127.0.0.1 refused the connection.", "sigprobe upload --wait"),
        ("id", "127.0.0.1 menolak sambungan.", "sigprobe upload --wait"),
    ],
)
def test_plain_sentences_and_no_advice_to_type_the_same(
    tmp_path: Path, sigprobe: Run, free_port: Callable[[], int], language: str, says: str, advice: str
) -> None:
    """What went wrong is said in plain words; a library's own stand in --json, and on the screen only under -v."""
    config = settings(tmp_path, f"http://127.0.0.1:{free_port()}/")
    fill(tmp_path, 1)
    done = sigprobe("upload", "--lang", language, "--config", str(config))
    assert done.returncode == 4
    assert says in done.stderr and advice in done.stderr and "[SP-SYN-01]" in done.stderr
    assert not any(line.endswith("sigprobe upload") for line in done.stderr.splitlines())
    raw = ("Error", "HTTPConnection", "Errno", "urllib3", "Max retries")
    assert not any(word in done.stderr for word in raw)
    more = sigprobe("upload", "-v", "--json", "--lang", language, "--config", str(config))
    told = json.loads(more.stdout)
    assert (told["stopped"], told["why"]) == ("collector_unreachable", "refused")
    assert "Error" in told["detail"] and told["detail"] in more.stderr


def test_a_name_that_is_not_found_is_said_so(tmp_path: Path, sigprobe: Run) -> None:
    """Of several ways not to reach a collector each has its own sentence."""
    config = settings(tmp_path, "https://collector.invalid/")
    fill(tmp_path, 1)
    done = sigprobe("upload", "--lang", "en", "--config", str(config))
    assert done.returncode == 4
    assert "The address of collector.invalid was not found" in done.stderr
    assert "Error" not in done.stderr


def test_a_portal_is_said_without_its_words(tmp_path: Path, sigprobe: Run) -> None:
    """After a login, the command is worth typing again, so here the advice stays."""
    with standin(portal) as server:
        config = settings(tmp_path, server.url)
        fill(tmp_path, 1)
        done = sigprobe("upload", "--lang", "en", "--config", str(config))
    assert "[SP-SYN-02]" in done.stderr and "log in to the network, then run: sigprobe upload" in done.stderr
    assert "(" not in done.stderr


def test_wait_goes_on_until_it_is_sent(tmp_path: Path, spawn: Spawn) -> None:
    """Against a portal it waits and says so once; when the collector is back, everything goes, and it ends with 0."""
    with standin(portal) as server:
        config = settings(tmp_path, server.url)
        fill(tmp_path, 3)
        command = [sys.executable, "-m", "sigprobe", "upload", "--wait", "--json", "--config", str(config)]
        process = spawn(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        until(lambda: len(server.seen) >= 2, 60)
        server.answer = receipt
        out, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert json.loads(out)["accepted"] == 3
    assert said.count("SP-SYN-02") == 1
    assert "next attempt" in said


@pytest.mark.slow
def test_wait_obeys_its_limit(tmp_path: Path, sigprobe: Run) -> None:
    """--max-time ends the waiting with exit 4, the records kept."""
    with standin(portal) as server:
        config = settings(tmp_path, server.url)
        fill(tmp_path, 1)
        begun = time.monotonic()
        done = sigprobe("upload", "--wait", "--max-time", "2", "--config", str(config))
    assert done.returncode == 4
    assert time.monotonic() - begun < 15
    assert pending(tmp_path) == 1


@pytest.mark.parametrize("wait", [False, True])
def test_ctrl_c_keeps_what_was_acknowledged(tmp_path: Path, spawn: Spawn, wait: bool) -> None:
    """Exit 130; the first batch stays acknowledged, the rest pending."""

    def answer(sent: Sent) -> bytes:
        if sent.number:
            time.sleep(20)
        return receipt(sent)

    with standin(answer) as server:
        config = settings(tmp_path, server.url)
        fill(tmp_path, 210)
        command = [sys.executable, "-m", "sigprobe", "upload", "--config", str(config), *(["--wait"] if wait else [])]
        process = spawn(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        until(lambda: len(server.seen) >= 2, 60)
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=20)
        assert process.returncode == 130, said
        assert "200 sent, 10 still waiting" in out
        assert "Traceback" not in said
    assert pending(tmp_path) == 10


def test_typed_ignores_the_backoff_and_obeys_a_wish(tmp_path: Path, sigprobe: Run) -> None:
    """A memory full of failures does not keep a typed upload back; `Retry-After` does."""
    with standin() as server:
        config = settings(tmp_path, server.url)
        fill(tmp_path, 1)
        backoff = Backoff(tmp_path / "queue" / "buffer.db.backoff.json", uniform=lambda _low, high: high)
        for _ in range(9):
            backoff.failed(server.url)
        assert sigprobe("upload", "--config", str(config)).returncode == 0
        fill(tmp_path, 1)
        backoff.asked_to_wait(server.url, 31_536_000)
        done = sigprobe("upload", "--config", str(config))
        assert done.returncode == 4
        assert "next attempt" in done.stderr
        assert len(server.seen) == 1


def test_what_was_set_aside_is_sent_again_when_asked_for(tmp_path: Path, sigprobe: Run) -> None:
    """A fault of the collector has set all aside; once it is mended, --again sends them and says how many."""
    with standin(lambda s: receipt(s, lambda _: "rejected")) as server:
        config = settings(tmp_path, server.url)
        fill(tmp_path, 3)
        assert sigprobe("upload", "--config", str(config)).returncode == 0
        server.answer = receipt
        plain = sigprobe("upload", "--json", "--config", str(config))
        assert json.loads(plain.stdout)["accepted"] == 0
        done = sigprobe("upload", "--again", "--json", "--config", str(config))
    told = json.loads(done.stdout)
    assert (done.returncode, told["waiting_again"], told["accepted"], told["set_aside"]) == (0, 3, 3, 0)
    assert "3 results that were set aside are pending again." in done.stderr


def test_a_gateway_that_spoils_everything_is_no_success(tmp_path: Path, sigprobe: Run) -> None:
    """The collector refuses all: exit 4 with its own sentence, nothing set aside, and a test says it, too."""
    with standin(lambda _: problem(400, "Content-Digest with sha-256 is missing")) as server:
        config = settings(tmp_path, server.url)
        fill(tmp_path, 40)
        done = sigprobe("upload", "--json", "--config", str(config))
        told = json.loads(done.stdout)
        assert (done.returncode, told["stopped"], told["pending"]) == (4, "collector_refuses", 40)
        assert (told["rejected"], told["set_aside"]) == (0, 0)
        assert "SP-SYN-08" in done.stderr and "SP-SYN-06" not in done.stderr
        (tmp_path / "queue" / "buffer.db.backoff.json").unlink()
        tested = sigprobe("test", "--config", str(config))
        assert "SP-SYN-08" in tested.stdout
        server.answer = receipt
        assert sigprobe("upload", "--config", str(config)).returncode == 0
    assert pending(tmp_path) == 0


def test_a_wrong_clock_is_said_and_kept(tmp_path: Path, sigprobe: Run) -> None:
    """A clock two hours off is said once with the difference; the next test's records carry the estimate."""
    ahead = timedelta(hours=2)
    with standin(lambda s: receipt(s, when=format_time(datetime.now(UTC) + ahead))) as server:
        config = settings(tmp_path, server.url)
        fill(tmp_path, 1)
        done = sigprobe("upload", "--config", str(config))
        assert done.returncode == 0
        assert done.stderr.count("SP-CLK-01") == 1
        assert "2 h" in done.stderr
        assert sigprobe("test", "-q", "--no-upload", "--config", str(config)).returncode == 0
    with Buffer(tmp_path / "queue" / "buffer.db") as buffer:
        records = [json.loads(row.line) for row in buffer.rows()][1:]
    assert records
    for record in records:
        clock = record["tags"]["clock"]
        assert abs(clock["offset_est_ms"] - 7_200_000) <= clock["offset_err_ms"] + 1000
        assert 0 < clock["offset_err_ms"] < 30_000


def test_a_refusing_first_collector_is_said_at_the_end_of_a_test(tmp_path: Path, sigprobe: Run) -> None:
    """The second took the records; that the first refuses the token is said all the same."""
    with standin(lambda _: problem(403)) as first, standin() as second:
        config = settings(tmp_path, first.url)
        text = config.read_text()
        entry = f', {{url: "{second.url}", token_file: {tmp_path / "token"}}}]}}'
        config.write_text(text.replace("}]}", "}" + entry))
        done = sigprobe("test", "--json", "--config", str(config))
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["pending"] == 0
        assert "SP-SYN-03" in done.stderr
        assert len(second.seen) == 1


@pytest.mark.process
@pytest.mark.slow
def test_a_bar_on_a_terminal_and_none_elsewhere(tmp_path: Path, sigprobe: Run) -> None:
    """On a terminal records and bytes are drawn; off it there is no control character."""

    def answer(sent: Sent) -> bytes:
        time.sleep(0.3)
        return receipt(sent)

    with standin(answer) as server:
        config = settings(tmp_path, server.url)
        fill(tmp_path, 300)
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            [sys.executable, "-m", "sigprobe", "upload", "--config", str(config)],
            stderr=theirs,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
        ) as process:
            os.close(theirs)
            drawn = b""
            with suppress(OSError):  # EIO: the other end has been closed
                while part := os.read(ours, 65536):
                    drawn += part
            assert process.wait(30) == 0
        os.close(ours)
        assert b"200/300" in drawn
        assert b"kB" in drawn
        fill(tmp_path, 1)
        done = sigprobe("upload", "--config", str(config))
        assert "\x1b" not in done.stderr + done.stdout
        assert "1 result sent, 0 waiting." in done.stdout
