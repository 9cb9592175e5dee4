"""Group the failure codes of checks by what they can say about a network.

Every code that a check can record is in exactly one group, so that a new code cannot fall into a rule by accident.
"""

from __future__ import annotations

from typing import Final

NAMES: Final = frozenset(
    {
        "name_not_found", "dns_timeout", "dns_servfail", "dns_nxdomain", "dns_refused", "dns_rcode", "dns_no_answer",
        "dns_no_resolver",
    }
)  # fmt: skip
"""A name had no answer, or none that helps: the resolver, this network's or the service's name server."""

SILENT: Final = frozenset({"no_reply", "timeout", "packet_loss", "host_unreachable", "filtered", "too_slow"})
"""Nothing came back in time, or a router said that it cannot be reached."""

CUT: Final = frozenset({"refused", "reset", "http_truncated", "tls_failed"})
"""A connection was refused or ended: by the host, or by anything before it."""

REPLACED: Final = frozenset({"tls_untrusted", "tls_hostname", "tls_not_spoken", "tls_too_old", "tls_refused"})
"""Not the service proven by its certificate: itself, a login page, an inspection, or a filter with its own answer."""

DATED: Final = frozenset({"tls_expired", "tls_not_yet_valid"})
"""A certificate and this device's clock disagree."""

ANSWERS: Final = frozenset({"http_status", "http_text", "bad_response", "redirect_limit", "redirect_elsewhere"})
"""An answer that is not the page. It is the service's own word only over a certificate that holds for its name."""

UNJUDGED: Final = frozenset({"http_challenge", "http_unreadable"})
"""The service answered in a way that a check cannot grade: it works."""

PARTIAL: Final = frozenset(
    {"one_direction", "page_incomplete", "video_incomplete", "playlist_invalid", "playlist_stale", "dns_some_failed"}
)
"""A part arrived and a part did not."""

DISAGREE: Final = frozenset({"tampered"})
"""Resolvers give different answers."""

HERE: Final = frozenset({"no_network", "network_unreachable", "no_gateway", "no_address"})
"""The kernel of this device, or a router, has no route."""

TOO_BIG: Final = frozenset({"packet_too_big"})
LOOP: Final = frozenset({"ttl_exceeded"})

NOT_RUN: Final = frozenset(
    {
        "permission", "program_missing", "busy", "internal", "data_budget", "data_cap", "interrupted", "time_up",
        "server_busy", "token_refused", "no_endpoint", "dns_library_only", "too_short",
    }
)  # fmt: skip
"""The check could not be run, for a reason of this device, its settings or the test's server. It judges no network."""

OF_THE_WALK: Final = frozenset({"dead_after_hop", "gateway_dead", "no_reference", "no_way_beyond"})
"""How far the walk outwards came; rules read its data instead."""

GROUPS: Final = (
    NAMES, SILENT, CUT, REPLACED, DATED, ANSWERS, UNJUDGED, PARTIAL, DISAGREE, HERE, TOO_BIG, LOOP, NOT_RUN,
    OF_THE_WALK,
)  # fmt: skip
