"""Bad files, each with the exact lines that it must get. `PATH` stands for the file's own path."""

from __future__ import annotations

TARGETS = "targets:\n  - {kind: ping, name: a, address: default-gateway}\n"
PROBE = 'probe: {tps_id: "3273011001005"}\n'
BASE = PROBE + TARGETS
"""A right file of three lines; what is wrong begins in line 4."""


def collectors(*items: str) -> str:
    return BASE + "upload:\n  collectors:\n" + "".join(f"    - {{{item}}}\n" for item in items)


def target(rest: str) -> str:
    return PROBE + f"targets:\n  - {{{rest}}}\n"


URL_EXAMPLE = 'For example: url: "https://collector.example/"'
TOP_KEYS = "language, probe, location, targets, verdict, buffer, upload, data_budget, schedule, profile"

BAD: dict[str, tuple[str | bytes, list[str]]] = {
    "empty": ("", ["PATH:1:1: the file is empty. Run: sigprobe init"]),
    "only a comment": ("# nothing\n", ["PATH:1:1: the file is empty. Run: sigprobe init"]),
    "a list": (
        "- a\n",
        ['PATH:1:1: the file must be a group of keys. For example: probe: {tps_id: "3273011001005"}'],
    ),
    "not utf-8": (
        BASE.encode() + b"# caf\xe9\n",
        ["PATH:4:6: the file is not UTF-8 text from here on; save it as UTF-8."],
    ),
    "utf-16-cut": (
        BASE.encode("utf-16")[:-1],
        ["PATH:1:1: the file is not UTF-8 text from here on; save it as UTF-8."],
    ),
    "too large": (b"#" * 1_000_001, ["PATH: the file is larger than 1 MB; it is not a settings file."]),
    "control character": (BASE + "profile: \x07\n", ["PATH:4:10: a character that is not allowed in a text file."]),
    "tab": ("probe:\n\ttps_id: x\n", ["PATH:2:1: a tab; indent with spaces."]),
    "colon": (
        "probe: site: x\n",
        [
            "PATH:1:12: a colon is not allowed here: check the indentation, or put the value in quotes.",
        ],
    ),
    "open bracket": (
        "targets: [\n",
        [
            "PATH:2:1: the YAML breaks off here: look for a missing bracket, quote or colon, or a wrong"
            " indentation, here or just before."
        ],
    ),
    "percent": (BASE + "profile: %x\n", ["PATH:4:10: a value cannot begin with %; put it in quotes."]),
    "two documents": (
        BASE + "---\na: 1\n",
        ["PATH:4:1: a second document begins here (---); a settings file has only one."],
    ),
    "asterisk": (
        BASE + "profile: *x\n",
        ["PATH:4:10: a value that begins with * is a reference; put it in quotes."],
    ),
    "tag": (
        BASE + "profile: !!python/object:os.system x\n",
        ["PATH:4:10: profile: the tag tag:yaml.org,2002:python/object:os.system is unknown here; remove it."],
    ),
    "too deep": (BASE + "x: " + "[" * 5000 + "\n", ["PATH:4:1: groups and lists are nested too deeply."]),
    "too many": (BASE + "x: [" + "1," * 30_000 + "]\n", ["PATH:4:1: the file has too many entries."]),
    "endless reference": (
        BASE + "profile: &a [*a]\n",
        [
            "PATH:4:10: profile[0]: references (& and *) that grow endlessly.",
            'PATH:4:10: profile: must be text, not [null]. For example: profile: "sirekap-need"',
        ],
    ),
    "duplicate key": (
        PROBE + TARGETS + 'probe: {site: "x"}\n',
        ["PATH:4:1: probe: this key was already given in line 1; keep only one of them."],
    ),
    "unknown key": (BASE + "profil: x\n", ["PATH:4:1: profil: unknown key. Did you mean profile?"]),
    "unknown key at the wrong place": (
        BASE + "every_min: 5\n",
        ["PATH:4:1: every_min: unknown key here. It belongs under schedule."],
    ),
    "unknown key like nothing": (
        BASE + "zzz: 5\n",
        [f"PATH:4:1: zzz: unknown key. Known here: {TOP_KEYS}."],
    ),
    "unknown key of a kind": (
        target("kind: ping, name: a, address: x, cuont: 5"),
        ["PATH:3:39: targets[0].cuont: unknown key. Did you mean count?"],
    ),
    "key that is no text": (
        BASE + "no: 1\n",
        ['PATH:4:1: no: a key must be text, and YAML reads no as something else. Put it in quotes: "no":'],
    ),
    "missing probe": (
        TARGETS,
        ['PATH:1:1: probe: is missing. For example: probe: {"tps_id": "3273011001005"}'],
    ),
    "missing targets": (
        PROBE,
        [
            "PATH:1:1: targets: is missing. For example: targets:"
            ' [{"kind": "ping", "name": "gateway", "address": "default-gateway"}]'
        ],
    ),
    "no targets": (
        PROBE + "targets: []\n",
        [
            "PATH:2:10: targets: needs at least 1 entries. For example: targets:"
            ' [{"kind": "ping", "name": "gateway", "address": "default-gateway"}]'
        ],
    ),
    "probe without a place": (
        "probe: {}\n" + TARGETS,
        ['PATH:1:8: probe: needs tps_id, or site where there is no TPS code. For example: tps_id: "3273011001005"'],
    ),
    "place left empty": (
        "probe:\n  tps_id:\n" + TARGETS,
        ['PATH:2:10: probe.tps_id: is empty; the probe needs tps_id or site. For example: tps_id: "3273011001005"'],
    ),
    "two places": (
        'probe: {tps_id: "3273011001005", site: x}\n' + TARGETS,
        ["PATH:1:40: probe.site: tps_id and site cannot be used together; keep one of them."],
    ),
    "tps as a number": (
        "probe:\n  tps_id: 3273011001005\n" + TARGETS,
        [
            "PATH:2:11: probe.tps_id: must be text, but YAML reads 3273011001005 as a number."
            ' Put it in quotes: tps_id: "3273011001005"'
        ],
    ),
    "tps too short": (
        'probe: {tps_id: "327301"}\n' + TARGETS,
        [
            'PATH:1:17: probe.tps_id: "327301" is not a TPS number: a TPS number has 13 digits.'
            ' For example: tps_id: "3273011001005"'
        ],
    ),
    "tps of no province": (
        'probe: {tps_id: "9973011001005"}\n' + TARGETS,
        [
            'PATH:1:17: probe.tps_id: "9973011001005" is not a TPS number: digits 1–2 are not a valid province code.'
            ' For example: tps_id: "3273011001005"'
        ],
    ),
    "octal": (
        "probe: {site: 0123}\n" + TARGETS,
        ['PATH:1:15: probe.site: must be text, but YAML reads 0123 as the number 83. Put it in quotes: site: "0123"'],
    ),
    "no": (
        "probe: {site: no}\n" + TARGETS,
        [
            "PATH:1:15: probe.site: must be text, but YAML reads no as a yes-or-no value (false)."
            ' Put it in quotes: site: "no"'
        ],
    ),
    "clock time": (
        "probe: {site: 12:30}\n" + TARGETS,
        [
            "PATH:1:15: probe.site: must be text, but YAML reads 12:30 as the number 750."
            ' Put it in quotes: site: "12:30"'
        ],
    ),
    "clock time as a number": (
        BASE + "schedule: {every_min: 1:15}\n",
        [
            "PATH:4:23: schedule.every_min: YAML reads 1:15 as the number 75."
            " If that is what you mean, write: every_min: 75"
        ],
    ),
    "number as text": (
        target('kind: ping, name: a, address: x, count: "10"'),
        ['PATH:3:46: targets[0].count: must be a whole number from 1 to 1000, not "10". For example: count: 10'],
    ),
    "out of bounds": (
        target("kind: ping, name: a, address: x, count: 1001"),
        ["PATH:3:46: targets[0].count: must be a whole number from 1 to 1000, not 1001. For example: count: 10"],
    ),
    "fraction": (
        BASE + "schedule: {every_min: 1.5}\n",
        ["PATH:4:23: schedule.every_min: must be a whole number from 1 to 1440, not 1.5. For example: every_min: 15"],
    ),
    "huge number": (
        BASE + "schedule: {every_min: 99999999999999999999}\n",
        ['PATH:4:23: schedule.every_min: "99999999999999999999" is too large a number.'],
    ),
    "not a number": (
        BASE + "location: {fixed: {lat: .nan, lon: 1}}\n",
        ['PATH:4:25: location.fixed.lat: ".nan" is not a finite number.'],
    ),
    "latitude": (
        BASE + "location: {fixed: {lat: 107.6, lon: -6.9}}\n",
        [
            "PATH:4:25: location.fixed.lat: must be a number from -90 to 90, not 107.6. "
            "Latitude and longitude of the position 107.6, -6.9 are swapped. Did you mean -6.9, 107.6?"
        ],
    ),
    "half a position": (
        BASE + "location:\n  fixed: {lat: -6.9}\n",
        ["PATH:5:3: location.fixed.lon: is missing. For example: lon: 107.60981"],
    ),
    "fixed without a position": (
        BASE + "location: {source: fixed}\n",
        [
            "PATH:4:20: location.source: fixed needs the key location.fixed too."
            " For example: fixed: {lat: -6.91474, lon: 107.60981}"
        ],
    ),
    "unknown source": (
        BASE + "location: {source: GPS}\n",
        [
            'PATH:4:20: location.source: must be one of: auto, gpsd, nmea, modem, fixed, none, not "GPS".'
            " Did you mean gpsd?"
        ],
    ),
    "gpsd without a port": (
        BASE + "location: {gpsd: localhost}\n",
        ['PATH:4:18: location.gpsd: "localhost" is not of the form host:port. For example: gpsd: "127.0.0.1:2947"'],
    ),
    "nmea": (
        BASE + "location: {nmea: COM3}\n",
        [
            'PATH:4:18: location.nmea: "COM3" is neither a device file nor tcp://host:port nor udp://:port.'
            ' For example: nmea: "/dev/ttyUSB0"'
        ],
    ),
    "unknown kind": (
        target("kind: png, name: a"),
        [
            "PATH:3:12: targets[0].kind: must be one of: ping, dns, http, throughput, web, video, "
            'not "png". Did you mean ping?'
        ],
    ),
    "no kind": (
        target("name: a"),
        [
            "PATH:3:5: targets[0].kind: is missing; it must be one of: ping, dns, http, throughput, web, video."
            " For example: kind: ping"
        ],
    ),
    "a target that is none": (
        PROBE + "targets:\n  - gateway\n",
        ['PATH:3:5: targets[0]: must be a group of keys, not "gateway".'],
    ),
    "targets as a group": (
        PROBE + "targets: {kind: ping}\n",
        [
            'PATH:2:10: targets: must be a list, not {"kind": "ping"}. For example: targets:'
            ' [{"kind": "ping", "name": "gateway", "address": "default-gateway"}]'
        ],
    ),
    "two of one name": (
        BASE + "  - {kind: ping, name: a, address: x}\n",
        ['PATH:4:24: targets[1].name: "a" is already the name of targets[0]; each target needs its own.'],
    ),
    "a name of ours": (
        target("kind: ping, name: run, address: x"),
        ['PATH:3:24: targets[0].name: "run" is a name that sigprobe uses itself; choose another one.'],
    ),
    "a name with a space": (
        target("kind: ping, name: a b, address: x"),
        [
            'PATH:3:24: targets[0].name: "a b" can contain only letters, digits, dots, hyphens and underscores,'
            " and must begin with a letter or digit."
        ],
    ),
    "reference by name": (
        BASE + "verdict: {references: [example.org]}\n",
        ['PATH:4:24: verdict.references[0]: "example.org" is not an IP address.'],
    ),
    "plain http": (
        collectors("url: http://collector.example/"),
        [
            "PATH:6:13: upload.collectors[0].url: http is not safe beyond this device; use https."
            ' For example: url: "https://collector.example/"'
        ],
    ),
    "secret in the address": (
        collectors("url: https://me:secret@collector.example/"),
        [
            "PATH:6:13: upload.collectors[0].url: a web address cannot contain a user name or password;"
            f" put a token into token_file. {URL_EXAMPLE}"
        ],
    ),
    "no address": (
        collectors("url: collector.example"),
        [
            'PATH:6:13: upload.collectors[0].url: "collector.example" is not a web address.'
            ' Did you mean "https://collector.example"?'
        ],
    ),
    "address of this device without http": (
        collectors("url: 127.0.0.1:8470/"),
        [
            'PATH:6:13: upload.collectors[0].url: "127.0.0.1:8470/" is not a web address.'
            ' Did you mean "http://127.0.0.1:8470/"?'
        ],
    ),
    "no address at all": (
        collectors("url: pusat"),
        [f'PATH:6:13: upload.collectors[0].url: "pusat" is not a web address. {URL_EXAMPLE}'],
    ),
    "tps as a number with a digit too many": (
        "probe:\n  tps_id: 32730110010055\n" + TARGETS,
        [
            'PATH:2:11: probe.tps_id: "32730110010055" is not a TPS number: a TPS number has 13 digits.'
            ' Did you mean 3273011001055 (Kota Bandung)? For example: tps_id: "3273011001005"'
        ],
    ),
    "a path as a number": (
        BASE + "buffer: {path: 7}\n",
        [
            'PATH:4:16: buffer.path: "7" is not an absolute path; begin with /, because timers start in'
            ' another directory. For example: path: "/var/lib/sigprobe/buffer.db"'
        ],
    ),
    "a long number": (
        target(f"kind: ping, name: a, address: x, count: {'7' * 15}"),
        [f"PATH:3:46: targets[0].count: must be a whole number from 1 to 1000, not {'7' * 15}. For example: count: 10"],
    ),
    "a number of 104 digits": (
        target(f"kind: ping, name: a, address: x, count: {'7' * 104}"),
        [f'PATH:3:46: targets[0].count: "{"7" * 58}… is too large a number.'],
    ),
    "secret as a path": (
        collectors("url: https://collector.example/, token_file: sigprobe-probe-0123456789abcdef"),
        [
            "PATH:6:53: upload.collectors[0].token_file: this is the secret itself, not the path of a file. Save it in"
            " a file that only you can read (chmod 600), and write the path of that file here."
            ' For example: token_file: "/etc/sigprobe/token"'
        ],
    ),
    "target without a scheme": (
        target("kind: http, name: a, url: kpu.go.id"),
        [
            'PATH:3:32: targets[0].url: "kpu.go.id" is not a web address: it must start with http:// or https://.'
            ' Did you mean "https://kpu.go.id"?'
        ],
    ),
    "target with a space": (
        target('kind: web, name: a, url: "https://kpu.go.id/a b"'),
        [
            'PATH:3:31: targets[0].url: "https://kpu.go.id/a b" is not a web address:'
            " it has spaces, control characters or backslashes."
        ],
    ),
    "target with a password": (
        target('kind: web, name: a, url: "https://me:secret@kpu.go.id/"'),
        ["PATH:3:31: targets[0].url: a web address of a target cannot contain a user name or password."],
    ),
    "target with a port too high": (
        target('kind: video, name: a, url: "https://kpu.go.id:99999/"'),
        [
            'PATH:3:33: targets[0].url: "https://kpu.go.id:99999/" is not a web address:'
            " it needs a host name, and a port from 1 to 65535 if any."
        ],
    ),
    "target with a host that is none": (
        target('kind: http, name: a, url: "https://a..b/"'),
        [
            'PATH:3:32: targets[0].url: "https://a..b/" is not a host name: it takes letters, digits, hyphens and'
            " underscores between dots, at most 63 characters each and 253 in all."
        ],
    ),
    "HEAD with a text": (
        target("kind: http, name: a, url: https://x.example/, method: HEAD, expect_text: x"),
        ["PATH:3:5: targets[0]: expect_text needs method: GET, because an answer to HEAD has no body."],
    ),
    "a speed test without a server": (
        target("kind: throughput, name: a, url: pusat"),
        ["PATH:3:5: targets[0]: url must start with http:// or https:// for engine: http."],
    ),
    "a speed test with a port too high": (
        target('kind: throughput, name: a, url: "http://x:99999/"'),
        ["PATH:3:5: targets[0]: url must start with http:// or https:// for engine: http."],
    ),
    "iperf3 with a path": (
        target('kind: throughput, name: a, engine: iperf3, url: "x/y"'),
        ["PATH:3:5: targets[0]: url must be host:port for engine: iperf3, for example url: iperf3.example:5201"],
    ),
    "a DNS server by name": (
        target("kind: dns, name: a, hostname: kpu.go.id, resolvers: [dns.example]"),
        [
            'PATH:3:58: targets[0].resolvers: "dns.example" is not a DNS server: give system, an IP address with or'
            ' without a port, tls://1.1.1.1 or https://… For example: resolvers: ["system"]'
        ],
    ),
    "a DNS server with a bracket": (
        target('kind: dns, name: a, hostname: kpu.go.id, resolvers: ["[::1"]'),
        [
            'PATH:3:58: targets[0].resolvers: "[::1" is not a DNS server: give system, an IP address with or'
            ' without a port, tls://1.1.1.1 or https://… For example: resolvers: ["system"]'
        ],
    ),
    "a DNS server with a port too high": (
        target('kind: dns, name: a, hostname: kpu.go.id, resolvers: ["1.1.1.1:99999"]'),
        [
            'PATH:3:58: targets[0].resolvers: the port in "1.1.1.1:99999" must be a number from 1 to 65535.'
            ' For example: resolvers: ["system"]'
        ],
    ),
    "a DNS server twice": (
        target('kind: dns, name: a, hostname: kpu.go.id, resolvers: ["1.1.1.1", "1.1.1.1:53"]'),
        ['PATH:3:58: targets[0].resolvers: "1.1.1.1:53" is given twice. For example: resolvers: ["system"]'],
    ),
    "a DNS server over HTTPS with a space": (
        target('kind: dns, name: a, hostname: kpu.go.id, resolvers: ["https://x.example/a b"]'),
        [
            'PATH:3:58: targets[0].resolvers: "https://x.example/a b" is not a web address:'
            ' it has spaces, control characters or backslashes. For example: resolvers: ["system"]'
        ],
    ),
    "a DNS server over TLS with a name that is none": (
        target('kind: dns, name: a, hostname: kpu.go.id, resolvers: ["tls://1.1.1.1#a..b"]'),
        [
            'PATH:3:58: targets[0].resolvers: "a..b" is not a host name: it takes letters, digits, hyphens and'
            " underscores between dots, at most 63 characters each and 253 in all."
            ' For example: resolvers: ["system"]'
        ],
    ),
    "an address to look up": (
        target("kind: dns, name: a, hostname: 1.1.1.1"),
        ['PATH:3:5: targets[0]: hostname "1.1.1.1" is an IP address, which needs type: PTR.'],
    ),
    "a name that is none to look up": (
        target('kind: dns, name: a, hostname: "a b"'),
        [
            'PATH:3:5: targets[0]: "a b" is not a host name: it takes letters, digits, hyphens and'
            " underscores between dots, at most 63 characters each and 253 in all."
        ],
    ),
    "address with a query": (
        collectors('url: "https://collector.example/?a=1"'),
        [f"PATH:6:13: upload.collectors[0].url: a collector's address cannot contain ? or #. {URL_EXAMPLE}"],
    ),
    "one collector twice": (
        collectors("url: https://collector.example/", "url: https://Collector.example:443"),
        ["PATH:7:13: upload.collectors[1].url: this is the same collector as upload.collectors[0]; name it once."],
    ),
    "unchecked time without a ca": (
        collectors("url: https://collector.example/, allow_unchecked_time: true"),
        ["PATH:6:63: upload.collectors[0].allow_unchecked_time: is allowed only together with ca_file."],
    ),
    "relative path": (
        BASE + "buffer: {path: queue.db}\n",
        [
            'PATH:4:16: buffer.path: "queue.db" is not an absolute path; begin with /, because timers start in'
            ' another directory. For example: path: "/var/lib/sigprobe/buffer.db"'
        ],
    ),
    "interface": (
        BASE + 'data_budget: {interfaces: {"a/b": {}}}\n',
        [
            "PATH:4:35: data_budget.interfaces.a/b: {} is not the name of a network interface"
            " (1 to 15 characters, no space and no /)."
        ],
    ),
    "negative budget": (
        BASE + "data_budget: {per_day_mb: -1}\n",
        [
            "PATH:4:27: data_budget.per_day_mb: must be a whole number from 0 to 10000000, or null, not -1."
            " For example: per_day_mb: 400"
        ],
    ),
    "empty group": (BASE + "location:\n", ["PATH:4:10: location: is empty; it must be a group of keys."]),
    "word for yes or no": (
        collectors("url: https://collector.example/, ca_file: /c.pem, allow_unchecked_time: ya"),
        [
            'PATH:6:80: upload.collectors[0].allow_unchecked_time: must be true or false, not "ya".'
            " For example: allow_unchecked_time: false"
        ],
    ),
    "all at once": (
        "language: fr\nprobe: {tps_id: 1}\ntargets:\n  - {kind: ping, name: a, address: x, count: 0}\n"
        "  - {kind: dns, name: a}\nbufer: {}\n",
        [
            'PATH:1:11: language: must be one of: id, en, or null, not "fr". For example: language: "id"',
            'PATH:2:17: probe.tps_id: "1" is not a TPS number: a TPS number has 13 digits.'
            ' For example: tps_id: "3273011001005"',
            "PATH:4:46: targets[0].count: must be a whole number from 1 to 1000, not 0. For example: count: 10",
            "PATH:5:5: targets[1].hostname: is missing.",
            'PATH:5:23: targets[1].name: "a" is already the name of targets[0]; each target needs its own.',
            "PATH:6:1: bufer: unknown key. Did you mean buffer?",
        ],
    ),
}
