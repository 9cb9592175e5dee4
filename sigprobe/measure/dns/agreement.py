"""Compare the answers of the system's resolvers and of others. Each is queried by address, never through a cache."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace
from typing import Final

from sigprobe.measure.dns.data import AskedData
from sigprobe.net import sockets
from sigprobe.net.limits import Context
from sigprobe.record.host_names import is_ip

MAX_ANSWERS: Final = 4


def ask_all(
    hosts: Sequence[str],
    system: Sequence[tuple[str, int]],
    others: Sequence[tuple[str, int]],
    context: Context,
    seconds: float,
    pool: Executor,
    *,
    record: str = "A",
) -> tuple[list[AskedData], int]:
    """Ask every resolver for every host, in parallel, within `seconds`: their answers, and the bytes used.

    `record` is `AAAA` on a device without IPv4, which could not use another address.
    """
    from sigprobe.measure.dns.query import Question, ask

    bounded = replace(context, deadline=context.deadline.within(seconds))
    rows = [(host, server, True) for server in system for host in hosts]
    rows += [(host, server, False) for server in others for host in hosts]
    # the root's name servers are a question that every resolver can answer when no name is configured
    futures = [
        pool.submit(ask, server[0], server[1], Question(host or "", record if host else "NS"), bounded)
        for host, server, _system in rows
    ]
    found: list[AskedData] = []
    used = 0
    for (host, server, is_system), future in zip(rows, futures, strict=True):
        reply = future.result()
        used += reply.bytes_sent + reply.bytes_received + 28 * (reply.attempts + 1)
        found.append(
            {
                "host": host,
                "resolver": sockets.endpoint(*server),
                "system": is_system,
                "rcode": reply.rcode,
                "failure": None if reply.failure is None else reply.failure.code,
                "answers": None if not reply.answers else sorted(a for a in reply.answers if is_ip(a)),
                "denied_by": reply.denied_by,
                "query_ms": None if reply.query_ms is None else round(reply.query_ms, 3),
            }
        )
        found[-1]["answers"] = (found[-1]["answers"] or [])[:MAX_ANSWERS] or None
    return found, used
