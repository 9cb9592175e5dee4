"""Promise 20: secrets never leak. Canaries are looked for wherever sigprobe writes, prints or answers."""

from __future__ import annotations

import base64
import http.client
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

import psycopg
import pytest

from sigprobe.collector.store import StoreError, open_store
from tests.support.taken_away import hold_patch
from tests.trials.faults.fake_collectors import FALSE_REPLIES, FalseServer, honest
from tests.trials.faults.fault_site import Site
from tests.trials.faults.trial import Trial, hold

TALKATIVE: Final = """
import logging
from sigprobe.protocol import batches as wire
kept = wire.batch_headers
def talkative(batch, token):
    logging.getLogger("sigprobe").warning("sending with %s", token)
    return kept(batch, token)
wire.batch_headers = talkative
"""
"""A probe that writes its token into its log."""

SHOWING: Final = TALKATIVE.replace("import logging", "import logging, sys").replace(
    'logging.getLogger("sigprobe").warning("sending with %s", token)', "print(token, file=sys.stderr)"
)
"""A probe that shows its token on the screen."""

CRASHING: Final = """
from sigprobe.protocol import batches as wire
def crash(batch, token):
    held = {"Authorization": f"Bearer {token}"}
    raise RuntimeError("forced")
wire.batch_headers = crash
"""
"""A probe that fails where it has its token in hand."""

CRASHING_COLLECTOR: Final = """
from sigprobe.collector.ingest import queries as ingest_queries
kept = ingest_queries.store_batches
def crash(engine, group):
    ingest_queries.store_batches = kept
    raise RuntimeError("forced")
ingest_queries.store_batches = crash
"""
"""A collector that fails at the first batch."""


def disguises(secret: str) -> Iterator[bytes]:
    """Yield the forms in which a secret may be stored."""
    raw = secret.encode()
    yield raw
    yield raw[8:].rstrip(b"=")  # without what all tokens begin with
    yield quote(secret, safe="").encode()
    yield raw.hex().encode()
    for shift in range(3):
        # base64 of the secret within longer text, whatever stands before it
        yield base64.b64encode(b"\0" * shift + raw)[4 if shift else 0 : -4]


class Watch:
    """Collect everything a run shows: outputs, answers, and the command lines of all processes meanwhile."""

    def __init__(self) -> None:
        self.said: dict[str, bytes] = {}
        self.command_lines: set[bytes] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5)

    def _look(self) -> None:
        while not self._stop.wait(0.1):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    self.command_lines.add(path.read_bytes())

    def hold_tight(self, secrets: Mapping[str, str], folder: Path, allowed: set[Path]) -> int:
        """Hold that no output, command line or file below `folder` has a secret, except the files meant to hold it."""
        files = [path for path in folder.rglob("*") if path.is_file() and path not in allowed]
        assert len(files) > 5, files
        for name, secret in secrets.items():
            for needle in disguises(secret):
                for line in self.command_lines:
                    hold(needle not in line, "argv", f"{name} in {line!r:.200}")
                for where, text in self.said.items():
                    hold(needle not in text, "output", f"{name} in {where}")
                for path in files:
                    hold(needle not in path.read_bytes(), "file", f"{name} in {path}")
        return len(files) + len(self.said) + len(self.command_lines)


def run_probe(watch: Watch, *args: str, patch: str = "", env: Mapping[str, str] | None = None) -> int:
    """Run a command in its own process and keep its output; returns its exit code."""
    done = subprocess.run(
        [sys.executable, "-c", f"{hold_patch(patch)}\nfrom sigprobe.cli import main\nmain()", *args],
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=120,
        check=False,
    )
    watch.said[f"{len(watch.said)} sigprobe {' '.join(args)}"] = done.stdout + done.stderr
    return done.returncode


def ask(watch: Watch, site: Site, method: str, path: str, token: str | None, body: bytes = b"", **more: str) -> int:
    """Send a request to the collector and keep its whole answer; returns the status."""
    headers = {name.replace("_", "-"): value for name, value in more.items()}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=15)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        text = f"{answer.status} {answer.headers}".encode() + answer.read()
        watch.said[f"{len(watch.said)} {method} {path}"] = text
        return answer.status
    finally:
        connection.close()


def write_config(folder: Path, collector: str, token_file: Path, target: str) -> Path:
    """Write settings with this collector and a target whose address holds private data."""
    path = folder / "config.yaml"
    path.write_text(
        "probe: {site: test}\nlocation: {source: none}\nverdict: {references: []}\n"
        f"buffer: {{path: {folder / 'queue' / 'buffer.db'}}}\n"
        "targets:\n  - {kind: ping, name: device, address: 127.0.0.1, count: 1}\n"
        f'  - {{kind: http, name: page, url: "{target}"}}\n'
        f'upload: {{collectors: [{{url: "{collector}", token_file: "{token_file}"}}]}}\n'
    )
    return path


@contextmanager
def token_file(folder: Path, text: str, mode: int = 0o600) -> Iterator[Path]:
    """Provide a token file with these rights."""
    path = folder / "token"
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)
    path.chmod(mode)
    yield path


def use_everything(watch: Watch, folder: Path, site: Site, key: str) -> None:
    """Run everything that a probe and a collector do with secrets: valid, refused and broken ones."""
    target = f"{site.url}healthz?key={key}"
    with token_file(folder, site.token) as path:
        config = str(write_config(folder, site.url, path, target))
        for args, code in (
            (("test", "--json", "--no-upload"), 0),
            (("upload", "--json"), 0),
            (("test", "--only", "ping", "--no-upload"), 0),
            (("status",), 0),
            (("results", "--ndjson"), 0),
            (("results", "--csv"), 0),
            (("export", str(folder / "carried.ndjson.gz")), 0),
        ):
            done = run_probe(watch, *args, "--config", config)
            assert done == code, (args, done, watch.said)
        run_probe(watch, "doctor", "--config", config)
        # the settings are the one place where the key may stand, and `config show` shows them; tokens it does not
        shown = Watch()
        assert run_probe(shown, "config", "show", "--origin", "--config", config) == 0
        shown.hold_tight({"probe token": site.token}, folder, {path})
        assert run_probe(watch, "upload", "--config", config, patch=CRASHING) == 1
        assert b"Traceback" in b"".join(log.read_bytes() for log in Path(os.environ["HOME"]).rglob("sigprobe.log"))
        for false_reply in ("portal 200", "login needed 511"):
            with FalseServer(FALSE_REPLIES[false_reply]) as server:
                run_probe(watch, "upload", "--config", str(write_config(folder, server.url, path, target)))
        write_config(folder, site.url, path, target)
        run_probe(watch, "upload", "--config", config, env={"SIGPROBE_TOKEN": site.admin})  # of the wrong role
        path.unlink()
        run_probe(watch, "upload", "--config", config, env={"SIGPROBE_TOKEN": site.token})
    for token in (site.token, site.admin, f"{site.admin}x", None):
        for where in ("/v1/results", "/v1/results?limit=x", "/openapi.json", "/metrics", "/healthz", "/", "/nowhere"):
            ask(watch, site, "GET", where, token)
        ask(watch, site, "POST", "/v1/batches", token, b"{}", Idempotency_Key="b-1", Content_Digest="sha-256=:x:")


@pytest.mark.timeout(0)
def test_no_canary_comes_out(trial: Callable[..., Trial], tmp_path: Path) -> None:
    """Tokens and query values are in no log, command line, queue, database, export, crash report or answer."""
    run = trial(20, "canaries", short=1, full=20)
    looked = 0
    for n in range(run.n):
        folder = tmp_path / f"{n}"
        with Watch() as watch, Site(folder / "site", patch=CRASHING_COLLECTOR) as site:
            key = f"canary{run.random.getrandbits(128):032x}"
            use_everything(watch, folder, site, key)
            secrets = {"probe token": site.token, "admin token": site.admin, "query value": key}
            assert b"Traceback" in site.log.read_bytes(), "the collector was to fail once"
        looked += watch.hold_tight(secrets, folder, {folder / "config.yaml"})
        home = Path(os.environ["HOME"])
        watch.hold_tight(secrets, home.parent, {folder / "config.yaml" for folder in tmp_path.iterdir()})
    hold_controls(run, tmp_path / "control")
    run.report(0, n=run.n, places=looked)


def hold_controls(run: Trial, folder: Path) -> None:
    """Hold that each search finds a token that is really there."""
    with Site(folder / "site") as site, token_file(folder, site.token) as path:
        config = write_config(folder, site.url, path, site.url)
        secrets = {"probe token": site.token}
        with Watch() as watch:
            assert run_probe(watch, "test", "--only", "ping", "--config", str(config), patch=TALKATIVE) == 0
        home = Path(os.environ["HOME"])
        with run.expect_failure("file"):
            watch.hold_tight(secrets, home.parent, {path})
        with run.expect_failure("argv"), Watch() as watch:
            run_probe(watch, "explain", site.token)
            watch.hold_tight(secrets, folder, {path})
        with run.expect_failure("output"), Watch() as watch:
            assert run_probe(watch, "test", "--only", "ping", "--config", str(config), patch=SHOWING) == 0
            watch.hold_tight(secrets, folder, {path})


def test_a_lax_token_file_is_refused(trial: Callable[..., Trial], tmp_path: Path) -> None:
    """A token file that others may read, or the group may write, is not used: nothing is sent, and it is said."""
    run = trial(20, "lax token file", short=3, full=64)
    lax = [mode for mode in range(0o400, 0o1000) if mode & 0o600 == 0o600 and mode & 0o027]
    with Watch() as watch, FalseServer(honest) as server:
        config = str(write_config(tmp_path, server.url, tmp_path / "token", server.url))
        assert run_probe(watch, "test", "--only", "ping", "--no-upload", "--config", config) == 0
        for mode in [0o644, 0o660, *run.random.sample(lax, run.n - 2)]:
            with token_file(tmp_path, "secret-token", mode):
                code = run_probe(watch, "upload", "--config", config)
                hold(code == 2, "lax-file-used", f"{mode:o}: {code}")
                hold(not server.seen, "lax-file-used", f"{mode:o}")
                hold(b"chmod 600" in list(watch.said.values())[-1], "not-said", f"{mode:o}")
        with run.expect_failure("lax-file-used"), token_file(tmp_path, "secret-token", 0o640):
            # the same claim about a file that is kept well: it is used, so the rights made the difference
            hold(run_probe(watch, "upload", "--config", config) == 2, "lax-file-used")
        assert server.seen[0].authorization == "Bearer secret-token"
    run.report(0)


def test_addresses_with_secrets_are_not_taken(trial: Callable[..., Trial], tmp_path: Path) -> None:
    """A user name or password in an address is refused before anything is measured, without repeating it."""
    run = trial(20, "userinfo in addresses", short=2, full=20)
    with token_file(tmp_path, "secret-token") as path:
        for n in range(run.n):
            word = f"canary{run.random.getrandbits(64):016x}"
            good, bad = "http://127.0.0.1:9/", f"http://user:{word}@127.0.0.1:9/"
            collector, target = (bad, good) if n % 2 else (good, bad)
            config = write_config(tmp_path, collector, path, target)
            with Watch() as watch:
                code = run_probe(watch, "test", "--no-upload", "--config", str(config))
                hold(code == 2, "taken", str(code))
                for where, text in watch.said.items():
                    hold(word.encode() not in text, "output", f"{where}: {text!r}")
            hold(not (tmp_path / "queue").exists(), "measured")
        with run.expect_failure("taken"), Watch() as watch:
            config = write_config(tmp_path, good, path, good)
            code = run_probe(watch, "test", "--only", "ping", "--no-upload", "--config", str(config))
            hold(code == 2, "taken", str(code))
    run.report(0)


SHAPES: Final = (
    "postgres://user:{}@127.0.0.1:1/db",
    "postgresql://user:{}@127.0.0.1:1x/db",
    "postgresql://user:{}@[::1/db",
    "postgresql://user:{}",
    "postgresql://user@127.0.0.1:1/db?password={}",
    "postgresql://user@127.0.0.1:1/db?{}",
    "sqlite://user:{}@host/db",
    "sqlite://user:x@host:{}/db",
)
"""Addresses of databases that do not answer or cannot be read."""

SPELLINGS: Final = (
    *(
        "{0}",
        "{0}%x{1}",
        "{0}%{1}",
        "{0}@{1}",
        "{0}/{1}",
        "{0}?{1}",
        "{0}#{1}",
        "{0}:{1}",
        "{0}[{1}",
        "{0} {1}",
        "{0},{1}",
    ),
    *("@{0}", "/{0}", "%00{0}", "{0}%zz@{1}", "{0}%40{1}"),
)
"""A password of two canaries, well and badly written."""


def test_a_database_password_is_never_said(trial: Callable[..., Trial]) -> None:
    """However a database's password is written, no message or traceback repeats a piece of it, and it is said how."""
    run = trial(20, "database password", short=len(SPELLINGS), full=20 * len(SPELLINGS))
    watch, words = Watch(), [f"canary{run.random.getrandbits(64):016x}" for _ in range(2)]
    for n in range(run.n):
        spelling = SPELLINGS[n % len(SPELLINGS)].format(*words)
        for shape in SHAPES:
            if shape.endswith(":{}") and "@" in spelling:
                continue  # what follows the last @ is a host, and a host is named
            with pytest.raises(StoreError) as caught:
                open_store(shape.format(spelling))
            hold_silent(words, "".join(traceback.format_exception(caught.value)), shape)
    for spelling in ("{0}%x{1}", "{0}@{1}"):
        address = SHAPES[0].format(spelling.format(*words))
        for verb in (("token", "list"), ("serve", "--port", "0")):
            assert run_probe(watch, "collector", *verb, env={"SIGPROBE_DATABASE": address, "SIGPROBE_LANG": "en"}) == 1
            assert b"percent-encoded" in list(watch.said.values())[-1]
    for where, text in watch.said.items():
        hold_silent(words, text.decode(), where)
    with run.expect_failure("output"):  # as the driver says it
        try:
            psycopg.connect(SHAPES[0].format("{}%x{}".format(*words)))
        except psycopg.Error as error:
            hold_silent(words, str(error), "libpq")
    run.report(0)


def hold_silent(words: list[str], text: str, where: str) -> None:
    """Hold that none of these words is in a text."""
    for word in words:
        hold(word not in text, "output", f"{where}: {text[-300:]!r}")
