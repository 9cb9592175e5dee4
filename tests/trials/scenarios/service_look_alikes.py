"""Make situations that look like a fault of one service, of the collector, of names or of the clock.

Each group has a variant with the sign that tells it apart, and one without.
"""

from __future__ import annotations

import datetime
from email.utils import format_datetime
from typing import Any, Final

import trustme

from tests.support.clock_shift import shifted_clock
from tests.trials.scenarios.breakage import (
    HELLO,
    both_at,
    dated_certificate,
    filter_packets,
    later,
    victim_of,
)
from tests.trials.scenarios.scenario import tellable, untellable
from tests.trials.scenarios.world import SERVICES, World

OVER: Final = ("none/*", "uncertain/*")
"""What is right where the trouble was over within the run, or was none."""


# --- 1: what a second look finds well ------------------------------------------------------------------------


@tellable("none", "recovered", accepts=OVER, kind="1 second look", core=True)
def error_page_once(world: World) -> None:
    """The first request gets a 503, every later one the page."""
    victim_of(world).update(bad_first=1, bad_status=503)


@tellable("none", "recovered", accepts=OVER, kind="1 second look")
def reset_once(world: World) -> None:
    """The first request is cut off."""
    victim_of(world).update(bad_first=1)


@tellable("none", "recovered", accepts=OVER, kind="1 second look")
def silent_once(world: World) -> None:
    """The first request gets no answer within the check's limit."""
    victim_of(world).update(bad_first=1, bad_delay_s=9)


# --- 2: one host fails ---------------------------------------------------------------------------------------


@untellable("operator", "operator_filter", kind="2 one host", core=True)
def hello_reset(world: World) -> None:
    """The operator resets TLS to one host."""
    rule = f"tcp dport 443 {HELLO} reject with tcp reset"
    later(world, "isp", f"forward ip daddr {victim_of(world)['host']} {rule}")


@untellable("operator", "operator_filter", kind="2 one host")
def hello_dropped(world: World) -> None:
    """The operator drops the TLS hello to one host."""
    later(world, "isp", f"forward ip daddr {victim_of(world)['host']} tcp dport 443 {HELLO} drop")


@untellable("operator", "operator_filter", kind="2 one host")
def refused_like_the_host(world: World) -> None:
    """The operator resets connections to one host at the distance of the host itself."""
    later(world, "isp", f"forward ip daddr {victim_of(world)['host']} tcp dport 443 reject with tcp reset")


@untellable("operator", "operator_filter", accepts=("operator/*",), kind="2 one host")
def refused_nearer_than_the_host(world: World) -> None:
    """The operator's router itself answers a reset, one hop nearer than the host."""
    world.carrier = True
    later(world, "isp", f"nat iifname wan0 ip daddr {victim_of(world)['host']} tcp dport 443 redirect to :9")


@untellable("operator", "operator_filter", accepts=("operator/*",), kind="2 one host")
def prohibited_by_the_operator(world: World) -> None:
    """A router of the operator's shared range answers "administratively prohibited"."""
    world.carrier = True
    rule = "tcp dport 443 reject with icmp type admin-prohibited"
    later(world, "isp", f"forward ip daddr {victim_of(world)['host']} {rule}")


@untellable("operator", "operator_filter", kind="2 one host", core=True)
def dropped_by_the_operator(world: World) -> None:
    """The operator drops everything to one host."""
    later(world, "isp", f"forward ip daddr {victim_of(world)['host']} drop")


@untellable("local", "site_firewall", accepts=("local/*",), kind="2 one host")
def prohibited_by_the_site(world: World) -> None:
    """The gateway answers "administratively prohibited" for one host."""
    rule = "tcp dport 443 reject with icmp type admin-prohibited"
    later(world, "gate", f"forward ip daddr {victim_of(world)['host']} {rule}")


@untellable("local", "site_firewall", kind="2 one host")
def dropped_by_the_site(world: World) -> None:
    """The gateway drops everything to one host."""
    later(world, "gate", f"forward ip daddr {victim_of(world)['host']} drop")


@untellable("local", "site_firewall", kind="2 one host")
def reset_by_the_site(world: World) -> None:
    """The gateway resets connections to one host."""
    later(world, "gate", f"forward ip daddr {victim_of(world)['host']} tcp dport 443 reject with tcp reset")


@untellable("local", "site_firewall", "local/*", accepts=("local/*",), kind="2 one host")
def dropped_by_the_device(world: World) -> None:
    """A firewall on the device drops everything to one host."""
    later(world, "device", f"output ip daddr {victim_of(world)['host']} drop")


def _own_word(world: World, status: int, text: str, headers: dict[str, str] | None = None) -> None:
    victim_of(world).update(status=status, body=text, times=1, headers=headers or {})


@tellable("service", "service_error", accepts=("service/*",), kind="2 own word", core=True)
def forbidden(world: World) -> None:
    """The service answers 403 over TLS that is verified for its name."""
    _own_word(world, 403, "<h1>403 Forbidden</h1>")


@tellable("service", "service_error", accepts=("service/*",), kind="2 own word")
def too_many_requests(world: World) -> None:
    """The service answers 429."""
    _own_word(world, 429, "Too many requests", {"Retry-After": "120"})


@tellable("service", "service_error", accepts=("service/*",), kind="2 own word")
def legal_reasons(world: World) -> None:
    """The service answers 451."""
    _own_word(world, 451, "Unavailable For Legal Reasons")


@tellable("service", "service_error", accepts=("service/*",), kind="2 own word")
def maintenance(world: World) -> None:
    """The service answers with a maintenance page."""
    _own_word(world, 503, "<h1>Sedang dalam pemeliharaan</h1>", {"Retry-After": "3600"})


def _plain(world: World) -> dict[str, Any]:
    """Make one service a plain page on port 80."""
    victim = victim_of(world)
    victim.update(tls=False, port=80)
    return victim


def _answered_by_the_operator(world: World, **page: Any) -> None:
    victim = _plain(world)
    world.extra["isp"] = {"web": [{"host": world.resolver, "port": 8080, **page}]}
    later(world, "isp", f"nat iifname wan0 ip daddr {victim['host']} tcp dport 80 dnat ip to {world.resolver}:8080")


@untellable("operator", "operator_filter", "operator/*", kind="2 one host")
def plain_forbidden_on_the_way(world: World) -> None:
    """The operator answers 403 for a plain page."""
    _answered_by_the_operator(world, status=403, body="Forbidden")


@untellable("local", "site_firewall", "local/*", "operator/*", kind="2 one host")
def one_host_inspected(world: World) -> None:
    """A box of the school replaces the certificate of one host by its own."""
    victim = victim_of(world)
    victim["cert"] = world.cert("inspected", victim["fqdn"], trustme.CA(organization_name="School Inspection"))


def _endless(world: World, **options: Any) -> None:
    victim = victim_of(world)
    victim.update(status=302, location=f"https://{victim['fqdn']}/again", times=1, **options)


@tellable("service", "service_error", kind="2 own word")
def redirect_without_end(world: World) -> None:
    """The service redirects to itself for ever, over TLS that is verified for its name; the check follows."""
    _endless(world, follow=True)


@tellable("none", "healthy", accepts=("none/*",), kind="2 own word")
def redirect_that_is_not_followed(world: World) -> None:
    """The same for a check that is not asked to follow redirects: the answer is what it expects."""
    _endless(world)


@tellable("service", "service_error", kind="2 own word")
def garbled_answer(world: World) -> None:
    """The service answers no HTTP, over TLS that is verified for its name."""
    victim_of(world).update(garbled=True)


@untellable("service", "service_down", "service/*", kind="2 one host")
def plain_garbled_answer(world: World) -> None:
    """The same on a plain page, where anything on the way can answer."""
    _plain(world).update(garbled=True)


@untellable("service", "service_down", "service/*", kind="2 one host")
def no_tls_at_all(world: World) -> None:
    """The service speaks plain HTTP on its TLS port."""
    victim_of(world).update(plain=True)


@untellable("service", "service_down", "service/*", kind="2 one host")
def old_tls_only(world: World) -> None:
    """The service offers TLS 1.1 at most."""
    victim_of(world).update(old_tls=True)


@untellable("local", "captive_portal", "local/*", kind="2 one host", core=True)
def plain_login_page_on_every_port(world: World) -> None:
    """A login page without TLS answers on the TLS port of every host; names are answered, nothing is redirected."""
    page = {"host": world.gateway, "port": 8080, "body": "<h1>Silakan masuk</h1>"}
    world.extra["gate"] = {"web": [page]}
    later(
        world,
        "gate",
        f"nat iifname lan0 ip daddr != {world.gateway} tcp dport {{ 80, 443 }} dnat ip to {world.gateway}:8080",
        "forward udp dport 53 accept",
        "forward ct state established accept",
        "forward drop",
    )


@tellable("none", "healthy", accepts=("none/*",), kind="2 own word")
def protected_page(world: World) -> None:
    """The service answers with a challenge for browsers, over TLS that is verified for its name: it works."""
    _own_word(world, 403, "<h1>Just a moment</h1>", {"cf-mitigated": "challenge"})


@tellable("none", "healthy", accepts=("none/*",), kind="2 own word")
def speed_server_without_room(world: World) -> None:
    """The server of the rate test has no room now; the connection works."""
    world.throughput = True
    world.speed_server = {"backend_status": 503, "headers": {"Retry-After": "30"}}


@tellable("none", "healthy", accepts=("none/*",), kind="2 own word")
def speed_test_that_is_not_there(world: World) -> None:
    """There is no speed test at the address in the settings; the connection works."""
    world.throughput = True
    world.speed_server = {"backend_status": 404, "status": 404}


@tellable("none", "healthy", accepts=("none/*",), kind="2 one host")
def references_out_of_reach(world: World) -> None:
    """The operator drops everything to the references; every service answers."""
    one, other = world.references
    later(world, "isp", f"forward ip daddr {{ {one}, {other} }} drop")


# --- 3: answers on port 53 -----------------------------------------------------------------------------------


def _port_53_on_the_way(world: World) -> None:
    to = f"dnat ip to {world.resolver}:53"
    later(world, "isp", f"nat iifname wan0 udp dport 53 {to}", f"nat iifname wan0 tcp dport 53 {to}")


@untellable("operator", "operator_filter", "operator/*", kind="3 names", core=True)
def every_plain_answer_denies(world: World) -> None:
    """The operator answers all of port 53 and denies one name."""
    world.lies = {world.services["sirekap"]["fqdn"]: "NXDOMAIN"}
    _port_53_on_the_way(world)


@untellable("operator", "operator_filter", "operator/*", accepts=("operator/*",), kind="3 names")
def every_plain_answer_denies_and_a_secure_one_knows(world: World) -> None:
    """The same, while a resolver over TLS tells the address."""
    world.secure_resolver = True
    every_plain_answer_denies(world)


@untellable("operator", "operator_filter", "operator/*", kind="3 names")
def every_plain_answer_leads_to_a_block_page(world: World) -> None:
    """The operator answers all of port 53 and leads one name to its own server."""
    world.lies = {world.services["sirekap"]["fqdn"]: [world.resolver]}
    page = {"host": world.resolver, "port": 443, "cert": world.cert("block", "block.operator.example")}
    world.extra["isp"] = {"web": [page, {"host": world.resolver, "port": 80, "body": "Internet Positif"}]}
    _port_53_on_the_way(world)


@untellable("service", "service_name", "service/*", kind="3 names")
def name_gone(world: World) -> None:
    """The service's name does not exist any more, for anyone."""
    world.zone[world.services["sirekap"]["fqdn"]] = "NXDOMAIN"


@untellable("service", "service_name", "service/*", accepts=("service/service_name",), kind="3 names")
def name_gone_as_a_secure_resolver_says(world: World) -> None:
    """The same, confirmed by a resolver over TLS."""
    world.secure_resolver = True
    name_gone(world)


# --- 4: a deadline of our own --------------------------------------------------------------------------------


@tellable("none", "healthy", accepts=OVER, kind="4 deadlines", core=True)
def collector_with_slow_tls(world: World) -> None:
    """The collector's TLS takes three seconds; it works."""
    world.services["collector"].update(tls_delay_s=3.0)


@tellable("none", "healthy", accepts=OVER, kind="4 deadlines")
def collector_that_answers_late(world: World) -> None:
    """The collector answers after four seconds; it works."""
    world.services["collector"].update(delay_s=4.0)


@tellable("none", "healthy", accepts=OVER, kind="4 deadlines")
def slow_resolver(world: World) -> None:
    """The resolver takes over a second for each answer."""
    world.dns = {"delay_s": 1.3}


@untellable(
    "operator", "operator_outage", "operator/*", "local/site_uplink",
    accepts=("uncertain/*", "none/recovered"), kind="4 deadlines",
)  # fmt: skip
def intermittent_link(world: World) -> None:
    """The link is gone for twenty seconds from the first second of the test on."""
    start = world.rng.uniform(0.3, 1.1)
    both_at(world, start, loss=1)
    both_at(world, start + 20)


@untellable("operator", "operator_outage", accepts=("none/healthy",), kind="4 deadlines")
def intermittent_link_in_a_good_moment(world: World) -> None:
    """The link is gone for twenty seconds after the test's last packet: a test that saw nothing cannot know."""
    both_at(world, 15.0, loss=1)
    both_at(world, 35.0)


@untellable(
    "operator", "operator_outage", "operator/*", "local/site_uplink",
    accepts=("uncertain/*", "none/recovered"), kind="4 deadlines",
)  # fmt: skip
def intermittent_link_that_returns(world: World) -> None:
    """The link is gone at the first packet, and works from the seventh second on."""
    both_at(world, 0.0, loss=1)
    both_at(world, 7.0)


@tellable("collector", "collector_down", accepts=("collector/*",), kind="4 deadlines")
def collector_error(world: World) -> None:
    """The collector answers 503 over TLS that is verified for its name."""
    world.services["collector"].update(status=503)


@untellable("operator", "operator_filter", kind="4 deadlines")
def collector_filtered(world: World) -> None:
    """The operator drops everything to the collector."""
    later(world, "isp", f"forward ip daddr {world.services['collector']['host']} drop")


# --- 10: dates of cached pages -------------------------------------------------------------------------------


def _stale(world: World, marked: bool) -> None:
    then = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=world.rng.randrange(2, 40))
    headers = {"Date": format_datetime(then, usegmt=True)}
    if marked:
        headers |= {"Age": "250000", "Via": "1.1 cache.operator.example"}
    for name in ("info", "kpu"):
        world.services[name].update(tls=False, port=80, headers=headers)


@tellable("none", "healthy", accepts=("none/*",), kind="10 clock", core=True)
def cached_dates(world: World) -> None:
    """Two plain pages come from one cache with their old dates, which it marks; the clock is right."""
    _stale(world, True)


@tellable("none", "healthy", accepts=("none/*", "uncertain/*"), kind="10 clock")
def cached_dates_without_marks(world: World) -> None:
    """The same from a cache that does not mark them."""
    _stale(world, False)


@tellable("none", "healthy", accepts=("none/*", "uncertain/*", "collector/*"), kind="10 clock")
def collector_with_a_wrong_date(world: World) -> None:
    """The collector's own clock is days off; every service tells the device's time."""
    then = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=world.rng.choice((-3, 2)))
    world.services["collector"].update(headers={"Date": format_datetime(then, usegmt=True)})


@tellable("none", "healthy", accepts=("none/*", "uncertain/*", "service/*"), kind="10 clock")
def service_with_a_wrong_date(world: World) -> None:
    """One service's clock is days off."""
    then = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=4)
    victim_of(world).update(headers={"Date": format_datetime(then, usegmt=True)})


@tellable("service", "service_certificate", accepts=("service/*", "uncertain/*"), kind="10 clock")
def expired_beside_cached_dates(world: World) -> None:
    """One certificate has expired, and a cache tells old dates for two plain pages; the clock is right."""
    _stale(world, True)
    victim = world.services["sirekap"]
    end = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    victim["cert"] = dated_certificate(world, "expired", victim["fqdn"], end - datetime.timedelta(days=90), end)


@tellable("local", "clock_wrong", kind="10 clock")
def clock_some_minutes_off(world: World) -> None:
    """The device's clock is 20 minutes off; every server agrees on another time."""
    world.env |= shifted_clock(world.rng.choice(("-20m", "+20m")))


# --- 11: words without a verified certificate, and once is not always ----------------------------------------


@untellable("operator", "operator_filter", "operator/*", kind="11 words")
def gateway_timeout_of_a_cache(world: World) -> None:
    """The operator's cache answers 504 for a plain page."""
    _answered_by_the_operator(world, status=504, body="Gateway Timeout", headers={"Via": "1.1 cache"})


@untellable("service", "service_down", "service/*", accepts=("service/*",), kind="11 words")
def plain_error_of_the_service(world: World) -> None:
    """The service itself answers 500 on a plain page."""
    _plain(world).update(status=500)


@untellable("operator", "operator_filter", "operator/*", kind="11 words", core=True)
def block_page_with_its_own_certificate(world: World) -> None:
    """The operator's resolver leads one name to a block page whose certificate is good for another name."""
    world.lies = {world.services["sirekap"]["fqdn"]: [world.resolver]}
    page = {"host": world.resolver, "port": 443, "cert": world.cert("block", "block.operator.example")}
    world.extra["isp"] = {"web": [page, {"host": world.resolver, "port": 80}]}


@tellable("none", "healthy", accepts=OVER, kind="11 words")
def slow_once(world: World) -> None:
    """The first request takes four seconds, every later one is quick."""
    victim_of(world).update(bad_first=1, bad_delay_s=4)


# --- 13: stalls and slowness ---------------------------------------------------------------------------------


@untellable("service", "service_overloaded", "service/*", kind="13 slowness", core=True)
def stall_in_the_body(world: World) -> None:
    """A page stops in its middle, every time."""
    victim_of(world).update(stall_after=1000, stall_s=12)


@untellable("service", "service_overloaded", "service/*", kind="13 slowness")
def slow_tls(world: World) -> None:
    """The handshake of one service takes four seconds, every time."""
    victim_of(world).update(tls_delay_s=4)


@untellable("service", "service_overloaded", "service/*", kind="13 slowness")
def page_that_trickles(world: World) -> None:
    """A page of one service comes slowly while others of its size are quick."""
    victim_of(world).update(pace_bps=10_000)


@untellable("operator", "operator_filter", "operator/*", kind="13 slowness")
def one_host_throttled(world: World) -> None:
    """The operator lets little pass to and from one host."""
    host = victim_of(world)["host"]
    later(world, "isp", f"forward ip saddr {host} limit rate over 1 kbytes/second burst 1400 bytes drop")


@untellable(
    "service", "service_overloaded", "service/*", accepts=("none/*", "uncertain/below_need"), kind="13 slowness"
)
def slow_speed_server(world: World) -> None:
    """The server of the rate test sends slowly; pages are quick."""
    world.throughput = True
    world.speed_server = {"pace_bps": 150_000}


# --- 14: every name leads to one address ---------------------------------------------------------------------


def _everything_leads_to(world: World, address: str) -> None:
    world.lies = {service["fqdn"]: [address] for service in world.services.values()} | {"*": [address]}
    to = f"dnat ip to {world.resolver}:53"
    later(world, "isp", f"nat iifname wan0 udp dport 53 {to}", f"nat iifname wan0 tcp dport 53 {to}")


@tellable("local", "captive_portal", accepts=("local/walled_garden",), kind="14 by names", core=True)
def portal_by_names(world: World) -> None:
    """Every name leads to the gateway, whose plain page redirects to its login."""
    page = {"host": world.gateway, "port": 80, "status": 302, "location": "http://login.hotspot.example/"}
    world.extra["gate"] = {"web": [page]}
    _everything_leads_to(world, world.gateway)
    later(world, "gate", "forward udp dport 53 accept", "forward ct state established accept", "forward drop")


@untellable("local", "captive_portal", "local/*", kind="14 by names")
def portal_by_names_without_a_page(world: World) -> None:
    """Every name leads to the gateway, which shows nothing."""
    _everything_leads_to(world, world.gateway)
    later(world, "gate", "forward udp dport 53 accept", "forward ct state established accept", "forward drop")


@tellable("local", "walled_garden", accepts=("local/*",), kind="14 by names")
def quota_by_names(world: World) -> None:
    """Every name leads to the operator's shop, whose plain page offers a package."""
    shop = {"host": world.resolver, "port": 80, "status": 302, "location": "http://isiulang.operator.example/paket"}
    world.extra["isp"] = {"web": [shop]}
    _everything_leads_to(world, world.resolver)
    later(world, "isp", "forward iifname wan0 drop")


@untellable("local", "quota_used_up", "local/*", kind="14 by names")
def quota_by_names_without_a_page(world: World) -> None:
    """Every name leads to an address of the operator that shows nothing."""
    _everything_leads_to(world, world.resolver)
    later(world, "isp", "forward iifname wan0 drop")


# --- the operator's proxy ------------------------------------------------------------------------------------


def _through_a_proxy(world: World) -> None:
    """Let the operator accept every connection to ports 80 and 443 before it connects further."""
    world.extra["isp"] = {"proxy": [{"host": "0.0.0.0", "port": 3129}]}
    world.after.append(lambda w: filter_packets(w, "isp", "nat iifname wan0 tcp dport { 80, 443 } redirect to :3129"))


@tellable("none", "healthy", accepts=("none/*",), kind="mobile")
def operator_proxy(world: World) -> None:
    """A proxy of the operator accepts every connection itself; everything works."""
    _through_a_proxy(world)


@untellable("service", "service_down", "service/*", kind="mobile")
def operator_proxy_and_dead_host(world: World) -> None:
    """The proxy accepts connections for a host that is down."""
    victim_of(world)["off"] = True
    _through_a_proxy(world)


@untellable("service", "service_refuses_network", "service/*", kind="mobile")
def shared_address_refused(world: World) -> None:
    """A service resets connections from the operator's shared address."""
    later(world, "net", f"input ip daddr {victim_of(world)['host']} tcp dport 443 reject with tcp reset")


@tellable("service", "service_error", accepts=("service/*",), kind="mobile")
def shared_address_forbidden(world: World) -> None:
    """A service answers 403 to the operator's shared address and says so."""
    _own_word(world, 403, "Your network is blocked")


assert len(SERVICES) == 3, "the scenarios need a victim and two others"
