"""List the commands: a one-sentence summary, examples for the help, and the module of each.

Nothing is imported until a verb is called; help, the README's table and the tests all go by this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sigprobe.words.i18n import N_


@dataclass(frozen=True, slots=True)
class Verb:
    """One command: the place of its function or Typer app, its summary, and its examples."""

    module: str
    attribute: str
    summary: str
    examples: tuple[str, ...] = ()


VERBS: Final[dict[str, Verb]] = {
    "init": Verb(
        "sigprobe.commands.init",
        "init",
        N_("Create the settings file (asks a few questions; every answer also has a flag)."),
        ("sigprobe init", "sigprobe init --no-input --tps 3273011001005 --collector https://c.example/"),
    ),
    "test": Verb(
        "sigprobe.commands.test",
        "test",
        N_("Test the connection, store the results, and upload them as soon as there is a connection."),
        ("sigprobe test", "sigprobe test --only ping --no-upload", "sigprobe test --json > result.json"),
    ),
    "upload": Verb(
        "sigprobe.commands.upload",
        "upload",
        N_("Send the results that are still waiting."),
        ("sigprobe upload", "sigprobe upload --wait", "sigprobe upload --again"),
    ),
    "drive": Verb(
        "sigprobe.commands.drive",
        "drive",
        N_("Run repeated tests while travelling and save an offline map of the route."),
        ("sigprobe drive --for 30m", "sigprobe drive --metres 200 --max-data 20MB --out drives/bandung"),
    ),
    "agent": Verb(
        "sigprobe.commands.agent",
        "agent",
        N_("Run tests on a schedule and upload whenever there is a connection, until stopped."),
        ("sigprobe agent", "sigprobe schedule install --agent"),
    ),
    "schedule": Verb(
        "sigprobe.commands.schedule",
        "app",
        N_("Run tests automatically: install, show or remove a timer, a cron line or the agent."),
        ("sigprobe schedule install --dry-run", "sigprobe schedule install", "sigprobe schedule show"),
    ),
    "status": Verb(
        "sigprobe.commands.status",
        "status",
        N_("Show the queue, the last upload, and what to do next."),
        ("sigprobe status", "sigprobe status --json", "sigprobe status --coverage --list tps.csv"),
    ),
    "results": Verb(
        "sigprobe.commands.results",
        "results",
        N_("Show the results stored on this device."),
        ("sigprobe results", "sigprobe results --csv > results.csv", "sigprobe results --state rejected --json"),
    ),
    "export": Verb(
        "sigprobe.commands.export",
        "export",
        N_("Write pending results to a file, to carry them to another device."),
        (
            "sigprobe export /media/stick/results.ndjson.gz",
            "sigprobe export --receipts /media/stick/receipts.ndjson.gz",
        ),
    ),
    "import": Verb(
        "sigprobe.commands.import_",
        "import_",
        N_("Import results from another device, or receipts for this device's results."),
        ("sigprobe import /media/stick/results.ndjson.gz",),
    ),
    "nearest": Verb(
        "sigprobe.commands.nearest",
        "nearest",
        N_("Show the nearest known points with a signal; needs no network."),
        ("sigprobe nearest", "sigprobe nearest --import bts.csv"),
    ),
    "share": Verb(
        "sigprobe.commands.share",
        "share",
        N_("Write a short WhatsApp message about the last test."),
        ("sigprobe share",),
    ),
    "report": Verb(
        "sigprobe.commands.report",
        "report",
        N_("Write the last test into one file for a ticket; it opens without a network."),
        ("sigprobe report --last", "sigprobe report --last --out fault.html"),
    ),
    "ready": Verb(
        "sigprobe.commands.ready",
        "ready",
        N_("Estimate whether photos can be uploaded from here in time."),
        ("sigprobe ready", "sigprobe ready --photos 6 --mb 2 --minutes 15"),
    ),
    "config": Verb(
        "sigprobe.commands.config",
        "app",
        N_("Check and show the settings."),
        ("sigprobe config check", "sigprobe config show --origin"),
    ),
    "doctor": Verb(
        "sigprobe.commands.doctor",
        "doctor",
        N_("Check this device; each problem comes with a command that fixes it."),
        ("sigprobe doctor",),
    ),
    "explain": Verb(
        "sigprobe.commands.explain",
        "explain",
        N_("Explain a code such as SP-NET-01, or a kind of check such as ping."),
        ("sigprobe explain SP-NET-01", "sigprobe explain ping"),
    ),
    "collector": Verb(
        "sigprobe.commands.collector",
        "app",
        N_("Run the collector that receives results, and manage its tokens."),
        ("sigprobe collector token create --admin centre", "sigprobe collector serve"),
    ),
}


@dataclass(frozen=True, slots=True)
class Inner:
    """A command below a verb: what it does, and examples that are shown first."""

    summary: str
    examples: tuple[str, ...]


INNER: Final[dict[str, Inner]] = {
    "config check": Inner(
        N_("Check the settings file and name every mistake with its line."),
        ("sigprobe config check", "sigprobe config check --config ./config.yaml"),
    ),
    "config show": Inner(
        N_("Show the settings in use, defaults included."),
        ("sigprobe config show", "sigprobe config show --origin"),
    ),
    "config schema": Inner(
        N_("Print the JSON Schema of the settings file or of a result."),
        ("sigprobe config schema config", "sigprobe config schema result"),
    ),
    "schedule install": Inner(
        N_("Install the timer, the crontab line or the agent and remove the others; repeating it changes nothing."),
        ("sigprobe schedule install --dry-run", "sigprobe schedule install", "sigprobe schedule install --agent"),
    ),
    "schedule show": Inner(
        N_("Show what is installed, and what would be installed."),
        ("sigprobe schedule show",),
    ),
    "schedule remove": Inner(
        N_("Remove only what install wrote."),
        ("sigprobe schedule remove --dry-run", "sigprobe schedule remove"),
    ),
    "collector serve": Inner(
        N_("Run the server until it is stopped (Ctrl-C)."),
        (
            "sigprobe collector serve",
            "sigprobe collector serve --host 0.0.0.0 --tls-cert chain.pem --tls-key key.pem",
        ),
    ),
    "collector backup": Inner(
        N_("Copy the database while the collector runs, and verify the copy."),
        (
            "sigprobe collector backup /srv/backup/collector-20290214.db",
            "sigprobe collector backup /srv/backup/base-20290214 --database postgresql://sigprobe@db1/sigprobe",
        ),
    ),
    "collector restore": Inner(
        N_("Make a new database from a backup; an existing one is never replaced."),
        (
            "sigprobe collector restore /srv/backup/collector-20290214.db --database sqlite:////srv/collector.db",
            "sigprobe collector restore /srv/backup/base-20290214 --into /srv/pg --database postgresql://sigprobe@/sigprobe",
            "sigprobe collector restore /srv/base --into /srv/pg --wal /srv/wal --until 2029-02-14T07:05:00+07:00",
        ),
    ),
    "collector merge": Inner(
        N_("Take over results and tokens of another collector that this one lacks."),
        (
            "sigprobe collector merge /media/usb/collector.db",
            "sigprobe collector merge postgresql://sigprobe@site1/sigprobe",
        ),
    ),
    "collector check": Inner(
        N_("Count the sums anew from the stored results, and report each difference."),
        ("sigprobe collector check", "sigprobe collector check --sample 100 --json"),
    ),
    "collector erase": Inner(
        N_("Erase all results of one device, and take them out of the sums."),
        ("sigprobe collector erase 0190a5c0-0000-4000-8000-0000000000bb",),
    ),
    "collector migrate": Inner(
        N_("Bring the database to the present version, and go through what is stored."),
        ("sigprobe collector migrate --dry-run", "sigprobe collector migrate"),
    ),
    "collector retention": Inner(
        N_("Show or set how long five-minute sums are kept."),
        ("sigprobe collector retention", "sigprobe collector retention --five-minutes 14 --dry-run"),
    ),
    "collector site": Inner(
        N_("Let a second site take over."),
        ("sigprobe collector site promote --database postgresql://sigprobe@127.0.0.1/sigprobe",),
    ),
    "collector site promote": Inner(
        N_("Promote the standby of this site, so that it takes writes."),
        ("sigprobe collector site promote --database postgresql://sigprobe@127.0.0.1/sigprobe",),
    ),
    "collector database": Inner(
        N_("Change how the database is laid out."),
        ("sigprobe collector database distribute --database postgresql://sigprobe@coordinator/sigprobe",),
    ),
    "collector database distribute": Inner(
        N_("Spread the large tables over several machines with Citus."),
        ("sigprobe collector database distribute --database postgresql://sigprobe@coordinator/sigprobe",),
    ),
    "collector database compact": Inner(
        N_("Compress stored results, and those to come (PostgreSQL)."),
        ("sigprobe collector database compact --database postgresql://sigprobe@127.0.0.1/sigprobe",),
    ),
    "collector maintenance": Inner(
        N_("Announce maintenance, so that incidents within it alert nobody."),
        ("sigprobe collector maintenance list",),
    ),
    "collector maintenance add": Inner(
        N_("Announce maintenance: incidents within it are found and shown, but alert nobody."),
        ("sigprobe collector maintenance add --to 2029-02-15T02Z --reason antenna",),
    ),
    "collector maintenance list": Inner(
        N_("List maintenance that has not ended yet."),
        ("sigprobe collector maintenance list --json",),
    ),
    "collector maintenance end": Inner(
        N_("End maintenance early: incidents that begin later alert again."),
        ("sigprobe collector maintenance end 6f1c2c57-6c3c-4d0a-9b57-51f1b0d6a7c1",),
    ),
    "collector work": Inner(
        N_("Do the background work: order for readers, sums, corrections, incidents, partitions."),
        ("sigprobe collector work --database postgresql://sigprobe@db1/sigprobe",),
    ),
    "collector import": Inner(
        N_("Import results that were carried here in a file."),
        ("sigprobe collector import results.ndjson.gz",),
    ),
    "collector token": Inner(
        N_("Create, list and revoke the tokens of probes and administrators."),
        ("sigprobe collector token create --probe laptop-1", "sigprobe collector token list"),
    ),
    "collector token create": Inner(
        N_("Create a token; it is shown once, on the last line."),
        (
            "sigprobe collector token create --probe laptop-1",
            "sigprobe collector token create --admin centre",
        ),
    ),
    "collector token list": Inner(
        N_("List all tokens, without their secrets."),
        ("sigprobe collector token list",),
    ),
    "collector token revoke": Inner(
        N_("Revoke a token; a running server refuses it within 20 seconds."),
        ("sigprobe collector token revoke laptop-1",),
    ),
}
