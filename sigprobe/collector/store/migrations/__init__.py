"""Migrate a database to the present schema, with Alembic: numbered steps, appended and never edited.

A step describes its tables itself instead of using `schema.py`: that file changes, and a step must not. Databases of
releases before Alembic have their version in `schema_version`; they are taken over at that version.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import DatabaseError

from sigprobe.collector.store.schema import schema_version

HEAD: Final = "0008"

_MIGRATION_LOCK: Final = 0x51670001
"""Key of the PostgreSQL advisory lock under which one process migrates while others wait."""

_TABLE: Final = "sigprobe_migrations"


class NewerSchemaError(Exception):
    """The database was written by a newer collector."""


def migrate(engine: Engine, *, to: str = HEAD) -> None:
    """Bring the database to revision `to` in one transaction, or leave it as it was.

    Raises NewerSchemaError when it holds a version this program does not know.
    """
    if _is_at(engine, to):
        return
    config, script = _scripts()
    with engine.execution_options(write=True).begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        if not inspect(connection).has_table("schema_version"):
            schema_version.create(connection)

        def steps(revision: Any, _context: Any) -> Any:
            return script._upgrade_revs(to, revision)

        with EnvironmentContext(config, script, fn=steps, destination_rev=to) as environment:
            environment.configure(connection=connection, version_table=_TABLE)
            _take_over(environment.get_context(), connection)
            try:
                environment.run_migrations()
            except CommandError as error:
                raise NewerSchemaError(f"version {_revision(connection)}, this program knows {HEAD}") from error


def pending(engine: Engine) -> list[tuple[str, str]]:
    """Return the steps that `migrate` would take, each with its first sentence, without changing anything."""
    with engine.connect() as connection:
        tables = inspect(connection)
        current = _revision(connection) if tables.has_table(_TABLE) else None
        if current is None and tables.has_table("schema_version"):
            noted = connection.execute(text("SELECT max(version) FROM schema_version")).scalar()
            current = None if noted is None else f"{int(noted):04d}"
    steps = reversed(list(_scripts()[1].walk_revisions()))
    return [
        (str(step.revision), (step.doc or "").partition("\n")[0])
        for step in steps
        if current is None or str(step.revision) > current
    ]


def _scripts() -> tuple[Config, ScriptDirectory]:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    return config, ScriptDirectory.from_config(config)


def _is_at(engine: Engine, revision: str) -> bool:
    """Look without a write lock first, so that a start never waits for a busy collector."""
    with engine.connect() as connection:
        try:
            known = inspect(connection).has_table(_TABLE)
        except DatabaseError:  # no database or no way to it: the attempt to migrate says which, and why
            return False
        found = _revision(connection) if known else None
        noted = connection.execute(text("SELECT max(version) FROM schema_version")).scalar() if known else None
        if noted is not None and int(noted) > int(HEAD):
            raise NewerSchemaError(f"version {noted}, this program knows {HEAD}")
        if found is not None and found > HEAD:
            raise NewerSchemaError(f"version {found}, this program knows {HEAD}")
        return found == revision


def _revision(connection: Connection) -> str | None:
    found = MigrationContext.configure(connection, opts={"version_table": _TABLE}).get_current_revision()
    return None if found is None else str(found)


def _take_over(context: MigrationContext, connection: Connection) -> None:
    """Note the version of a database that was made before Alembic."""
    if context.get_current_revision() is not None:
        return
    version = int(connection.execute(text("SELECT max(version) FROM schema_version")).scalar() or 0)
    if version > int(HEAD):
        raise NewerSchemaError(f"version {version}, this program knows {HEAD}")
    if version:
        context._ensure_version_table()
        connection.execute(context._version.insert().values(version_num=f"{version:04d}"))
