"""`omni sessions`: the browsers that you are signed in with."""

import click

from omni.cli.api import Api
from omni.cli.context import with_api
from omni.cli.names import one_of
from omni.cli.output import Column, ago, output_option, show

COLUMNS: list[Column] = [
    ("id", "id"), ("browser", "browser"), ("from", "address"), ("signed in", ago("signed_in_at")),
    ("seen", ago("last_seen_at")), ("keys", lambda row: len(row["granted"])),
]  # fmt: skip


@click.group()
def sessions() -> None:
    """Browsers that you are signed in with, and the access keys that each granted."""


@sessions.command("list")
@output_option
@with_api
def list_sessions(api: Api, output: str) -> None:
    """List them, the newest first."""
    show(_all(api), COLUMNS, output, "You are signed in with no browser.")


@sessions.command("end")
@click.argument("session", metavar="ID", required=False)
@click.option("--all", "every", is_flag=True, help="Every one of them.")
@with_api
def end(api: Api, session: str | None, every: bool) -> None:
    """Sign a browser out, and revoke the keys for talosctl and kubectl that it granted."""
    if every == bool(session):
        raise click.UsageError("give the ID of a session, or --all")
    if every:
        ended = api.call("POST", "/me/sessions/end-others")["ended"]
        click.echo(f"{ended} sessions ended.")
    else:
        row = one_of(_all(api), session or "", "session", "id", "browser")
        api.call("DELETE", f"/me/sessions/{row['id']}")


def _all(api: Api) -> list[dict[str, object]]:
    found: list[dict[str, object]] = api.call("GET", "/me/sessions")["items"]
    return found
