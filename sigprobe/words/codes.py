"""Map each failure code and verdict cause to its screen code, message and advice.

Records carry the codes, screens look the texts up here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sigprobe.record.messages import N_
from sigprobe.words import verdict_codes


@dataclass(frozen=True, slots=True)
class Code:
    """Failure code or verdict cause: its screen code, its meaning and the recommended action.

    `{name}` in a sentence is the target's name; other fields are filled where they are known.
    """

    code: str
    screen: str
    sentence: str
    advice: str
    command: str = ""
    """Fills `{command}` in the advice unless a more exact command is known."""


def _table(*rows: tuple[str, str, str, str]) -> dict[str, Code]:
    commands = {"list_missing": "sigprobe status --coverage --list tps.csv"}
    return {
        code: Code(code, screen, sentence, advice, commands.get(code, "")) for code, screen, sentence, advice in rows
    }


CODES: Final[Mapping[str, Code]] = _table(
    # --- internet connection
    (
        "no_network",
        "SP-NET-03",
        N_("This device is not connected to any network."),
        N_("Turn on mobile data or Wi-Fi, switch off airplane mode, then try again."),
    ),
    (
        "no_signal",
        "SP-NET-01",
        N_("There is no mobile signal at this place. Results are kept and will be sent when there is a connection."),
        N_("Move to the nearest place with signal, then run: sigprobe upload"),
    ),
    (
        "no_internet",
        "SP-NET-02",
        N_("There is signal, but the internet is not connected."),
        N_("Check the data package and airplane mode, then try again."),
    ),
    (
        "network_unreachable",
        "SP-NET-04",
        N_("No route from this device to {name}."),
        N_("Check that this device is connected to a network, then try again."),
    ),
    (
        "host_unreachable",
        "SP-NET-05",
        N_("The network reports that {name} cannot be reached."),
        N_("Check the address of the target; if it is right, try again later."),
    ),
    (
        "no_gateway",
        "SP-NET-06",
        N_("This device has no default gateway, so other networks cannot be reached."),
        N_("Connect to mobile data, Wi-Fi or a cable, then try again."),
    ),
    (
        "ttl_exceeded",
        "SP-NET-07",
        N_("Packets to {name} loop in the network and never arrive."),
        N_("Try again later; if the problem continues, report it to the operator."),
    ),
    (
        "filtered",
        "SP-NET-08",
        N_("The network reports that it does not forward packets to {name}."),
        N_("Contact the network administrator, or try another network."),
    ),
    (
        "packet_too_big",
        "SP-NET-09",
        N_("The packets to {name} are too big for the path."),
        N_("Choose a smaller size in the settings."),
    ),
    (
        "permission",
        "SP-PRM-01",
        N_("This device does not permit the check of {name}."),
        N_("Run: sigprobe doctor"),
    ),
    # --- any target
    (
        "timeout",
        "SP-TGT-01",
        N_("{name} did not answer in time."),
        N_("Try again in a few minutes, or from a place with a better signal."),
    ),
    (
        "refused",
        "SP-TGT-02",
        N_("{name} refused the connection."),
        N_("The service may be down; contact the service operator."),
    ),
    (
        "reset",
        "SP-TGT-03",
        N_("The connection to {name} was cut."),
        N_("Try again; if the problem continues, report it to the network administrator."),
    ),
    (
        "packet_loss",
        "SP-TGT-04",
        N_("Some packets to {name} were lost."),
        N_("Move to a window or to an open place, then test again."),
    ),
    (
        "no_reply",
        "SP-TGT-05",
        N_("None of the packets to {name} was answered."),
        N_("It may be down, or it may never answer ping; see the other checks."),
    ),
    (
        "bad_response",
        "SP-TGT-06",
        N_("{name} sent an answer that could not be understood."),
        N_("Check that the address in the settings is the right one."),
    ),
    (
        "slower",
        "SP-TGT-07",
        N_("Another address of {name} answered first."),
        N_("No action is needed."),
    ),
    # --- names
    (
        "name_not_found",
        "SP-DNS-01",
        N_("The address of {name} was not found (DNS failed)."),
        N_("Try again in a few minutes."),
    ),
    (
        "dns_nxdomain",
        "SP-DNS-02",
        N_("The DNS server says that {name} does not exist."),
        N_("Check the spelling of hostname in the settings."),
    ),
    (
        "dns_servfail",
        "SP-DNS-03",
        N_("The DNS server could not find the address for {name} (SERVFAIL)."),
        N_("Try again later; the servers of that name may be down."),
    ),
    (
        "dns_refused",
        "SP-DNS-04",
        N_("The DNS server refused to answer {name}."),
        N_("Choose another DNS server in the settings."),
    ),
    (
        "dns_rcode",
        "SP-DNS-05",
        N_("The DNS server answered {name} with an error."),
        N_("Try again later, or choose another DNS server in the settings."),
    ),
    (
        "dns_no_answer",
        "SP-DNS-06",
        N_("The name of {name} exists but has no address of this type."),
        N_("Check hostname and type in the settings."),
    ),
    (
        "dns_timeout",
        "SP-DNS-07",
        N_("The DNS server did not answer {name} in time."),
        N_("Try again; if only this DNS server does not answer, choose another one."),
    ),
    (
        "dns_some_failed",
        "SP-DNS-08",
        N_("Only some DNS servers answered {name}."),
        N_("For details, run: sigprobe results --json"),
    ),
    (
        "dns_no_resolver",
        "SP-DNS-09",
        N_("This device has no DNS server to ask for {name}."),
        N_("Connect to a network again, or set a DNS server in the settings."),
    ),
    (
        "tampered",
        "SP-DNS-10",
        N_("The DNS server of this network gives a false answer for {name}."),
        N_("Do not enter passwords there; set 1.1.1.1 as the DNS server of this device, then test again."),
    ),
    (
        "dns_library_only",
        "SP-DNS-11",
        N_("This device finds the address of {name}, but its DNS server did not give it to the check."),
        N_("No action needed if pages open; otherwise contact the network administrator."),
    ),
    # --- web and TLS
    (
        "http_status",
        "SP-WEB-01",
        N_("{name} answered with an error page."),
        N_("The service has a problem; contact the service operator."),
    ),
    (
        "http_text",
        "SP-WEB-02",
        N_("{name} answered, but not with the expected page."),
        N_("A login page of the network may be in the way: open a browser and look."),
    ),
    (
        "http_truncated",
        "SP-WEB-03",
        N_("{name} stopped in the middle of its answer."),
        N_("Try again; on a weak signal, move to open space first."),
    ),
    (
        "redirect_limit",
        "SP-WEB-04",
        N_("{name} redirects in a loop."),
        N_("Contact the service operator."),
    ),
    (
        "redirect_elsewhere",
        "SP-WEB-05",
        N_("{name} redirects to another host, so the rest was not fetched."),
        N_(
            "If that host is the right one, put its address in the settings; otherwise contact the "
            "network administrator."
        ),
    ),
    (
        "page_incomplete",
        "SP-WEB-06",
        N_("Parts of the page {name} did not arrive."),
        N_("Try again; if the problem continues, contact the website operator."),
    ),
    (
        "http_challenge",
        "SP-WEB-07",
        N_("{name} is protected against automatic access, so this check could not reach the page itself."),
        N_("Open the page in a browser to check it, or use an address without this protection in the settings."),
    ),
    (
        "http_unreadable",
        "SP-WEB-08",
        N_("{name} answered in a compressed format that this check cannot read."),
        N_("The service works; remove expect_text from the settings, or check the page in a browser."),
    ),
    (
        "playlist_invalid",
        "SP-VID-01",
        N_("{name} sent no playable video playlist."),
        N_("Check that the address in the settings leads to an HLS playlist."),
    ),
    (
        "video_incomplete",
        "SP-VID-02",
        N_("Parts of the video {name} did not arrive."),
        N_("Try again; if the problem continues, contact the video provider."),
    ),
    (
        "playlist_stale",
        "SP-VID-03",
        N_("The live video {name} has stopped: no new part of it came."),
        N_("Try again later; if the problem continues, contact the video provider."),
    ),
    (
        "tls_hostname",
        "SP-TLS-01",
        N_("The certificate of {name} is for another host."),
        N_("Do not enter passwords there; contact the service operator."),
    ),
    (
        "tls_untrusted",
        "SP-TLS-02",
        N_("The certificate of {name} comes from an unknown issuer."),
        N_("The connection may be intercepted: use another network, and contact the service operator."),
    ),
    (
        "tls_expired",
        "SP-TLS-03",
        N_("The certificate of {name} has expired."),
        N_("Check the date of this device first; if it is correct, contact the service operator."),
    ),
    (
        "tls_not_yet_valid",
        "SP-TLS-04",
        N_("The certificate of {name} is not valid yet."),
        N_("Check this device's date and time."),
    ),
    (
        "tls_failed",
        "SP-TLS-05",
        N_("No secure connection to {name} could be made."),
        N_("Try another network; if the problem continues, contact the service operator."),
    ),
    (
        "tls_refused",
        "SP-TLS-06",
        N_("{name} refused the secure connection."),
        N_("Nothing is wrong with this device; contact the service operator."),
    ),
    (
        "tls_too_old",
        "SP-TLS-07",
        N_("{name} offers only TLS versions that are too old to be safe."),
        N_("Do not enter passwords there; contact the service operator."),
    ),
    (
        "tls_not_spoken",
        "SP-TLS-08",
        N_("{name} answered, but not with a secure connection (TLS)."),
        N_("Check the address and port in the settings; a login page of the network may also be in the way."),
    ),
    # --- throughput
    (
        "one_direction",
        "SP-THR-01",
        N_("Only one direction of {name} could be measured."),
        N_("For details, run: sigprobe results --json"),
    ),
    (
        "no_endpoint",
        "SP-THR-02",
        N_("{name} offers no speed test at this address."),
        N_("Check url in the settings: it must be a sigprobe collector or a LibreSpeed server."),
    ),
    (
        "program_missing",
        "SP-THR-06",
        N_("The program for this speed test is not installed."),
        N_("Install iperf3, or use engine: http in the settings."),
    ),
    (
        "server_busy",
        "SP-THR-03",
        N_("{name} has no room for another speed test now."),
        N_("Try again in a few minutes."),
    ),
    (
        "too_slow",
        "SP-THR-04",
        N_("Too little data arrived from {name} in time to calculate a speed."),
        N_("Move to a place with a better signal and test again."),
    ),
    (
        "too_short",
        "SP-THR-07",
        N_("The test of {name} was too short to calculate a result."),
        N_("Allow more data with max_mb of this target, or more time with --max-time."),
    ),
    (
        "token_refused",
        "SP-THR-05",
        N_("{name} did not accept this laptop's token."),
        N_("Ask the monitoring centre for a new token."),
    ),
    # --- skipped
    (
        "busy",
        "SP-LCK-01",
        N_("Another test is still running."),
        N_("Wait for it, or run: sigprobe status"),
    ),
    (
        "data_budget",
        "SP-DAT-01",
        N_("{name} was skipped to stay within the data budget."),
        N_("Raise data_budget in the settings, or allow more with --max-data."),
    ),
    (
        "data_cap",
        "SP-DAT-02",
        N_("{name} was stopped at its own data limit."),
        N_("If the data package allows more, raise max_mb of this target in the settings."),
    ),
    (
        "time_up",
        "SP-TIM-01",
        N_("{name} was skipped because the time was up."),
        N_("Give it more time with --max-time."),
    ),
    (
        "interrupted",
        "SP-TIM-02",
        N_("{name} was stopped before it was finished."),
        N_("Run: sigprobe test"),
    ),
    (
        "internal",
        "SP-INT-01",
        N_("{name} could not be checked because of a fault in sigprobe."),
        N_("Please report it with the log file that sigprobe doctor shows."),
    ),
    # --- storing and uploading
    (
        "collector_unreachable",
        "SP-SYN-01",
        N_("The collector cannot be reached. The results are safe on this device."),
        N_("To send the results, run: sigprobe upload"),
    ),
    (
        "collector_portal",
        "SP-SYN-02",
        N_("Something other than the collector answered, perhaps the login page of this network. Nothing was sent."),
        N_("Open a browser, log in to the network, then run: sigprobe upload"),
    ),
    (
        "collector_token",
        "SP-SYN-03",
        N_("The collector does not accept this device's token. Tests continue, and the results are stored."),
        N_("Ask the monitoring centre for a new token, put it in the token file, then run: sigprobe upload"),
    ),
    (
        "collector_busy",
        "SP-SYN-04",
        N_("The collector is busy and asks to wait. The results are safe on this device."),
        N_("No action needed; to send the results, run: sigprobe upload"),
    ),
    (
        "collector_tls",
        "SP-SYN-05",
        N_("The collector's certificate could not be verified, so nothing was sent."),
        N_("Check this device's date and time, and ca_file in the settings; then try another network."),
    ),
    (
        "ca_file_unusable",
        "SP-SYN-05",
        N_("The file that ca_file names cannot be used as a CA."),
        N_("Correct ca_file in the settings, or put the CA of the collector into that file."),
    ),
    (
        "set_aside",
        "SP-SYN-06",
        N_("The collector rejects some results. They stay on this device, set aside with the reason."),
        N_("To see them, run: sigprobe results --state rejected"),
    ),
    (
        "no_collector",
        "SP-SYN-07",
        N_("No collector is configured."),
        N_("Add the collector to the settings file, under upload.collectors. To find it, run: sigprobe config show"),
    ),
    (
        "collector_refuses",
        "SP-SYN-08",
        N_(
            "The collector refuses everything sent, or something on the path changes it. The results "
            "stay on this device."
        ),
        N_("Inform the monitoring centre. To try again, run: sigprobe upload"),
    ),
    (
        "disk_full",
        "SP-DSK-01",
        N_("The storage is full. THE RESULT WAS NOT SAVED."),
        N_("Delete other files, then repeat the test."),
    ),
    (
        "storage_failed",
        "SP-DSK-02",
        N_("The storage could not be written. THE RESULT WAS NOT SAVED."),
        N_("Run: sigprobe doctor"),
    ),
    (
        "buffer_limit",
        "SP-DSK-03",
        N_("The queue has reached buffer.max_mb. THE RESULT WAS NOT SAVED."),
        N_("Send the queue with sigprobe upload, or raise buffer.max_mb."),
    ),
    (
        "ack_unnoted",
        "SP-DSK-04",
        N_(
            "The collector has the results, but this device could not record that: its storage is full "
            "or not writable. Nothing is lost; the next upload sends them again, and they are not stored twice."
        ),
        N_("Delete other files, then run: sigprobe upload"),
    ),
    (
        "queue_failed",
        "SP-DSK-05",
        N_("The queue could not be read or written during the upload. Its results are safe and can be sent later."),
        N_("Run: sigprobe doctor"),
    ),
    # --- transfer files
    (
        "file_not_ours",
        "SP-FIL-01",
        N_("{name} was not written by sigprobe export. Nothing was imported."),
        N_("Choose the file that sigprobe export has written."),
    ),
    (
        "file_damaged",
        "SP-FIL-02",
        N_("{name} is damaged or incomplete. Nothing was imported."),
        N_("Copy it again, or export again on the device it comes from; the results are still kept there."),
    ),
    (
        "file_newer",
        "SP-FIL-03",
        N_("{name} was written by a newer sigprobe. Nothing was imported."),
        N_("Update sigprobe on this device, then import the file again."),
    ),
    (
        "file_too_big",
        "SP-FIL-04",
        N_("{name} exceeds the limit of one file."),
        N_("Check where the file comes from; if it is yours, send the results with sigprobe upload instead."),
    ),
    (
        "file_unreadable",
        "SP-FIL-05",
        N_("{name} could not be read."),
        N_("Check the name and that the stick is plugged in, then try again."),
    ),
    (
        "file_exists",
        "SP-FIL-06",
        N_("{name} already exists and was not overwritten."),
        N_("Choose another name, or add --force to overwrite it."),
    ),
    (
        "file_full",
        "SP-FIL-07",
        N_("There is no room for {name}. No file was written; the results are still stored on this device."),
        N_("Delete other files there, or use another stick."),
    ),
    (
        "file_unwritable",
        "SP-FIL-08",
        N_("{name} could not be written. The results are still stored on this device."),
        N_("Check that the directory exists and may be written, then try again."),
    ),
    (
        "file_changed",
        "SP-FIL-09",
        N_("{name} changed while it was read, so the rest was not imported."),
        N_(
            "Import it again when it is no longer being written; results already imported stay and are "
            "not stored twice."
        ),
    ),
    (
        "file_of_receipts",
        "SP-FIL-10",
        N_("{name} contains receipts, not results. Nothing was imported."),
        N_("Take it to the device the results come from, and run there: sigprobe import"),
    ),
    (
        "file_directory",
        "SP-FIL-11",
        N_("{name} is a directory, not a file."),
        N_("Add the name of a file in that directory, then try again."),
    ),
    # --- lists of places
    (
        "list_invalid",
        "SP-LST-01",
        N_("{name} has mistakes, so nothing was imported from it."),
        N_("Correct the lines named above, then import the file again."),
    ),
    (
        "list_missing",
        "SP-LST-02",
        N_("No list of TPS has been imported on this device yet."),
        N_("Create a CSV file with the columns id, name, lat, lon, then run: {command}"),
    ),
    # --- place, time, settings
    (
        "no_fix",
        "SP-GPS-01",
        N_("GPS has no position yet."),
        N_("Move to an open place, or continue with the registered position of the TPS."),
    ),
    (
        "clock_wrong",
        "SP-CLK-01",
        N_("The date or time of this device is wrong."),
        N_("Switch on automatic date and time."),
    ),
    (
        "config_missing",
        "SP-CFG-01",
        N_("There is no settings file yet."),
        N_("Run: sigprobe init"),
    ),
    (
        "config_invalid",
        "SP-CFG-02",
        N_("The settings file has mistakes."),
        N_("Correct the lines named, then run: sigprobe config check"),
    ),
    (
        "tps_invalid",
        "SP-CFG-03",
        N_('The TPS number must be 13 digits, for example "3273011001005" (in quotes).'),
        N_("Copy the number from the appointment letter of the TPS."),
    ),
    # --- causes of a verdict
    *verdict_codes.ROWS,
)


def find_code(text: str) -> Code | None:
    """Find a code by its name or its screen code, in any case."""
    wanted = text.strip().lower()
    return next((c for c in CODES.values() if wanted in (c.code, c.screen.lower())), None)


NOT_TESTED: Final = frozenset({"no_reference", "internet_not_tested"})
"""Codes of checks that measured nothing, because the settings name nothing to measure: neither good nor failed."""


def is_untested(outcome: str, code: str | None) -> bool:
    """Return whether a result shows "not tested": it was skipped, or there was nothing to test."""
    return outcome == "skipped" or code in NOT_TESTED
