"""`omni members`: who may act in the organisation."""

import click

from omni.cli import complete
from omni.cli.api import Api
from omni.cli.context import with_api
from omni.cli.names import one_of
from omni.cli.output import Column, ago, output_option, show
from omni.cli.tokens import ROLES

MEMBER_COLUMNS: list[Column] = [
    ("email", "email"), ("name", "name"), ("role", "role"), ("state", "state.word"), ("tokens", "tokens"),
    ("joined", ago("created_at")), ("seen", ago("last_sign_in_at")), ("invited until", "invited_until"),
]  # fmt: skip

who = click.argument("who", metavar="EMAIL|ID", shell_complete=complete.members)


@click.group()
def members() -> None:
    """The people of the organisation and their roles.

    \b
    reader     sees everything, changes nothing
    operator   runs machines and clusters
    admin      also people, the audit, break-glass files
    owner      everything
    """


@members.command("list")
@click.option("-q", "--query", default="", help="Only with this in name or address.")
@click.option("--role", type=click.Choice(ROLES), help="Only with this role.")
@output_option
@with_api
def list_members(api: Api, query: str, role: str | None, output: str) -> None:
    """List members, with who was invited and has not come yet."""
    show(api.list("members", q=query, role=role), MEMBER_COLUMNS, output, "Nobody matches.")


@members.command("invite")
@click.argument("email")
@click.option("--role", type=click.Choice(ROLES), default="reader", show_default=True, help="At most your own.")
@click.option(
    "-o", "--output", type=click.Choice(["text", "yaml", "json"]), default="text", help="How to print [text]."
)
@with_api
def invite(api: Api, email: str, role: str, output: str) -> None:
    """Invite somebody: prints a link that lets them in once, within 7 days.

    Nothing is sent; pass it on where only they read. They have the role from when they open it: with a new account, or
    signed in to the one they have.
    """
    _show(api, api.post("members", json={"email": email, "role": role}), output)


@members.command("link")
@who
@click.option(
    "-o", "--output", type=click.Choice(["text", "yaml", "json"]), default="text", help="How to print [text]."
)
@with_api
def link(api: Api, who: str, output: str) -> None:
    """Print a new link for somebody who did not come yet; the one before ends."""
    _show(api, api.post("members", _member(api, who), "link"), output)


@members.command("role")
@who
@click.argument("role", type=click.Choice(ROLES))
@with_api
def change_role(api: Api, who: str, role: str) -> None:
    """Change somebody's role. The last owner stays one."""
    api.patch("members", _member(api, who), json={"role": role})


@members.command("revoke")
@who
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_api
def revoke(api: Api, who: str, yes: bool) -> None:
    """Revoke every API token and access key of a member here, who stays one."""
    row = api.get("members", _member(api, who))
    if not yes:
        click.confirm(f"Revoke every API token and access key of {row['email']}?", abort=True)
    ended = api.post("members", row["id"], "revoke")
    click.echo(f"Revoked: {ended['tokens']} API tokens, {ended['keys']} access keys.")


@members.command("remove")
@who
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_api
def remove(api: Api, who: str, yes: bool) -> None:
    """End a membership, with the person's API tokens and access keys here."""
    row = api.get("members", _member(api, who))
    if not yes:
        click.confirm(f"Remove {row['email']} ({row['role']}) and revoke their {row['tokens']} API tokens?", abort=True)
    api.delete("members", row["id"])


def _member(api: Api, who: str) -> str:
    return str(one_of(api.list("members"), who.lower(), "member", "email", "id")["id"])


def _show(api: Api, made: dict[str, object], output: str) -> None:
    made["sign_in_link"] = f"{api.url}{made['sign_in_path']}"
    if output != "text":
        show(made, [], output)
    else:
        click.echo(made["sign_in_link"])
