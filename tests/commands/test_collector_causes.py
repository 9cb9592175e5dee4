"""Faults of the collector's databases and backups: causes in words of the language, a driver's own text under `-v`."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from sigprobe.collector import store
from sigprobe.collector.backup import postgresql_server
from sigprobe.collector.store.database_causes import cause_in
from sigprobe.words.i18n import _, speaking
from tests.support.collector_client import make_result
from tests.support.laptops import whole

Run = Callable[..., Any]

RAW = re.compile(
    r"Errno|SQLSTATE|\(sqlite3|psycopg|OperationalError|DatabaseError|FATAL|Traceback|connection to server|"
    r"Connection refused|file is not a database|disk image|pg_\w+: error|\b(?:28|3D|42|53|57|55|25)[0-9A-Z]{3}\b|Error:"
)
"""Texts of libraries and of PostgreSQL's programs."""

OF_A_DATABASE = [
    ("backup", "{folder}/copy"),
    ("merge", "{folder}/good.db"),
    ("check",),
    ("erase", "0190a5c0-0000-4000-8000-0000000000bb"),
    ("migrate",),
    ("migrate", "--dry-run"),
    ("site", "promote"),
    ("database", "distribute"),
    ("database", "compact"),
    ("work",),
    ("import", "{folder}/x.gz"),
    ("token", "list"),
    ("token", "create", "--probe", "x"),
    ("token", "revoke", "x"),
    ("serve", "--port", "0"),
]
ADD_NOTHING = [("backup", "{folder}/copy"), *OF_A_DATABASE[2:6], ("token", "list"), ("token", "revoke", "x")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a good database, a text file, noise, and a folder of a database's name."""
    store.open_store(f"sqlite:///{tmp_path}/good.db").dispose()
    (tmp_path / "text.db").write_text("no database, but longer than a header of one" * 20)
    (tmp_path / "noise.db").write_bytes(bytes(range(256)) * 400)
    (tmp_path / "folder.db").mkdir()
    # a sound file: a wrong one is told before any database is opened
    (tmp_path / "x.gz").write_bytes(whole([make_result().to_line()]))
    return tmp_path


def words(command: tuple[str, ...], folder: Path) -> list[str]:
    """Return a command of the collector with its paths."""
    return ["collector", *(word.format(folder=folder) for word in command)]


@pytest.mark.parametrize("language", ["id", "en"])
@pytest.mark.parametrize("command", OF_A_DATABASE, ids=" ".join)
@pytest.mark.parametrize(
    "database",
    [
        "postgresql://u@127.0.0.1:1/x",
        "postgresql://u:p@ss@h/x",
        "mysql://u@h/x",
        "nonsense",
        "sqlite://",
        "sqlite:///{folder}/text.db",
        "sqlite:///{folder}/noise.db",
        "sqlite:///{folder}/folder.db",
    ],
)
def test_an_unusable_database(
    database: str, command: tuple[str, ...], language: str, folder: Path, sigprobe: Run
) -> None:
    """Each command ends with exit 1 or 2 and a sentence without anything that a library said."""
    url = database.format(folder=folder)
    done = sigprobe(*words(command, folder), "--database", url, "--lang", language)
    assert done.returncode in (1, 2) and done.stdout == ""
    assert done.stderr.strip() and not RAW.search(done.stderr), done.stderr
    assert "p@ss" not in done.stderr
    assert not (folder / "copy").exists()


def test_the_drivers_text_is_shown_under_v(folder: Path, sigprobe: Run) -> None:
    """The control: the same fault with `-v` has the technical text as well."""
    for command in OF_A_DATABASE:
        done = sigprobe(*words(command, folder), "--database", "postgresql://u@127.0.0.1:1/x", "-v", "--lang", "id")
        assert "server menolak sambungan" in done.stderr and RAW.search(done.stderr), (command, done.stderr)


@pytest.mark.parametrize("command", ADD_NOTHING, ids=" ".join)
def test_no_database_is_created_by_a_command_that_adds_nothing(
    command: tuple[str, ...], folder: Path, sigprobe: Run
) -> None:
    """A mistyped path is named; no empty database answers in its place."""
    done = sigprobe(*words(command, folder), "--database", f"sqlite:///{folder}/typo.db")
    assert done.returncode == 1 and f"{folder}/typo.db" in done.stderr
    assert not (folder / "typo.db").exists()
    created = sigprobe("collector", "token", "create", "--probe", "x", "--database", f"sqlite:///{folder}/typo.db")
    assert created.returncode == 0 and (folder / "typo.db").exists(), "the control"


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("text.db", "{folder}/text.db is not the database of a collector."),
        ("folder.db", "{folder}/folder.db is a folder. An SQLite database, and each backup of one, is a file."),
        ("gone.db", "{folder}/gone.db does not exist."),
        (
            "broken.db",
            "The database {folder}/broken.db is damaged: some of its pages cannot be read. Nothing was copied.",
        ),
    ],
)
def test_a_backup_names_the_database_that_is_wrong(source: str, told: str, folder: Path, sigprobe: Run) -> None:
    """Not the copy that was not made."""
    shutil.copy(folder / "good.db", folder / "broken.db")
    with (folder / "broken.db").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * 20_000)
    done = sigprobe("collector", "backup", str(folder / "copy"), "--database", f"sqlite:///{folder}/{source}")
    assert done.returncode == 1 and done.stderr == told.format(folder=folder) + "\n"


def test_a_restore_tells_a_file_from_a_folder(folder: Path, sigprobe: Run) -> None:
    """SQLite's backups are files, PostgreSQL's are folders."""
    new = ("--database", f"sqlite:///{folder}/new.db")
    done = sigprobe("collector", "restore", str(folder / "folder.db"), *new)
    assert done.returncode == 1 and "is a folder" in done.stderr
    goal = ("--into", str(folder / "pg"), "--database", "postgresql://u@h/x")
    done = sigprobe("collector", "restore", str(folder / "good.db"), *goal)
    assert done.returncode == 1 and "is a file. A backup of PostgreSQL is a folder." in done.stderr


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("pg_basebackup: error: FATAL:  must be superuser or replication role to start walsender", "REPLICATION"),
        ('FATAL:  no pg_hba.conf entry for replication connection from host "::1"', "does not admit this user"),
        ("pg_basebackup: error: could not write to file: No space left on device", "the disk is full"),
        ("recovery ended before configured recovery target was reached", "does not reach that time"),
        ("could not locate a valid checkpoint record", "lacks a needed part"),
        ("something that no version has said so far", "unexpected error"),
    ],
)
def test_what_the_programs_of_postgresql_say(said: str, told: str) -> None:
    """Each known text has its sentence, in both languages; none is shown as it is."""
    found = cause_in(said)
    assert told in str(found)
    with speaking("id"):
        assert _(found.message) != found.message and not RAW.search(_(found.message))


@pytest.mark.parametrize(
    "said", ["base/5/1249: present on disk but not in the manifest", "checksum mismatch", "WAL parsing failed"]
)
def test_what_verification_finds(said: str) -> None:
    """pg_verifybackup's findings are told in words as well."""
    with speaking("id"):
        text = _(postgresql_server._damage(said).message)
    assert text != postgresql_server._damage(said).message and said not in text


def test_raw_texts_are_found() -> None:
    """The search above can fail."""
    fault = OperationalError("SELECT 1", {}, sqlite3.OperationalError("no such table: x"))
    for raw in (str(fault), "[Errno 13]", "FATAL:  x", "pg_verifybackup: error: x", "28P01"):
        assert RAW.search(raw), raw
