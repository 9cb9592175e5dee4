"""Define the causes of a verdict: rows of `CODES` for the verdict and the path check.

Each has one sentence for the cause and one for the action. The responsible party is in the verdict.
"""

from __future__ import annotations

from typing import Final

from sigprobe.record.messages import N_

ROWS: Final[tuple[tuple[str, str, str, str], ...]] = (
    # --- no one responsible
    (
        "healthy",
        "SP-VER-01",
        N_("The connection works."),
        N_("No action needed."),
    ),
    (
        "icmp_filtered",
        "SP-VER-06",
        N_("The connection works. Only ping was not answered by {names}, which is common."),
        N_("No action needed."),
    ),
    # --- this device and its own network
    (
        "no_address",
        "SP-VER-11",
        N_("This device is connected but has no address in the network."),
        N_("Switch Wi-Fi or mobile data off and on again, or restart the modem."),
    ),
    (
        "gateway_dead",
        "SP-VER-12",
        N_("The modem or router that this device is connected to does not answer."),
        N_("Restart the modem or router, wait two minutes, then test again."),
    ),
    (
        "captive_portal",
        "SP-VER-13",
        N_("This network requires a login."),
        N_("Open a browser, log in to the network, then test again."),
    ),
    (
        "walled_garden",
        "SP-VER-14",
        N_("The operator's top-up page answers instead of the internet: the data quota seems to be used up."),
        N_("Buy a data package or use another card, then test again."),
    ),
    (
        "own_traffic",
        "SP-VER-15",
        N_("This device itself fills the connection with other traffic."),
        N_("Stop downloads, updates and video on this device, then test again."),
    ),
    (
        "hosts_file",
        "SP-VER-16",
        N_("The hosts file of this device gives {names} another address than the DNS servers do."),
        N_("Remove that line from the hosts file, then test again."),
    ),
    (
        "device_resolver",
        "SP-VER-17",
        N_("This device asks itself for names, but no DNS server runs on it."),
        N_("Set 1.1.1.1 as the DNS server of this device, or restart the device."),
    ),
    # --- the operator
    (
        "resolver_dead",
        "SP-VER-21",
        N_("The internet can be reached, but the network's own DNS server does not answer."),
        N_("Set 1.1.1.1 as the DNS server of this device, and report it to the operator."),
    ),
    (
        "resolver_lying",
        "SP-VER-22",
        N_("The network's own DNS server gives a wrong address for {names}."),
        N_("Set 1.1.1.1 as the DNS server of this device, and report it to the operator."),
    ),
    (
        "mtu_black_hole",
        "SP-VER-23",
        N_("Small packets arrive, large ones are lost on the path, so pages and uploads hang."),
        N_("Report it to the operator; until then use another network."),
    ),
    (
        "loss_beyond",
        "SP-VER-24",
        N_("Many packets are lost in the operator's network, beyond the modem or router here."),
        N_("Report it to the operator; until then use another operator's network."),
    ),
    (
        "slow_beyond",
        "SP-VER-25",
        N_("The operator's network is too slow, while the modem or router here is fast enough."),
        N_("Report it to the operator; until then use another operator's network."),
    ),
    (
        "modem_no_data",
        "SP-VER-26",
        N_("The modem is registered and has signal, but no data passes."),
        N_("Check the data package and restart the modem; if the problem continues, report it to the operator."),
    ),
    (
        "weak_signal",
        "SP-VER-27",
        N_("The mobile signal at this location is too weak."),
        N_("Move to open space or closer to a window, then test again; report the place to the operator."),
    ),
    (
        "dead_after_hop",
        "SP-VER-28",
        N_("The operator's network answers, but nothing behind it does."),
        N_("Report it to the operator; until then use another operator's network."),
    ),
    # --- the service
    (
        "targets_failed",
        "SP-VER-02",
        N_("The internet works, but some targets did not answer: {names}."),
        N_("Report it to the service operator; the network is not the cause."),
    ),
    (
        "service_refused",
        "SP-VER-31",
        N_("The internet works, but {names} refuses connections."),
        N_("Report it to the service operator; the network is not the cause."),
    ),
    (
        "service_silent",
        "SP-VER-32",
        N_("The internet works, but {names} does not answer."),
        N_("Report it to the service operator; the network is not the cause."),
    ),
    (
        "service_error",
        "SP-VER-33",
        N_("The internet works, but {names} answers with an error."),
        N_("Report it to the service operator; the network is not the cause."),
    ),
    (
        "service_slow",
        "SP-VER-34",
        N_("The internet is fast enough, but {names} responds very slowly."),
        N_("Wait and try again later, and report it to the service operator."),
    ),
    (
        "service_certificate",
        "SP-VER-35",
        N_("The internet works, but the certificate of {names} is not valid."),
        N_("Do not enter passwords there, and report it to the service operator."),
    ),
    (
        "service_name",
        "SP-VER-36",
        N_("Other names are found, but the DNS servers of {names} fail."),
        N_("Report it to the service operator; the network is not the cause."),
    ),
    (
        "service_near",
        "SP-VER-37",
        N_("{names} does not work as expected, while another service nearby does. The internet was not tested."),
        N_("Check the service there; to test the internet, add a target beyond this network."),
    ),
    # --- the collector
    (
        "collector_near",
        "SP-VER-42",
        N_("Only the collector nearby cannot be reached; the internet was not tested. The results are safe."),
        N_("Check whether the collector is running; when it is back, run: sigprobe upload"),
    ),
    (
        "collector_down",
        "SP-VER-41",
        N_("The internet works; only the collector cannot be reached. The results are safe on this device."),
        N_("No action needed here; inform the monitoring centre if it lasts for hours."),
    ),
    # --- open
    (
        "uncertain",
        "SP-VER-03",
        N_("Something is wrong, but the measurements do not show where."),
        N_("Test again in a few minutes, and from another location."),
    ),
    (
        "nothing_measured",
        "SP-VER-04",
        N_("Nothing was measured, so the state of the connection is unknown."),
        N_("See what was skipped and why, then test again."),
    ),
    (
        "below_need",
        "SP-VER-05",
        N_("The connection works, but not well enough: {names}."),
        N_("Move to a place with a better signal, or wait until fewer people use the network, then test again."),
    ),
    (
        "no_way_beyond",
        "SP-VER-51",
        N_("The modem, router or phone answers, but nothing behind it does."),
        N_("Check that mobile data is on and the package is not used up, then test again."),
    ),
    (
        "no_reference",
        "SP-VER-52",
        N_("The internet path was not tested: verdict.references is empty in the settings."),
        N_("Add verdict.references to the settings."),
    ),
    (
        "interception",
        "SP-VER-53",
        N_(
            "The same unknown issuer signed the certificates of different services: the connection is "
            "being intercepted."
        ),
        N_("Do not enter passwords; use another network and inform the monitoring centre."),
    ),
    (
        "queue_by_others",
        "SP-VER-54",
        N_("The connection responds very slowly although this device sends little: many devices probably share it."),
        N_("Ask others on this network to pause downloads and video, then test again."),
    ),
    (
        "ipv6_broken",
        "SP-VER-55",
        N_("IPv6 does not work here, but IPv4 does."),
        N_("Restart the modem or router; if the problem continues, switch off IPv6 on this device."),
    ),
    (
        "ipv4_broken",
        "SP-VER-69",
        N_("IPv4 does not work here, but IPv6 does. Services without IPv6 cannot be reached."),
        N_("Restart the modem or router; if the problem continues, report it to the operator."),
    ),
    (
        "several_targets_failed",
        "SP-VER-56",
        N_("The internet works, but several services fail at the same time: {names}."),
        N_("Test again in a few minutes, and ask whether they respond from another location."),
    ),
    (
        "resolver_silent",
        "SP-VER-57",
        N_("The internet can be reached, but the DNS server that this device uses does not answer."),
        N_("Restart the modem or router, or set 1.1.1.1 as the DNS server of this device."),
    ),
    (
        "recovered",
        "SP-VER-58",
        N_("{names} failed once and worked a moment later."),
        N_("Test again in a few minutes; if it happens again, report it."),
    ),
    (
        "internet_not_tested",
        "SP-VER-59",
        N_("What was tested nearby works or fails as shown; the internet was not tested."),
        N_("Add a target beyond this network and verdict.references to the settings."),
    ),
    (
        "one_host_failed",
        "SP-VER-60",
        N_("The internet works, but {names} cannot be reached from here."),
        N_("Test again in a few minutes, also with another operator's network."),
    ),
    (
        "slow_target",
        "SP-VER-61",
        N_("The internet is fast enough, but {names} takes very long to answer."),
        N_("Test again in a few minutes, also with another operator's network."),
    ),
    (
        "large_packets_lost",
        "SP-VER-62",
        N_("Small packets pass, large ones are lost on the way; pages and uploads may hang."),
        N_("Restart the modem or router, then test again; until then use another network."),
    ),
    (
        "packets_lost",
        "SP-VER-63",
        N_("Many packets are lost on the way."),
        N_("Test again next to the router or by cable, and with another operator's network."),
    ),
    (
        "slow_here",
        "SP-VER-64",
        N_("The connection carries too little data."),
        N_("Check the data plan, ask others to pause, then test again."),
    ),
    (
        "names_disagree",
        "SP-VER-65",
        N_("The DNS server in use gives another address for {names} than all others."),
        N_("Test again with another DNS server, for example 1.1.1.1."),
    ),
    (
        "collector_unreached",
        "SP-VER-66",
        N_("The internet works, but the collector cannot be reached from here. The results are safe on this device."),
        N_("No action needed now; tell the monitoring centre if it lasts for hours."),
    ),
    (
        "registration_denied",
        "SP-VER-67",
        N_("The mobile network refuses this modem."),
        N_("Check that the SIM card is active and the device is registered (imei.kemenperin.go.id)."),
    ),
    (
        "redirected",
        "SP-VER-68",
        N_("Pages are redirected to another site instead of being delivered."),
        N_("Open a browser and look where it leads; check the data quota."),
    ),
    (
        "service_denied",
        "SP-VER-38",
        N_("The internet works, but {names} itself refuses to answer this network or device."),
        N_("Report it to the operator of the service."),
    ),
)
