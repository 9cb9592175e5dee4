"""Measurement kind `dns`: ask one or several resolvers for a name, and time each of them.

The system's own way to look a name up (`getaddrinfo`: hosts file, cache, search list) is timed beside it.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sigprobe.measure.dns import compare
from sigprobe.measure.dns.data import ComparisonData, DnsData, ResolverData
from sigprobe.measure.dns.hosts_file import HOSTS, in_hosts_file
from sigprobe.measure.dns.options import Options
from sigprobe.measure.dns.servers import RESOLV_CONF, SYSTEM, Server, parse_resolver, parse_server, system_servers
from sigprobe.measure.kind import Kind, Measured
from sigprobe.net import sockets
from sigprobe.net.limits import Context, rounded
from sigprobe.record.result import Failure, Outcome
from sigprobe.verdict import dns_consistency as answers

if TYPE_CHECKING:
    from sigprobe.measure.dns.query import Question, Reply


_ADDRESS_TYPES: Final = ("A", "AAAA", "CNAME", "HTTPS")


def measure(
    options: Options,
    context: Context,
    *,
    resolv_conf: Path = RESOLV_CONF,
    read_system: Callable[[Path], list[tuple[str, int]]] = system_servers,
    getaddrinfo: sockets.GetAddrInfo = socket.getaddrinfo,
    clock: Callable[[], float] = time.monotonic,
    hosts_file: Path = HOSTS,
    https_port: int = compare.HTTPS,
) -> Measured:
    """Ask all resolvers and `getaddrinfo` in parallel, each with the whole deadline.

    NOERROR with an answer of the asked type is good. All good is `ok`, some `degraded` (`dns_some_failed`), none
    `failed` with the first resolver's code. Where only the system's resolver gives an answer that cannot be right the
    result is `degraded` with `tampered` and both answers, whatever else is good. Where none is good but the C library
    resolves the name the system's servers failed for, it is `degraded` with `dns_library_only`; where only protection
    services answered DoH, with `http_challenge`.
    """
    if context.budget.exhausted():
        return Measured(Outcome.SKIPPED, _data(options, [], sockets.Lookup(error=None)), Failure("data_budget"))
    from sigprobe.measure.dns.query import Question

    question = Question(options.query_name(), options.type)
    with ThreadPoolExecutor(len(options.resolvers) + 1, thread_name_prefix="dns") as pool:
        system = pool.submit(_system_lookup, options, context, getaddrinfo, clock)
        futures = [
            pool.submit(
                _ask_resolver,
                [Server("dns", *server) for server in read_system(resolv_conf)]
                if text == SYSTEM
                else [parse_resolver(text)],
                question,
                context,
                clock,
            )
            for text in options.resolvers
        ]
        replies = [future.result() for future in futures]
        looked_up = system.result()
    entries = [_entry(text, asked) for text, asked in zip(options.resolvers, replies, strict=True)]
    comparison = None
    if options.comparable():

        def ask(server: str, name: str) -> list[str]:
            at = Server("dns", *parse_server(server))
            again = replace(context, deadline=context.deadline.within(compare.ASK_S))
            return _ask(at, Question(name, options.type), again, clock).answers or []

        fixed = in_hosts_file(options.query_name(), hosts_file)
        comparison = compare.compare(
            options.query_name(), entries, SYSTEM, context, ask, fixed=fixed, port=https_port, clock=clock
        )
    data = _data(options, entries, looked_up, comparison)
    used = next((entry["address"] for entry in entries if entry["failure"] is None), entries[0]["address"])
    failures = [entry["failure"] for entry in entries if entry["failure"] is not None]
    if any(reply.stopped for asked in replies for reply in asked):
        return Measured(Outcome.SKIPPED, data, Failure("interrupted"), used)
    if comparison is not None and comparison["word"] == answers.TAMPERED:
        return Measured(Outcome.DEGRADED, data, Failure("tampered", compare.detail(comparison)), used)
    if not failures:
        return Measured(Outcome.OK, data, None, used)
    if len(failures) < len(entries):
        detail = ", ".join(f"{e['resolver']}: {e['failure']['code']}" for e in entries if e["failure"])
        return Measured(Outcome.DEGRADED, data, Failure("dns_some_failed", detail), used)
    own = next((entry for entry in entries if entry["resolver"] == SYSTEM), None)
    if own is not None and _found_by_library(options, own, looked_up, hosts_file):
        # programs on this device get their answer, so its name server cannot be called silent or broken
        failed = [own, *(entry for entry in entries if entry is not own)]
        parts = [f"{e['failure']['code']}: {e['failure']['detail']}" for e in failed if e["failure"] is not None]
        return Measured(Outcome.DEGRADED, data, Failure("dns_library_only", ", ".join(parts)[:300]), used)
    # a protection service before a resolver says nothing about it: the others' failures count before that
    judged = [failure for failure in failures if failure["code"] != "http_challenge"]
    first = (judged or failures)[0]
    outcome = Outcome.FAILED if judged else Outcome.DEGRADED
    return Measured(outcome, data, Failure(first["code"], first["detail"]), used)


def _found_by_library(options: Options, system: ResolverData, looked_up: sockets.Lookup, hosts_file: Path) -> bool:
    """Return whether the C library resolved the name for which the system's servers gave us no address.

    It may know servers that we do not (nss modules, `options use-vc`); a name in the hosts file proves nothing.
    NXDOMAIN is an answer, and what the library found then may come from its search list. Against any other answer
    of a server only an address of the asked type counts: one that came over IPv4 alone does not excuse a lack of AAAA.
    """
    if options.type not in ("A", "AAAA") or system["rcode"] == "NXDOMAIN":
        return False
    wanted = socket.AF_INET if options.type == "A" else socket.AF_INET6
    found = [a for a in looked_up.addresses if system["rcode"] is None or a.family == wanted]
    return bool(found) and not in_hosts_file(options.query_name(), hosts_file)


def _system_lookup(
    options: Options, context: Context, getaddrinfo: sockets.GetAddrInfo, clock: Callable[[], float]
) -> sockets.Lookup:
    if options.type not in _ADDRESS_TYPES:
        return sockets.Lookup(error=f"not asked for type {options.type}")
    try:
        return sockets.look_up(
            options.query_name(), 0, context.deadline, context.stop, getaddrinfo=getaddrinfo, clock=clock
        )
    except sockets.StoppedError:
        return sockets.Lookup(error="interrupted")


def _ask_resolver(
    servers: list[Server], question: Question, context: Context, clock: Callable[[], float]
) -> list[Reply]:
    """Ask the servers in turn until one answers well; each gets its share of the remaining time."""
    replies: list[Reply] = []
    for index, server in enumerate(servers):
        share = context.deadline.within(context.deadline.remaining() / (len(servers) - index))
        reply = _ask(server, question, replace(context, deadline=share), clock)
        replies.append(reply)
        # a name that does not exist is an answer; asking the next server would not change it
        if reply.failure is None or reply.stopped or reply.rcode in ("NOERROR", "NXDOMAIN"):
            break
    return replies


def _ask(server: Server, question: Question, context: Context, clock: Callable[[], float]) -> Reply:
    if server.protocol == "dns":
        from sigprobe.measure.dns.query import ask

        reply = ask(server.host, server.port, question, context, clock)
        context.budget.spend(reply.bytes_sent + reply.bytes_received)
        return reply
    from sigprobe.measure.dns import secure

    if server.url is not None:
        return secure.ask_https(server.url, question, context, clock)
    return secure.ask_tls(server.host, server.port, server.name, question, context, clock)


def _entry(resolver: str, asked: list[Reply]) -> ResolverData:
    """Return a resolver's entry: the server that answered well, else the first that answered at all, else the first."""
    best = next(
        (r for r in asked if r.failure is None),
        next((r for r in asked if r.rcode is not None), asked[0] if asked else None),
    )
    failure = Failure("dns_no_resolver", "no nameserver in resolv.conf") if best is None else best.failure
    return {
        "resolver": resolver,
        "address": best.address if best else None,
        "asked": [reply.address for reply in asked],
        "protocol": best.protocol if best else None,
        "connect_ms": rounded(best.connect_ms) if best else None,
        "query_ms": rounded(best.query_ms) if best else None,
        "rcode": best.rcode if best else None,
        "answers": best.answers if best else None,
        "ttl_s": best.ttl_s if best else None,
        "canonical": best.canonical if best else None,
        "denied_by": best.denied_by if best else None,
        "failure": None if failure is None else {"code": failure.code, "detail": failure.detail},
        "truncated": best.truncated if best else None,
        "edns": best.edns if best else None,
        "ad": best.ad if best else None,
        "attempts": sum(reply.attempts for reply in asked),
        "ignored": sum(reply.ignored for reply in asked),
        "bytes_sent": sum(reply.bytes_sent for reply in asked),
        "bytes_received": sum(reply.bytes_received for reply in asked),
    }


def _data(
    options: Options,
    entries: list[ResolverData],
    looked_up: sockets.Lookup,
    comparison: ComparisonData | None = None,
) -> dict[str, Any]:
    first = next(
        (entry for entry in entries if entry["failure"] is None),
        next((entry for entry in entries if entry["rcode"] is not None), entries[0] if entries else None),
    )
    data: DnsData = {
        "type": options.type,
        "resolver": first["resolver"] if first else None,
        "query_ms": first["query_ms"] if first else None,
        "rcode": first["rcode"] if first else None,
        "answers": first["answers"] if first else None,
        "ttl_s": first["ttl_s"] if first else None,
        "getaddrinfo_ms": rounded(looked_up.ms),
        "getaddrinfo_error": looked_up.error,
        "resolvers": entries,
        "comparison": comparison,
        "bytes_sent": sum(entry["bytes_sent"] for entry in entries) if entries else None,
        "bytes_received": sum(entry["bytes_received"] for entry in entries) if entries else None,
    }
    return dict(data)


KIND = Kind("dns", 1, Options, DnsData, measure)
