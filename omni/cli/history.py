"""`omni events` and `omni logs`: what a machine told of itself, and what it goes on to tell."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import click

from omni.cli import complete
from omni.cli.api import Api, Away
from omni.cli.context import with_api
from omni.cli.names import uuid_of
from omni.cli.output import output_option, show_each

T = TypeVar("T")

FOLLOW_SECONDS = 1.0

LINES_KEPT = 5000

KINDS = ("MachineStatusEvent", "SequenceEvent", "PhaseEvent", "TaskEvent", "ServiceStateEvent", "ConfigLoadErrorEvent",
         "ConfigValidationErrorEvent", "AddressEvent", "RestartEvent")  # fmt: skip

since_option = click.option(
    "--since", default="", metavar="SPAN|TIME", help="Only what was received since: 15m, 2h, 3d, or 2026-08-21T10:12."
)
text_option = click.option("-q", "--query", default="", metavar="TEXT", help="Only with this text.")
follow_option = click.option("-f", "--follow", is_flag=True, help="Go on with what comes, over reboots, until Ctrl-C.")


@click.command()
@click.argument("machine", shell_complete=complete.machines)
@follow_option
@click.option("--tail", type=click.IntRange(0, 300), default=300, show_default=True, help="At most so many, the last.")
@click.option("--kind", type=click.Choice(KINDS), help="Only of this kind.")
@text_option
@since_option
@output_option
@with_api
def events(
    api: Api, machine: str, follow: bool, tail: int, kind: str | None, query: str, since: str, output: str
) -> None:
    """What a machine told of itself: stages, services, tasks, errors; the newest last.

    \b
    omni events osl-w-3 -f                        follow an installation
    omni events osl-w-3 --kind ServiceStateEvent --since 1h
    omni events osl-w-3 -o json                   with all details
    """
    path = ("machines", uuid_of(api, machine), "events")
    wanted = {"kind": kind, "q": query}
    newest = api.get(*path, limit=1) if follow else []
    found = api.get(*path, since=since, limit=tail, **wanted)

    def behind(last: str) -> tuple[list[dict[str, Any]], str]:
        rows = api.get(*path, after=last, **wanted)
        return rows[::-1], rows[0]["id"] if rows else last

    place = next((row["id"] for row in (*found, *newest)), "")
    _print(found[::-1], newer(follow, place, behind), output, _event)


@click.command()
@click.argument("machine", shell_complete=complete.machines)
@follow_option
@click.option("--tail", type=click.IntRange(0, 5000), default=200, show_default=True, help="Lines to begin with.")
@click.option("--level", type=click.Choice(["debug", "info", "warn", "error"]), help="Only this level and graver ones.")
@click.option("--facility", default="", help="Only of this facility: kern, user, daemon, ...")
@text_option
@since_option
@output_option
@with_api
def logs(
    api: Api, machine: str, follow: bool, tail: int, level: str | None, facility: str, query: str, since: str,
    output: str,
) -> None:  # fmt: skip
    """The kernel log of a machine, with what Talos writes there.

    The last 5,000 lines are kept. Following goes on over reboots and while the server restarts.

    \b
    omni logs osl-w-3 -f --tail 20
    omni logs osl-w-3 --level warn --since 2h
    omni logs osl-w-3 -q 'link becomes ready' -o json
    """
    uuid = uuid_of(api, machine)
    wanted = {"level": level, "facility": facility, "q": query}
    path = api.at("machines", uuid, "logs")
    found, place = api.log(path, {**wanted, "since": since, "tail": tail})
    behind = newer(follow, place, lambda last: api.log(path, {**wanted, "after": last, "tail": LINES_KEPT}))
    _print(found, behind, output, _line)


def _event(row: dict[str, Any]) -> str:
    return f"{row['at'][:19]}Z  {row['kind']:24} {row['summary']}"


def _line(row: dict[str, Any]) -> str:
    booted = "---- the machine booted ----\n" if row["boot"] else ""
    return f"{booted}{row['at']} {row['text']}" if row["at"] else f"{booted}{row['text']}"


def newer(follow: bool, place: T, ask: Callable[[T], tuple[list[dict[str, Any]], T]]) -> Iterator[dict[str, Any]]:
    """What comes behind a place, asked for once a second; `ask` gives it with the place to go on from.

    While the server is away, which is said once, nothing comes, and nothing is lost.
    """
    away = False
    while follow:
        time.sleep(FOLLOW_SECONDS)
        try:
            rows, place = ask(place)
            away = False
        except Away as error:
            if not away:
                click.echo(f"{error.message}; going on when it is back", err=True)
            away, rows = True, []
        yield from rows


def _print(
    found: Iterable[dict[str, Any]],
    newer: Iterable[dict[str, Any]],
    output: str,
    text: Callable[[dict[str, Any]], str],
) -> None:
    """Print what there is, then what comes, until Ctrl-C."""
    show_each(found, output, text)
    show_each(newer, output, text)
