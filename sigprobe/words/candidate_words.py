"""Describe the remaining causes, and the step that would settle each. Contacts are in `places/contacts.json`."""

from __future__ import annotations

from typing import Final

from sigprobe.record.messages import N_

CAUSES: Final[dict[str, str]] = {
    "weak_signal": N_("weak mobile signal at this place"),
    "quota_used_up": N_("data quota used up"),
    "apn_wrong": N_("wrong access point name (APN)"),
    "sim_inactive": N_("SIM card not active or expired"),
    "imei_unregistered": N_("device not registered (IMEI)"),
    "operator_outage": N_("fault at the operator"),
    "operator_filter": N_("blocked by the operator"),
    "operator_resolver": N_("DNS server of the operator"),
    "operator_congestion": N_("operator's network overloaded"),
    "operator_loss": N_("packet loss at the operator"),
    "operator_mtu": N_("large packets lost at the operator"),
    "site_uplink": N_("modem or router of this place"),
    "site_firewall": N_("blocked by this network or device"),
    "site_resolver": N_("DNS server of this network"),
    "site_loss": N_("packet loss in the local network"),
    "site_mtu": N_("packet size setting of the local router"),
    "others_here": N_("other users of this network"),
    "device_busy": N_("this device itself, short of processor time"),
    "own_traffic": N_("other programs on this device"),
    "vpn": N_("the VPN of this device"),
    "plan_limit": N_("speed limit of the data plan"),
    "clock_wrong": N_("wrong clock of this device"),
    "captive_portal": N_("login page of this network"),
    "service_down": N_("the service itself"),
    "service_overloaded": N_("the service is overloaded"),
    "service_refuses_network": N_("the service refuses this network"),
    "service_certificate": N_("certificate of the service"),
    "service_name": N_("DNS of the service"),
    "collector_down": N_("the collector itself"),
}

SETTLE: Final[dict[str, str]] = {
    "check_quota": N_("check the data quota ({ussd})"),
    "better_place": N_("move to open space and test again"),
    "check_apn": N_("check the APN in the modem settings"),
    "check_imei": N_("check the device at imei.kemenperin.go.id"),
    "check_clock": N_("check date and time"),
    "other_sim": N_("try a SIM card of another operator"),
    "other_operator": N_("repeat the test with another operator"),
    "other_dns": N_("repeat the test with another DNS server"),
    "other_network": N_("repeat the test on another network"),
    "restart_router": N_("restart the modem or router"),
    "near_router": N_("repeat the test next to the router, or by cable"),
    "pause_others": N_("ask others to pause downloads and video"),
    "pause_own": N_("stop other programs on this device"),
    "stop_vpn": N_("switch the VPN off and test again"),
    "free_processor": N_("close other programs on this device and test again"),
    "open_browser": N_("open a web page in a browser"),
    "ask_centre": N_("ask the monitoring centre whether it works elsewhere"),
}
