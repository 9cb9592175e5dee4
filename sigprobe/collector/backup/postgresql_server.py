"""Back up a running PostgreSQL with its own programs, and restore it, to a point in time where the WAL is kept.

The backup is `pg_basebackup` with the WAL that it needs, checked against its manifest. A restore runs the server once
on a private socket: it replays the WAL up to the wanted time, and is asked what it now holds. The collector's own
configuration of the server (Patroni's, or Debian's in /etc) is untouched and takes over afterwards.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from sigprobe.collector.backup.copy import BackupError, Copy, Progress, no_progress, require_folder, size_of
from sigprobe.collector.store import epochs
from sigprobe.collector.store.database_causes import cause, cause_in, technical_text
from sigprobe.collector.store.engine import open_unchanged
from sigprobe.record.messages import N_, MessageError

_PROGRESS: Final = re.compile(rb"(\d+)/(\d+) kB")
_FATAL: Final = re.compile(r"^.*?\b(?:FATAL|PANIC):\s+(.*)$", re.MULTILINE)
_DEBIAN: Final = Path("/usr/lib/postgresql")
_REPLAY_S: Final = 7 * 86_400
_ACCOUNT: Final = "postgres"


def back_up(url: str, place: Path, progress: Progress = no_progress) -> Copy:
    """Write a base backup of the server behind this URL to a new folder. Raises BackupError.

    The role needs the REPLICATION attribute, and `pg_hba.conf` a line for replication from here.
    """
    if os.path.lexists(place):
        raise BackupError("exists", str(place))
    version, results = _ask(url)
    address, secrets = _without_password(url)
    with _draft(place) as draft:
        command = [_program("pg_basebackup", version), "--dbname", address, "--pgdata", str(draft), "--no-password"]
        command += ["--format=plain", "--wal-method=stream", "--checkpoint=fast", "--progress"]
        command += ["--label=sigprobe collector backup", "--manifest-checksums=SHA256"]
        _run(command, progress=progress, env=secrets)
        verify(draft)
        size = size_of(draft)
        _rename(draft, place)
    return Copy(place, size, results)


def verify(folder: Path) -> None:
    """Compare a base backup with its manifest, and its WAL with itself. Raises BackupError."""
    if not (folder / "backup_manifest").is_file():
        raise BackupError("not_ours")
    _run([_program("pg_verifybackup", _version_of(folder)), "--exit-on-error", str(folder)], failed="damaged")


@dataclass(frozen=True, slots=True)
class Goal:
    """Where a restored server goes on from: `database` and `user` as in the collector's URL, WAL up to `until`."""

    database: str
    user: str
    wal: Path | None = None
    until: datetime | None = None


def goal_of(url: str, *, wal: Path | None = None, until: datetime | None = None) -> Goal:
    """Return the goal with database and role of the collector's URL. Raises BackupError where it names none."""
    parts = _parts(url)
    return Goal(parts.get("dbname") or "sigprobe", parts.get("user") or "sigprobe", wal, until)


def restore(source: Path, place: Path, goal: Goal, progress: Progress = no_progress) -> Copy:
    """Make a data directory at `place` from a base backup, replayed and stopped again. Raises BackupError.

    Run as root, the files and the server's programs belong to the account postgres, else to the caller.
    """
    if os.path.lexists(place) and (not place.is_dir() or any(place.iterdir())):
        raise BackupError("exists", str(place))
    require_folder(source)
    verify(source)
    progress(0, 3)
    with _draft(place) as draft:
        draft.rmdir()
        shutil.copytree(source, draft, symlinks=True)
        progress(1, 3)
        with tempfile.TemporaryDirectory(prefix="sigprobe-restore-") as scratch:
            copy = _replay(draft, Path(scratch), goal, progress)
        if place.exists():
            place.rmdir()
        _rename(draft, place)
    return Copy(place, copy.size_bytes, copy.results, copy.newest_received_at)


def _replay(data: Path, scratch: Path, goal: Goal, progress: Progress) -> Copy:
    own = data / "postgresql.auto.conf"
    before = own.read_text(encoding="utf-8") if own.exists() else ""
    lines = ["recovery_target_action = 'promote'"]
    # without an archive the backup's own WAL is all there is: it brings the copy to the backup's end
    fetch = "false" if goal.wal is None else f'cp "{_quoted(goal.wal.absolute())}/%f" "%p"'
    lines.append(f"restore_command = '{fetch}'")
    if goal.until is not None:
        lines.append(f"recovery_target_time = '{goal.until.isoformat()}'")
    else:
        lines.append("recovery_target_timeline = 'latest'")
    own.write_text(before + "\n".join(["", *lines, ""]), encoding="utf-8")
    (data / "recovery.signal").touch(mode=0o600)
    (scratch / "pg_hba.conf").write_text("local all all trust\n", encoding="utf-8")
    (scratch / "pg_ident.conf").touch()
    if (data / "postgresql.conf").exists():
        shutil.copy(data / "postgresql.conf", scratch)
    else:
        (scratch / "postgresql.conf").touch()
    for folder in (data, scratch):
        _give(folder)
    with _running(data, scratch):
        progress(2, 3)
        parts = f"host={scratch} port=5432 user={goal.user} dbname={goal.database}"
        engine = open_unchanged("postgresql://?" + "&".join(part.replace("/", "%2F") for part in parts.split()))
        try:
            # its own timeline would show it, but a server may keep that to itself
            epochs.begin_if_known(engine)
            found = _contents(engine)
        except SQLAlchemyError as error:
            raise BackupError("failed", cause(error), technical_text(error)) from error
        finally:
            engine.dispose()
    own.write_text(before, encoding="utf-8")
    return Copy(data, size_of(data), *found)


@contextmanager
def _running(data: Path, scratch: Path) -> Iterator[None]:
    """Run the server on a socket in `scratch` until its recovery is over, and stop it afterwards."""
    control = _program("pg_ctl", _version_of(data))
    log = scratch / "log"
    settings = {
        "config_file": scratch / "postgresql.conf",
        "hba_file": scratch / "pg_hba.conf",
        "ident_file": scratch / "pg_ident.conf",
        "listen_addresses": "",
        "port": 5432,
        "unix_socket_directories": scratch,
        "hot_standby": "off",  # with it, smaller limits than the former server's would pause the recovery
        "archive_mode": "off",
        "synchronous_standby_names": "",
        "ssl": "off",
        "log_destination": "stderr",
        "logging_collector": "off",
        "shared_preload_libraries": "",
    }
    options = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
    start = [control, "start", "-D", str(data), "-w", "-t", str(_REPLAY_S), "-l", str(log), "-o", options, "-s"]
    try:
        _run(start, account=True)
        # without hot standby, pg_ctl returns while the WAL is still replayed
        while _state(data) != "in production":
            _run([control, "status", "-D", str(data)], account=True)
            time.sleep(0.2)
    except BackupError as error:
        told = _FATAL.findall(log.read_text(encoding="utf-8", errors="replace")) if log.exists() else []
        said = told[-1] if told else error.technical
        raise BackupError("replay", cause_in(said), said) from error
    try:
        yield
    finally:
        with suppress(BackupError):
            _run([control, "stop", "-D", str(data), "-m", "fast", "-w", "-t", "600", "-s"], account=True)


def _state(data: Path) -> str:
    """Return the state of a data directory, as the server last noted it."""
    shown = subprocess.run(  # noqa: S603 - PostgreSQL's own program
        [_program("pg_controldata", _version_of(data)), str(data)],
        env={**os.environ, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    found = re.search(r"^Database cluster state:\s+(.*)$", shown, re.MULTILINE)
    return found[1] if found else ""


def _contents(engine: Engine) -> tuple[int | None, datetime | None]:
    with engine.connect() as connection:
        connection.execute(text("SET statement_timeout = 0"))
        count, newest = connection.execute(text("SELECT count(*), max(received_at) FROM results")).one()
        return int(count), newest


def _ask(url: str) -> tuple[int, int | None]:
    """Return the server's major version, and how many results it has, unless counting takes too long."""
    engine = open_unchanged(url)
    try:
        with engine.connect() as connection:
            version = int(connection.scalar(text("SHOW server_version_num")) or 0) // 10_000
        with suppress(SQLAlchemyError), engine.connect() as connection:
            return version, int(connection.scalar(text("SELECT count(*) FROM results")) or 0)
    except SQLAlchemyError as error:
        raise BackupError("failed", cause(error), technical_text(error)) from error
    finally:
        engine.dispose()
    return version, None


def _parts(url: str) -> dict[str, Any]:
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        return dict(conninfo_to_dict(re.sub(r"^postgres(?:ql)?(?:\+psycopg)?://", "postgresql://", url)))
    except ProgrammingError as error:
        raise BackupError("failed", MessageError(N_("the database URL cannot be read"))) from error


def _without_password(url: str) -> tuple[str, dict[str, str]]:
    """Return the address for a command line that others can read, and the password for the environment."""
    from psycopg.conninfo import make_conninfo

    parts = _parts(url)
    password = parts.pop("password", None)
    return make_conninfo("", **parts), {} if password is None else {"PGPASSWORD": str(password)}


def _program(name: str, version: int) -> str:
    """Return a program of this major version: Debian's, else one on the path. Raises BackupError."""
    own = _DEBIAN / str(version) / "bin" / name
    found = str(own) if own.exists() else shutil.which(name)
    if found is None:
        raise BackupError("no_program", f"{name} {version}")
    return found


def _version_of(data: Path) -> int:
    try:
        return int((data / "PG_VERSION").read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        raise BackupError("not_ours") from error


def _account() -> pwd.struct_passwd | None:
    """Return the account for the server's programs, which refuse to run as root; None for the caller's own."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(_ACCOUNT)
    except KeyError as error:
        raise BackupError("no_account", _ACCOUNT) from error


def _give(folder: Path) -> None:
    owner = _account()
    folder.chmod(0o700)
    if owner is not None:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)


def _run(
    command: Sequence[str],
    *,
    progress: Progress = no_progress,
    env: Mapping[str, str] | None = None,
    account: bool = False,
    failed: str = "failed",
) -> None:
    """Run a program to its end. Raises BackupError with its last line, or when it cannot run."""
    owner = _account() if account else None
    who: dict[str, Any] = {}
    if owner is not None:
        who = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
    # a file, not a pipe: the server that pg_ctl starts would hold a pipe open
    with tempfile.TemporaryFile() as told:
        process = subprocess.Popen(  # noqa: S603 - PostgreSQL's own programs, no shell
            command,
            env={**os.environ, "LC_ALL": "C", **(env or {})},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=told,
            **who,
        )
        try:
            while process.poll() is None:
                time.sleep(0.1)
                _show(told.fileno(), progress)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        told.seek(0)
        text_ = told.read()[-4_000:].decode(errors="replace").replace("\r", "\n").strip()
    if process.returncode != 0:
        said = _reason(text_) or f"{Path(command[0]).name}: {process.returncode}"
        raise BackupError(failed, _damage(said) if failed == "damaged" else cause_in(said), said)


def _show(handle: int, progress: Progress) -> None:
    size = os.fstat(handle).st_size
    found = _PROGRESS.findall(os.pread(handle, 400, max(0, size - 400)))
    if found:
        progress(int(found[-1][0]), int(found[-1][1]))


def _reason(told: str) -> str:
    lines = [line for line in told.splitlines() if "error" in line.lower() or "fatal" in line.lower()]
    return lines[0] if lines else (told.splitlines() or [""])[-1]


def _damage(said: str) -> MessageError:
    """Return what pg_verifybackup found, in words."""
    if "not on disk" in said:
        return MessageError(N_("a file is missing"))
    if "not in the manifest" in said:
        return MessageError(N_("it has a file that does not belong to it"))
    if "WAL" in said:
        return MessageError(N_("its WAL cannot be read"))
    return MessageError(N_("a file differs from what was copied"))


def _quoted(path: Path) -> str:
    if set(str(path)) & set("'\"\\%\n$`"):
        raise BackupError("path", str(path))
    return str(path)


@contextmanager
def _draft(place: Path) -> Iterator[Path]:
    """Provide an empty private folder beside the place; what is left of it is removed."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{place.name}-", suffix=".partial", dir=place.parent))
    except OSError as error:
        raise BackupError("unwritable", error, str(error)) from error
    try:
        yield draft
    except OSError as error:
        raise BackupError("failed", error, str(error)) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _rename(draft: Path, place: Path) -> None:
    if os.path.lexists(place):
        raise BackupError("exists", str(place))
    draft.rename(place)
