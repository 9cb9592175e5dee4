"""Give incidents and their deliveries as numbers for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy import Engine, func, select

from sigprobe.collector.incidents import queries
from sigprobe.collector.incidents.schema import deliveries


def gauges(engine: Engine) -> Iterator[Metric]:
    """Yield the open incidents and the alerts that could not be delivered. Raises SQLAlchemyError."""
    family = GaugeMetricFamily("sigprobe_open_incidents", "Open incidents.", labels=["aspect", "kind", "silent"])
    found = queries.count_open(engine)
    for (aspect, kind, silent), count in sorted(found.items()):
        family.add_metric([aspect, kind, str(silent).lower()], count)
    yield family
    with engine.connect() as connection:
        waiting = connection.scalar(select(func.count()).select_from(deliveries).where(deliveries.c.tries > 0))
    yield GaugeMetricFamily("sigprobe_undelivered_alerts", "Incidents whose last delivery failed.", waiting or 0)
