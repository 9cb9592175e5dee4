"""What remains possible for a cause that one place cannot settle, in order, and what would settle it.

The order is that of what is common at a polling station: a used-up package before a fault of the operator, a single
host's own fault before a filter on the way. Evidence that speaks for one of them moves it to the front.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from sigprobe.verdict.verdict import COLLECTOR, LOCAL, OPERATOR, SERVICE, Candidate

WEAK_SIGNAL: Final = Candidate(OPERATOR, "weak_signal", "better_place")
QUOTA: Final = Candidate(LOCAL, "quota_used_up", "check_quota")
APN: Final = Candidate(LOCAL, "apn_wrong", "check_apn")
SIM: Final = Candidate(LOCAL, "sim_inactive", "other_sim")
IMEI: Final = Candidate(LOCAL, "imei_unregistered", "check_imei")
OUTAGE: Final = Candidate(OPERATOR, "operator_outage", "other_sim")
FILTER: Final = Candidate(OPERATOR, "operator_filter", "other_operator")
RESOLVER: Final = Candidate(OPERATOR, "operator_resolver", "other_dns")
CONGESTION: Final = Candidate(OPERATOR, "operator_congestion", "other_operator")
OPERATOR_LOSS: Final = Candidate(OPERATOR, "operator_loss", "other_operator")
OPERATOR_MTU: Final = Candidate(OPERATOR, "operator_mtu", "other_operator")
SITE_UPLINK: Final = Candidate(LOCAL, "site_uplink", "restart_router")
SITE_FIREWALL: Final = Candidate(LOCAL, "site_firewall", "other_network")
SITE_RESOLVER: Final = Candidate(LOCAL, "site_resolver", "other_dns")
SITE_LOSS: Final = Candidate(LOCAL, "site_loss", "near_router")
SITE_MTU: Final = Candidate(LOCAL, "site_mtu", "restart_router")
OTHERS_HERE: Final = Candidate(LOCAL, "others_here", "pause_others")
DEVICE_BUSY: Final = Candidate(LOCAL, "device_busy", "free_processor")
OWN_TRAFFIC: Final = Candidate(LOCAL, "own_traffic", "pause_own")
PLAN_LIMIT: Final = Candidate(LOCAL, "plan_limit", "check_quota")
DEVICE_CLOCK: Final = Candidate(LOCAL, "clock_wrong", "check_clock")
VPN: Final = Candidate(LOCAL, "vpn", "stop_vpn")
LOGIN: Final = Candidate(LOCAL, "captive_portal", "open_browser")
SERVICE_DOWN: Final = Candidate(SERVICE, "service_down", "ask_centre")
SERVICE_BUSY: Final = Candidate(SERVICE, "service_overloaded", "ask_centre")
SERVICE_REFUSES: Final = Candidate(SERVICE, "service_refuses_network", "other_operator")
SERVICE_CERTIFICATE: Final = Candidate(SERVICE, "service_certificate", "ask_centre")
SERVICE_NAME: Final = Candidate(SERVICE, "service_name", "ask_centre")
COLLECTOR_DOWN: Final = Candidate(COLLECTOR, "collector_down", "ask_centre")

ONE_HOST: Final = (SERVICE_DOWN, FILTER, SITE_FIREWALL, SERVICE_REFUSES)
OTHER_CERTIFICATE: Final = (SERVICE_CERTIFICATE, SITE_FIREWALL, FILTER)
OTHER_DATES: Final = (SERVICE_CERTIFICATE, DEVICE_CLOCK, FILTER)
LINK_GAP: Final = (OUTAGE, SITE_UPLINK, CONGESTION)
SLOW_HOST: Final = (SERVICE_BUSY, FILTER, CONGESTION, OTHERS_HERE)
SEVERAL: Final = (FILTER, QUOTA, SERVICE_DOWN, SITE_FIREWALL)
ALL_SILENT: Final = (QUOTA, SITE_FIREWALL, FILTER, SERVICE_DOWN)
ALL_REFUSED: Final = (SITE_FIREWALL, FILTER, QUOTA, SERVICE_DOWN)
SOME_REPLACED: Final = (SITE_FIREWALL, FILTER, SERVICE_DOWN)
INTERCEPTED: Final = (SITE_FIREWALL, LOGIN, FILTER)
LOST_MIDWAY: Final = (OUTAGE, QUOTA, SITE_UPLINK, SITE_FIREWALL)
ONE_ADDRESS_HERE: Final = (LOGIN, SITE_RESOLVER, QUOTA)
ONE_ADDRESS_BEYOND: Final = (QUOTA, LOGIN, FILTER)
ALL_REPLACED: Final = (LOGIN, SITE_FIREWALL, FILTER, QUOTA)
LOOPING: Final = (OUTAGE, SITE_UPLINK, SERVICE_DOWN)
NOTHING_BEYOND: Final = (QUOTA, OUTAGE, SITE_UPLINK, APN)
MODEM_SILENT: Final = (QUOTA, OUTAGE, APN, SIM)
MODEM_NAMES_ONLY: Final = (QUOTA, SIM, OUTAGE, APN)
WEAK: Final = (WEAK_SIGNAL, QUOTA, APN)
DENIED: Final = (SIM, OUTAGE, IMEI)
NAMES: Final = (RESOLVER, SITE_RESOLVER, SERVICE_NAME)
NAME_SERVICE: Final = (SERVICE_NAME, RESOLVER, SITE_RESOLVER)
SLOW: Final = (CONGESTION, PLAN_LIMIT, OTHERS_HERE)
QUEUE: Final = (OTHERS_HERE, CONGESTION, OWN_TRAFFIC)
LOSS: Final = (OPERATOR_LOSS, SITE_LOSS, CONGESTION)
NEAR_LOSS: Final = (SITE_LOSS, OPERATOR_LOSS, CONGESTION)
SLOW_RADIO: Final = (CONGESTION, WEAK_SIGNAL, PLAN_LIMIT)
COLLECTOR_NAME: Final = (SITE_RESOLVER, RESOLVER, COLLECTOR_DOWN)
LOST_OPENINGS: Final = (CONGESTION, OPERATOR_LOSS, SITE_LOSS)
LOST_OR_DOWN: Final = (CONGESTION, SITE_LOSS, SERVICE_DOWN)
MTU: Final = (OPERATOR_MTU, SITE_MTU, SERVICE_DOWN)
ONE_COLLECTOR: Final = (COLLECTOR_DOWN, FILTER, SITE_FIREWALL)
REDIRECTED: Final = (QUOTA, FILTER, LOGIN)
MIXED: Final = (CONGESTION, SERVICE_DOWN, SITE_UPLINK)


def after(origin: str | None, order: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Return the candidates for a failed host, given where connections to it end (`refusals.Origin`)."""
    if origin == "site":
        return first([SITE_FIREWALL], order)
    outside = [c for c in order if c is not SITE_FIREWALL]
    if origin == "box":
        return first([FILTER], outside)
    return tuple(outside if origin == "farther" else order)


def first(front: Iterable[Candidate], rest: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Return the candidates with those of `front` moved to the front, each once."""
    return tuple(dict.fromkeys([*front, *rest]))
