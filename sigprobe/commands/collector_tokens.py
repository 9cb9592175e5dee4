"""`sigprobe collector token`: create, list and revoke the tokens of probes and administrators."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from sigprobe.commands.support import cli_values, options
from sigprobe.commands.support.collector_database import DatabaseOption, using_database
from sigprobe.commands.support.command_result import CommandError, CommandResult, Json, Message, Output, Screen
from sigprobe.commands.support.typer_shell import Command
from sigprobe.words.i18n import N_, _

if TYPE_CHECKING:
    from sigprobe.collector.access.queries import Token

app = typer.Typer(
    help=N_("Create, list and revoke the tokens of probes and administrators."),
    no_args_is_help=True,
    rich_markup_mode=None,
)


@dataclass(frozen=True, slots=True)
class NewToken(CommandResult):
    """A new token; this is the only time it is printed."""

    secret: str
    always = True

    def messages(self, output: Output, screen: Screen) -> Iterable[Message]:
        """Yield the warning that it is shown once."""
        yield Message(_("Keep this token now: it cannot be shown again."))

    def text(self, screen: Screen) -> str:
        """Return the token alone."""
        return self.secret


@dataclass(frozen=True, slots=True)
class Tokens(CommandResult):
    """All tokens without their secrets, as a table with a head."""

    tokens: Sequence[Token]

    def messages(self, output: Output, screen: Screen) -> Iterable[Message]:
        """Yield the next command if there is no token."""
        if not self.tokens and output.for_people:
            yield Message(_("There is no token yet. Create one: sigprobe collector token create --probe NAME"))

    def text(self, screen: Screen) -> str:
        """Return one line a token; on a narrow screen one block of lines."""
        from sigprobe.render.words import columns, pad
        from sigprobe.words.i18n import clock_text

        if not self.tokens:
            return ""
        rows = [(_("NAME"), _("ROLE"), _("CREATED"), _("LAST USED"), _("STATE"))]
        for token in self.tokens:
            used = _("never") if token.last_used_at is None else clock_text(token.last_used_at)
            state = _("in use") if token.revoked_at is None else _("revoked")
            rows.append((token.name, token.role, clock_text(token.created_at), used, state))
        if screen.plain:
            return "\n".join(
                ", ".join(f"{name}: {text}" for name, text in zip(rows[0], row, strict=True)) for row in rows[1:]
            )
        widths = [max(columns(row[column]) for row in rows) for column in range(len(rows[0]))]
        if sum(widths) + 2 * (len(widths) - 1) > screen.width:
            side = max(columns(name) for name in rows[0])
            named = (
                [f"{pad(name, side)}  {text}" for name, text in zip(rows[0], row, strict=True)] for row in rows[1:]
            )
            return "\n\n".join("\n".join(block) for block in named)
        lines = ("  ".join(pad(text, width) for text, width in zip(row, widths, strict=True)) for row in rows)
        return "\n".join(line.rstrip() for line in lines)

    def document(self) -> Json:
        """Return the same for programs."""
        from sigprobe.record.result import format_time

        return [
            {
                "name": token.name,
                "role": token.role,
                "created_at": format_time(token.created_at),
                "last_used_at": None if token.last_used_at is None else format_time(token.last_used_at),
                "revoked_at": None if token.revoked_at is None else format_time(token.revoked_at),
            }
            for token in self.tokens
        ]


@dataclass(frozen=True, slots=True)
class Revoked(CommandResult):
    """A token that is no longer valid."""

    name: str

    def messages(self, output: Output, screen: Screen) -> Iterable[Message]:
        """Yield when it stops working."""
        text = _("The token {name} is revoked; the server refuses it within 20 seconds.")
        yield Message(text.format(name=self.name))


@app.command("create", cls=Command)
def create_token(
    database: DatabaseOption = None,
    probe: Annotated[str | None, typer.Option(metavar="NAME", help=N_("A token that sends results."))] = None,
    admin: Annotated[
        str | None, typer.Option(metavar="NAME", help=N_("A token that reads results and opens the page."))
    ] = None,
) -> CommandResult:
    """Create a token and print it once, alone on the last line."""
    if (probe is None) == (admin is None):
        raise CommandError(_("Give either --probe NAME or --admin NAME."))
    name = probe if probe is not None else admin or ""
    cli_values.require_name(name)
    with using_database(database, creates=True) as engine:
        from sigprobe.collector.access import queries as access_queries

        role = access_queries.PROBE if probe is not None else access_queries.ADMIN
        try:
            return NewToken(access_queries.create_token(engine, name, role))
        except access_queries.NameTakenError:
            raise CommandError(
                _(
                    "A token named {name} is in use. Choose another name, or revoke it first: "
                    "sigprobe collector token revoke {name}"
                ).format(name=name)
            ) from None


@app.command("list", cls=Command)
def list_tokens(database: DatabaseOption = None, as_json: options.JsonOption = False) -> CommandResult:
    """List all tokens, without their secrets."""
    with using_database(database) as engine:
        from sigprobe.collector.access import queries as access_queries

        return Tokens(access_queries.list_tokens(engine))


@app.command("revoke", cls=Command)
def revoke_token(
    name: Annotated[str, typer.Argument(metavar="NAME", help=N_("The token's name."))],
    database: DatabaseOption = None,
) -> CommandResult:
    """Revoke a token; a running server refuses it within 20 seconds."""
    with using_database(database) as engine:
        from sigprobe.collector.access import queries as access_queries

        done = access_queries.revoke_token(engine, name)
    if not done:
        raise CommandError(
            _("No token named {name} is in use. To list all: sigprobe collector token list").format(name=name)
        )
    return Revoked(name)
