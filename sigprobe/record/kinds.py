"""Describe each measurement kind for people: its words, its numbers, and how each place shows them.

The screen, the live line, the profile, the verdict, the drive, the CSV and the collector's page read this table. So a
new kind needs one entry here and no change in any of them. The measuring itself is in `sigprobe.measure`.

Texts are message ids, translated when they are drawn. The unit of a number is the end of its name: `_ms`, `_bps`,
`_ratio`, `_dbm`; any other is a plain number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeGuard

from sigprobe.record.messages import N_

LOWER: Final = "lower"
HIGHER: Final = "higher"


class Way(StrEnum):
    """Transport of a kind's answers: it decides what an answer proves about the path to its sender."""

    ECHO = "echo"
    """ICMP echo. Many hosts and firewalls drop it, so silence says little."""
    NAME = "name"
    """A DNS answer. It may come from a cache near by, so it proves no path to the named host."""
    PAGE = "page"
    """An answer over HTTP. Without TLS a captive portal may have sent it."""
    STREAM = "stream"
    """A connection that carries data in both directions."""
    WALK = "walk"
    """Many questions along the path. It runs by itself in every test and has no target of its own."""
    UNKNOWN = "unknown"
    """Nothing is known about its transport: a successful answer counts, a failure names no service."""


@dataclass(frozen=True, slots=True)
class Number:
    """One number that a profile can grade. The first of `keys` in a record's data that holds a number counts.

    `short` is the headline of a run in which it falls short; of several, the lowest `rank` is shown.
    `may_be_at_least`: the number may be only a lower bound. `interval` is the key of its 95 % interval.
    """

    metric: str
    keys: tuple[str, ...]
    better: str
    short: str = ""
    rank: int = 100
    may_be_at_least: bool = False
    interval: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """A remark beside a number: `text` with its fields, each filled from one key of the data.

    A note is left out unless each field has a number.
    """

    text: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Absent:
    """What a line of the table shows in place of a missing number: a word, marked good or failed.

    Without a word the line has a dash and no mark. `instead` is another key whose number stands in.
    """

    word: str = ""
    good: bool = False
    instead: str = ""
    only_when_degraded: bool = False


@dataclass(frozen=True, slots=True)
class TableLine:
    """One line of the run's table. Without a label of its own it has the kind's.

    `only_above_zero`: beside other checks of its kind it is shown only above zero. `incomplete` replaces the grade of
    a degraded result. Without `absent` the line is left out when its number is missing. `with_code` adds the failure
    code of a degraded result. `window` is the key of the rates of single seconds: the line says when they vary.
    """

    metric: str
    label: str = ""
    only_above_zero: bool = False
    notes: tuple[Note, ...] = ()
    with_code: bool = True
    incomplete: str = ""
    absent: Absent | None = None
    window: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the CSV: where its value is in the data. `at_least`: whether that rate is only a lower bound."""

    name: str
    path: tuple[str, ...]
    at_least: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of the summary on the collector's page: the first number of `keys`, put into `text`."""

    keys: tuple[str, ...]
    text: str = "{value}"
    hide_zero: bool = False
    may_be_at_least: bool = False
    window: str = ""


@dataclass(frozen=True, slots=True)
class KindInfo:
    """One kind, as people see it.

    `title` names it in lists. `label` heads its line in a run's table; without one the target's name does.
    `named` is false where a target's name says nothing. `phases` are the steps of the live line. `curve` is the key of
    a series that is drawn beside the number. `in_drive`: light enough to be repeated in a drive.
    `about` explains its numbers, a paragraph each.
    `columns` were in the first CSV and keep their place there; a new column belongs into `later_columns`.
    `meaning` says in one sentence what the kind measures, `example` is one line of the settings for it.
    """

    title: str
    meaning: str = ""
    example: str = ""
    label: str = ""
    named: bool = True
    way: Way = Way.UNKNOWN
    numbers: tuple[Number, ...] = ()
    lines: tuple[TableLine, ...] = ()
    summary: tuple[Part, ...] = ()
    phases: Mapping[str, str] = field(default_factory=dict)
    curve: str = ""
    in_drive: bool = False
    about: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    later_columns: tuple[Column, ...] = ()


KINDS: Final[Mapping[str, KindInfo]] = {
    "ping": KindInfo(
        title=N_("Ping"),
        meaning=N_("Round-trip time, loss and jitter to a host."),
        example="{kind: ping, name: gateway, address: default-gateway}",
        label=N_("Latency"),
        way=Way.ECHO,
        numbers=(
            Number("latency_ms", ("rtt_median_ms", "rtt_avg_ms"), LOWER, N_("THE INTERNET RESPONDS SLOWLY"), 40),
            Number("jitter_ms", ("jitter_ms",), LOWER, N_("THE CONNECTION IS UNSTABLE"), 95),
            Number("loss_ratio", ("loss_ratio",), LOWER, N_("THE INTERNET LOSES PACKETS"), 30),
        ),
        lines=(
            TableLine(
                "latency_ms",
                notes=(Note(N_("jitter {value}"), {"value": "jitter_ms"}),),
                with_code=False,
                absent=Absent(),
            ),
            TableLine("loss_ratio", N_("Packet loss"), only_above_zero=True, with_code=False),
        ),
        summary=(
            Part(("rtt_median_ms", "rtt_avg_ms")),
            Part(("loss_ratio",), N_("{value} lost"), hide_zero=True),
        ),
        phases={"ping": "ping"},
        curve="rtts_ms",
        in_drive=True,
        columns=(
            *("sent", "received", "loss_ratio", "rtt_min_ms", "rtt_avg_ms", "rtt_median_ms", "rtt_max_ms"),
            *("rtt_stddev_ms", "jitter_ms", "method"),
        ),
    ),
    "dns": KindInfo(
        title=N_("DNS"),
        meaning=N_("Looks up a name at one or several DNS servers and measures the time of each answer."),
        example="{kind: dns, name: kpu, hostname: kpu.go.id}",
        label=N_("DNS"),
        way=Way.NAME,
        numbers=(Number("dns_ms", ("query_ms", "getaddrinfo_ms"), LOWER, N_("DNS LOOKUPS ARE SLOW"), 90),),
        lines=(TableLine("dns_ms"),),
        summary=(Part(("query_ms", "getaddrinfo_ms")),),
        in_drive=True,
        columns=("resolver", "query_ms", "rcode", "ttl_s", "getaddrinfo_ms"),
        later_columns=(
            Column("answers_compared", ("comparison", "word")),
            Column("answer_system", ("comparison", "system")),
            Column("answer_others", ("comparison", "others")),
        ),
    ),
    "http": KindInfo(
        title=N_("Web"),
        meaning=N_("Fetches one web page and measures each phase: name, connection, TLS, first and last byte."),
        example='{kind: http, name: sirekap, url: "https://sirekap-web.kpu.go.id/"}',
        way=Way.PAGE,
        numbers=(Number("http_total_ms", ("total_ms",), LOWER, N_("THE SERVICE RESPONDS SLOWLY"), 50),),
        lines=(TableLine("http_total_ms"),),
        summary=(Part(("status_code",), "HTTP {value}"), Part(("total_ms",))),
        in_drive=True,
        columns=(
            *("status_code", "dns_ms", "tcp_ms", "tls_ms", "send_ms", "ttfb_ms", "total_ms", "tls_version"),
            "cert_not_after",
        ),
    ),
    "throughput": KindInfo(
        title=N_("Speed"),
        meaning=N_("Download and upload speed, limited in data and seconds."),
        example='{kind: throughput, name: center, url: "https://centre.example/"}',
        label=N_("Speed"),
        way=Way.STREAM,
        numbers=(
            Number(
                "download_bps",
                ("download_bps",),
                HIGHER,
                N_("THE INTERNET IS SLOW WHEN DOWNLOADING"),
                20,
                may_be_at_least=True,
                interval="download_ci_bps",
            ),
            Number(
                "upload_bps",
                ("upload_bps",),
                HIGHER,
                N_("THE INTERNET IS SLOW WHEN UPLOADING"),
                10,
                may_be_at_least=True,
                interval="upload_ci_bps",
            ),
        ),
        lines=(
            TableLine(
                "download_bps",
                N_("Download"),
                with_code=False,
                absent=Absent(N_("not measured"), only_when_degraded=True),
                window="download_window",
            ),
            TableLine(
                "upload_bps",
                N_("Upload"),
                with_code=False,
                absent=Absent(N_("not measured"), only_when_degraded=True),
                window="upload_window",
            ),
        ),
        summary=(
            Part(("download_bps",), "↓ {value}", may_be_at_least=True, window="download_window"),
            Part(("upload_bps",), "↑ {value}", may_be_at_least=True, window="upload_window"),
        ),
        phases={"idle": N_("waiting time without load"), "download": N_("download"), "upload": N_("upload")},
        about=(
            N_(
                "A speed varies when the 10th and the 90th percentile of its single seconds differ by more than half "
                "of the mean, or when data pause for a second or more. The mean of the test and both percentiles are "
                "shown then."
            ),
            N_(
                "A speed with ≥ is a lower bound: the data limit ended the test while the speed still grew, lost "
                "packets held it back, or this device was too busy. …_at_least and device_busy in the JSON have the "
                "reason."
            ),
            N_(
                "An upload speed with ≤ was counted at a proxy before the server, which keeps each upload until it is "
                "whole. Behind it the speed may be lower, so it is never graded as enough (upload_counted_by in the "
                "JSON)."
            ),
            N_(
                "…_ci_bps in the JSON is the 95 % interval of the speed during the test. A speed whose interval "
                "reaches the limit of the profile is not called too slow."
            ),
        ),
        columns=(
            *("engine", "streams", "download_bps", "upload_bps", "bytes_received", "bytes_sent", "download_s"),
            *("upload_s", "idle_rtt_ms", "loaded_rtt_ms", "ended", "upload_counted_by", "data_used_bytes"),
        ),
        later_columns=(
            Column("download_at_least", ("download_bps",), at_least=True),
            Column("upload_at_least", ("upload_bps",), at_least=True),
            Column("download_p10_bps", ("download_window", "p10_bps")),
            Column("download_p90_bps", ("download_window", "p90_bps")),
            Column("download_stalls", ("download_window", "stalls")),
            Column("upload_p10_bps", ("upload_window", "p10_bps")),
            Column("upload_p90_bps", ("upload_window", "p90_bps")),
            Column("upload_stalls", ("upload_window", "stalls")),
        ),
    ),
    "web": KindInfo(
        title=N_("Whole page"),
        meaning=N_("Loads a web page with all its parts and measures time and data."),
        example='{kind: web, name: page, url: "https://sirekap-web.kpu.go.id/"}',
        label=N_("Whole page"),
        way=Way.PAGE,
        numbers=(Number("web_total_ms", ("total_ms",), LOWER, N_("PAGES LOAD SLOWLY"), 60),),
        lines=(
            TableLine(
                "web_total_ms",
                notes=(Note(N_("{n} of {total} parts"), {"n": "resources_fetched", "total": "resources_found"}),),
                incomplete=N_("incomplete"),  # never a good word beside a page that lacks parts, however fast it came
                absent=Absent(N_("answered"), good=True, instead="first_byte_ms"),
            ),
        ),
        summary=(Part(("total_ms", "page_ms")),),
        phases={"page": N_("page")},
        columns=("first_byte_ms", "page_ms", "page_bytes", "resources_found", "resources_fetched", "resources_failed"),
    ),
    "video": KindInfo(
        title=N_("Video"),
        meaning=N_("Plays a video in segments at several bit rates: start delay, stalls and the rate reached."),
        example='{kind: video, name: video, url: "https://centre.example/"}',
        label=N_("Video start"),
        way=Way.PAGE,
        numbers=(
            Number("video_start_ms", ("start_delay_ms",), LOWER, N_("VIDEO STARTS SLOWLY"), 80),
            Number("stall_ratio", ("stall_ratio",), LOWER, N_("VIDEO KEEPS STOPPING"), 70),
        ),
        lines=(
            TableLine(
                "video_start_ms",
                notes=(Note("{value}", {"value": "mean_bitrate_bps"}),),
                absent=Absent(N_("not played")),
            ),
            TableLine("stall_ratio", N_("Video stalls"), only_above_zero=True, with_code=False),
        ),
        summary=(
            Part(("start_delay_ms",)),
            Part(("stalls",), N_("{value} × stall")),
            Part(("mean_bitrate_bps",)),
        ),
        phases={"video": N_("video")},
        columns=("start_delay_ms", "stalls", "stalled_ms", "stall_ratio", "mean_bitrate_bps", "switches", "media_s"),
    ),
    "path": KindInfo(
        title=N_("Internet path"),
        meaning=N_("The network path from this device to the internet, hop by hop."),
        label=N_("Internet path"),
        named=False,  # every run has one
        way=Way.WALK,
    ),
}
"""One entry per kind of `sigprobe.measure.KINDS`, in the same order."""

_UNKNOWN: Final = KindInfo(title="")


def info(kind: str) -> KindInfo:
    """Return the entry of a kind; an empty one for a kind of a later version."""
    return KINDS.get(kind, _UNKNOWN)


def way(kind: str) -> Way:
    """Return the transport over which a kind proves anything."""
    return info(kind).way


def measures_rate(kind: str) -> bool:
    """Return whether a kind states the rate of the link, in bits per second."""
    return any(number.metric.endswith("_bps") for number in info(kind).numbers)


def first_number(data: Mapping[str, Any], keys: tuple[str, ...]) -> int | float | None:
    """Return the first of the keys that holds a number; None when none does."""
    return next((value for value in map(data.get, keys) if is_number(value)), None)


def is_number(value: object) -> TypeGuard[int | float]:
    """Return True for an int or a float; a bool is no number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def numbers() -> tuple[Number, ...]:
    """Return every number of every kind, each metric once."""
    return tuple({number.metric: number for kind in KINDS.values() for number in kind.numbers}.values())
