"""Ask the database whether it can store a batch now."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Engine, select, update

from sigprobe.collector.store.schema import readiness, receive_order


def write_beat(engine: Engine) -> None:
    """Commit one small write. Raises SQLAlchemyError when the disk is full, or the database is read-only or
    unreachable."""
    with engine.execution_options(write=True).begin() as connection:
        connection.execute(update(readiness).values(beat_at=datetime.now(UTC)))


def last_number(engine: Engine) -> int:
    """Return the highest receive number given out."""
    with engine.connect() as connection:
        return int(connection.execute(select(receive_order.c.last_no)).scalar_one())
