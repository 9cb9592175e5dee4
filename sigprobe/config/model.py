"""What may stand in the configuration file: every key with its bounds, its default and its meaning.

Attribute names are the YAML keys. The reader in `sigprobe.config` is the way to make a `Config`; it also holds the
rules that span several keys (`sigprobe.config.cross_checks`), so that all mistakes are reported at once.
"""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Union
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from sigprobe.files.tokens import is_secret_for_path
from sigprobe.measure import KINDS
from sigprobe.record.addresses import is_loopback

if TYPE_CHECKING:
    from sigprobe.measure.kind import CommonOptions

    TargetOptions = CommonOptions
else:
    # all kinds of the registry, selected by `kind`: a new kind needs no line here
    TargetOptions = Annotated[
        Union[tuple(kind.options for kind in KINDS.values() if kind.configurable)],  # noqa: UP007 - the members are not known before
        Field(discriminator="kind"),
    ]

MAX_TARGETS: Final = 64
RESERVED_NAMES: Final = ("run", "path")
"""Names of records that sigprobe itself adds to a run; no target may take them."""

_HOST_PORT: Final = re.compile(r"^(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]*):(?P<port>[0-9]{1,5})$")


def _refuse(reason: str, **context: Any) -> PydanticCustomError:
    """Return an error whose sentence is in `sigprobe.config.problems`, under `reason`."""
    return PydanticCustomError(reason, reason, context or None)


def _tps(text: str) -> str:
    from sigprobe.tag.tps import TpsError, parse_tps

    try:
        return parse_tps(text)
    except TpsError as error:
        raise _refuse(f"tps_{error.reason}") from None


def _file_path(text: str) -> str:
    """Return an absolute path. A secret pasted in place of one is refused before anything can print it."""
    if is_secret_for_path(text):
        raise _refuse("secret_as_path")
    path = os.path.expanduser(text)  # noqa: PTH111 - Path("") would become "."
    if "\0" in path or not Path(path).is_absolute():
        raise _refuse("relative_path")
    return path


def _web_address(text: str) -> tuple[str, str]:
    """Scheme and host of an http(s) URL; refuses what no request could use, and secrets inside it."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise _refuse("url") from None
    if parts.scheme not in ("http", "https") or not host or port == 0:
        raise _refuse("url")
    if re.search(r"[\s\x00-\x1f\x7f\\]", text):
        raise _refuse("url")
    if parts.username is not None or parts.password is not None:
        raise _refuse("url_userinfo")
    return parts.scheme, host


def with_scheme(text: str) -> str | None:
    """Return an address with the scheme that it lacks: http on this device, https elsewhere; None where it has one."""
    if "://" in text:
        return None
    try:
        scheme, host = _web_address(f"http://{text}")
    except PydanticCustomError:
        return None
    return f"{scheme}{'' if is_loopback(host) else 's'}://{text}" if "." in host or is_loopback(host) else None


def _collector_url(text: str) -> str:
    scheme, host = _web_address(text)
    if "?" in text or "#" in text:
        raise _refuse("url_query")
    if scheme == "http" and not is_loopback(host):
        raise _refuse("url_plain_http", https="https" + text[4:])
    return text


def _proxy_url(text: str) -> str:
    _web_address(text)
    return text


def _host_port(text: str) -> str:
    found = _HOST_PORT.match(text)
    if not found or not found["host"] or not 1 <= int(found["port"]) <= 65535:
        raise _refuse("host_port")
    return text


def _nmea(text: str) -> str:
    scheme, separator, rest = text.partition("://")
    if not separator:
        if not Path(text).is_absolute():
            raise _refuse("nmea")
        return text
    found = _HOST_PORT.match(rest)
    named = found is not None and 1 <= int(found["port"]) <= 65535 and (found["host"] or scheme == "udp")
    if scheme not in ("tcp", "udp") or not named:
        raise _refuse("nmea")
    return text


def _address(text: str) -> str:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise _refuse("ip_address") from None
    return text


Label = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\s\x00-\x1f](.*[^\s\x00-\x1f])?$")]
TpsId = Annotated[str, AfterValidator(_tps)]
FilePath = Annotated[str, StringConstraints(min_length=1, max_length=4096), AfterValidator(_file_path)]
CollectorUrl = Annotated[str, StringConstraints(max_length=2048), AfterValidator(_collector_url)]
ProxyUrl = Annotated[str, StringConstraints(max_length=2048), AfterValidator(_proxy_url)]
InterfaceName = Annotated[str, StringConstraints(pattern=r"^[^\s/]{1,15}$")]
Megabytes = Annotated[int, Field(ge=0, le=10_000_000)]


class Section(BaseModel):
    """A group of keys: unknown ones are errors, values keep the type they were written with."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)


class Probe(Section):
    """Where the device stands: exactly one of `tps_id` and `site`."""

    tps_id: TpsId | None = Field(
        default=None, description="The polling station: 13 digits, in quotes.", examples=["3273011001005"]
    )
    site: Label | None = Field(
        default=None, description="A free name instead of a TPS code.", examples=["kpu-kota-bandung"]
    )
    election_id: Label | None = Field(
        default=None, description="The election; TPS codes change from one to the next.", examples=["pemilu-2029"]
    )
    operator: Annotated[str, StringConstraints(max_length=64)] = Field(
        default="",
        description="PLMN or name of the mobile operator, only where no modem can tell.",
        examples=["51010"],
    )


class Fixed(Section):
    """A position that does not move, in degrees WGS 84."""

    lat: Annotated[float, Field(ge=-90, le=90)] = Field(description="Latitude.", examples=[-6.91474])
    lon: Annotated[float, Field(ge=-180, le=180)] = Field(description="Longitude.", examples=[107.60981])


class Location(Section):
    """Where the position comes from."""

    source: Literal["auto", "gpsd", "nmea", "modem", "fixed", "none"] = Field(
        default="auto", description="`auto` takes what is there.", examples=["auto"]
    )
    gpsd: Annotated[str, AfterValidator(_host_port)] = Field(
        default="127.0.0.1:2947", description="host:port of gpsd.", examples=["127.0.0.1:2947"]
    )
    nmea: Annotated[str, AfterValidator(_nmea)] | None = Field(
        default=None,
        description="A device file, tcp://host:port or udp://:port that sends NMEA sentences.",
        examples=["/dev/ttyUSB0"],
    )
    fixed: Fixed | None = Field(
        default=None,
        description="The position when the device does not move.",
        examples=[{"lat": -6.91474, "lon": 107.60981}],
    )
    timeout_ms: Annotated[int, Field(ge=0, le=600_000)] = Field(
        default=30_000, description="How long the end of a run waits for a position.", examples=[30_000]
    )


class Verdict(Section):
    """What the verdict may lean on."""

    references: Annotated[tuple[Annotated[str, AfterValidator(_address)], ...], Field(max_length=16)] = Field(
        default=(),
        description="IP addresses that prove a way beyond the operator when they answer.",
        examples=[["1.1.1.1", "9.9.9.9"]],
    )


class Buffer(Section):
    """The queue on disk."""

    path: FilePath | None = Field(
        default=None,
        description="A file; null: buffer.db in the user's data directory, or in /var/lib/sigprobe, where that"
        " exists, with /etc/sigprobe/config.yaml.",
        examples=["/var/lib/sigprobe/buffer.db"],
    )
    max_mb: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=256, description="The most it may take on disk; then results are refused, loudly.", examples=[256]
    )


class Collector(Section):
    """A server that takes results."""

    url: CollectorUrl = Field(
        description="https, or http to this device only.", examples=["https://collector.example/"]
    )
    token_file: FilePath | None = Field(
        default=None,
        description="The file that holds the token; null: SIGPROBE_TOKEN or the service manager's credential.",
        examples=["/etc/sigprobe/token"],
    )
    ca_file: FilePath | None = Field(
        default=None, description="The collector's own CA, as PEM.", examples=["/etc/sigprobe/ca.pem"]
    )
    allow_unchecked_time: bool = Field(
        default=False,
        description="With ca_file only: send even where this device's date makes its certificate look out of time.",
        examples=[False],
    )


class Upload(Section):
    """Where results go."""

    collectors: Annotated[tuple[Collector, ...], Field(max_length=16)] = Field(
        default=(),
        description="In order: the next one is tried when one does not answer.",
        examples=[[{"url": "https://collector.example/", "token_file": "/etc/sigprobe/token"}]],
    )
    proxy: ProxyUrl | None = Field(
        default=None,
        description="Proxy for uploads; the environment's proxy settings are not used.",
        examples=["http://proxy.example:3128"],
    )


class InterfaceBudget(Section):
    """Limits of one interface; null: the common limit alone holds."""

    per_run_mb: Megabytes | None = Field(default=None, description="Megabytes a run.", examples=[20])
    per_day_mb: Megabytes | None = Field(default=None, description="Megabytes a day.", examples=[200])
    per_month_mb: Megabytes | None = Field(default=None, description="Megabytes a month.", examples=[2000])


class Budget(Section):
    """How much data checks may use, both directions; null: no limit, 0: none at all."""

    per_run_mb: Megabytes | None = Field(default=40, description="Megabytes a run.", examples=[40])
    per_day_mb: Megabytes | None = Field(default=400, description="Megabytes a day.", examples=[400])
    per_month_mb: Megabytes | None = Field(default=4000, description="Megabytes a month.", examples=[4000])
    interfaces: dict[InterfaceName, InterfaceBudget] = Field(
        default={},
        description="Tighter limits for single interfaces.",
        examples=[{"wwan0": {"per_day_mb": 200}}],
    )


class Schedule(Section):
    """When the agent and the timers measure."""

    every_min: Annotated[int, Field(ge=1, le=1440)] = Field(
        default=15, description="Minutes from one run to the next.", examples=[15]
    )


class Config(Section):
    """The whole file."""

    language: Literal["id", "en"] | None = Field(
        default=None, description="Language on the screen; null: the device's own.", examples=["id"]
    )
    probe: Probe = Field(description="Where the device stands.", examples=[{"tps_id": "3273011001005"}])
    location: Location = Field(default_factory=Location, description="Where the position comes from.")
    targets: Annotated[tuple[TargetOptions, ...], Field(min_length=1, max_length=MAX_TARGETS)] = Field(
        description="What to measure, in this order.",
        examples=[[{"kind": "ping", "name": "gateway", "address": "default-gateway"}]],
    )
    verdict: Verdict = Field(default_factory=Verdict, description="What the verdict may lean on.")
    buffer: Buffer = Field(default_factory=Buffer, description="The queue on disk.")
    upload: Upload = Field(default_factory=Upload, description="Where results go.")
    data_budget: Budget = Field(default_factory=Budget, description="How much data checks may use.")
    schedule: Schedule = Field(default_factory=Schedule, description="When to measure by itself.")
    profile: Annotated[str, StringConstraints(max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = Field(
        default="sirekap-need", description="The named, dated file of thresholds.", examples=["sirekap-need"]
    )

    def checks(self) -> tuple[CommonOptions, ...]:
        """Everything one test does, in its order: the targets, then the walk outwards that needs no entry."""
        from sigprobe.measure.path import kind as path

        collectors = [collector.url for collector in self.upload.collectors]
        return (*self.targets, path.options_for(self.targets, self.verdict.references, collectors))
