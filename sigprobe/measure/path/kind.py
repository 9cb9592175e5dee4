"""Kind `path`: test the network path from this device outwards, until something does not answer.

It runs once in every test without being asked for, after the latency checks, and uses what they saw. It sets no
verdict: it hands over what answered and what did not, under 50 kB and under five seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from sigprobe.measure.dns.options import Options as DnsOptions
from sigprobe.measure.dns.servers import RESOLV_CONF, SYSTEM, parse_resolver
from sigprobe.measure.kind import CommonOptions, Kind, Measured
from sigprobe.measure.path.data import PathData, empty_data
from sigprobe.measure.path.options import NAME, Aim, Options, Seen
from sigprobe.measure.path.second_look import HEAVY_LOSS
from sigprobe.net import sockets
from sigprobe.net.limits import Context
from sigprobe.record.kinds import Way, way
from sigprobe.record.result import Failure, Outcome, Result


def options_for(targets: Sequence[CommonOptions], references: Sequence[str], collectors: Sequence[str]) -> Options:
    """Return the path's options from what is configured: targets, addresses of references, URLs of collectors."""
    aims: list[Aim] = []
    resolvers: list[str] = []
    for target in targets:
        url = getattr(target, "url", None)
        if isinstance(url, str):
            parts = urlsplit(url)
            tls = parts.scheme == "https"
            port = parts.port or (443 if tls else 80)
            aims.append(Aim(name=target.name, kind=target.kind, host=parts.hostname or "", port=port, tls=tls))
        elif isinstance(target, DnsOptions):
            aims.append(Aim(name=target.name, kind="dns", host=target.hostname))
            resolvers += [r for r in target.resolvers if r != SYSTEM]
        else:
            aims.append(Aim(name=target.name, kind=target.kind, host=target.configured_address()))
    return Options(
        references=tuple(dict.fromkeys(references))[:16],
        collectors=tuple(collectors),
        targets=tuple(aims),
        resolvers=tuple(dict.fromkeys(resolvers)),
    )


def informed(options: CommonOptions, results: Iterable[Result]) -> CommonOptions:
    """Return the options with the results of the run's other checks so far."""
    seen = [
        Seen(
            name=r.target.name,
            code=None if r.failure is None or r.outcome is Outcome.DEGRADED else r.failure.code,
            # what answers a name is a resolver, near or far: no proof of a way to anything else
            address=None if way(r.kind) is Way.NAME and not _is_fixed(options, r) else r.target.address_used,
            lossy=way(r.kind) is Way.ECHO and _loses(r.data.get("loss_ratio")),
        )
        for r in results
    ]
    return options.model_copy(update={"seen": tuple(seen)})


def _loses(ratio: object) -> bool:
    return isinstance(ratio, int | float) and not isinstance(ratio, bool) and HEAVY_LOSS <= ratio < 1


def _is_fixed(options: CommonOptions, result: Result) -> bool:
    """Return whether the resolver that answered is one the target names itself."""
    named = options.resolvers if isinstance(options, Options) else ()
    used = result.target.address_used
    servers = [server for server in map(parse_resolver, named) if server.host]
    return used is not None and used in {sockets.endpoint(server.host, server.port) for server in servers}


def measure(
    options: Options,
    context: Context,
    *,
    resolv_conf: Path = RESOLV_CONF,
    forwarded: Sequence[Path] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Measured:
    """Test link, address, gateway, resolvers, hops, references and collectors in this order.

    `ok`: a reference or a configured target beyond the gateway answers; `degraded`: a hop beyond the gateway, but
    none of these; else `failed`, with the code of the first step that is missing.
    """
    if context.budget.exhausted():
        return Measured(Outcome.SKIPPED, dict(empty_data()), Failure("data_budget"))
    from sigprobe.measure.path.resolvers import FORWARDED
    from sigprobe.measure.path.walk import Walk

    walk = Walk(options, context, clock, resolv_conf, FORWARDED if forwarded is None else forwarded)
    with ThreadPoolExecutor(24, thread_name_prefix="path") as pool:
        walk.all(pool)
    context.budget.spend(walk.used)
    if context.stop.is_set():
        return Measured(Outcome.SKIPPED, dict(walk.data), Failure("interrupted"))
    outcome, code, detail = judge(walk.data)
    failure = None if code is None else Failure(code, detail)
    gateway = walk.data["gateway"]
    return Measured(outcome, dict(walk.data), failure, None if gateway is None else gateway["address"])


def judge(data: PathData) -> tuple[Outcome, str | None, str | None]:
    """Return the outcome, the code of the first part that failed, and a technical detail."""
    proof = [p for p in (*data["references"], *data["targets"]) if p["answers"] and p["place"] == "beyond"]
    reached = [c for c in data["collectors"] if c["failure"] is None and c["place"] == "beyond"]
    if proof or reached:
        return Outcome.OK, None, None
    if data["hop_beyond"] is not None:
        return Outcome.DEGRADED, "dead_after_hop", f"{data['hop_beyond']} is the last that answered"
    if data["connected"] is False:
        return Outcome.FAILED, "no_network", None
    if data["addressed"] is False:
        return Outcome.FAILED, "no_address", None
    if not data["routed"]:
        return Outcome.FAILED, "no_gateway", None
    gateway = data["gateway"]
    if gateway is not None and gateway["answers"] is False:
        return Outcome.FAILED, "gateway_dead", f"{gateway['address']}: {gateway['failure']}"
    if not data["references"] and not data["targets"]:
        return Outcome.FAILED, "no_reference", None
    return Outcome.FAILED, "no_way_beyond", None


KIND: Final = Kind(
    NAME,
    1,
    Options,
    PathData,
    measure,
    configurable=False,
)
