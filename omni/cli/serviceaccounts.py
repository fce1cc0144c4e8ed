"""`omni serviceaccounts`: programs that act by themselves."""

import os
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from omni.cli import complete
from omni.cli.api import Api
from omni.cli.context import with_api
from omni.cli.output import Column, ago, output_option, show
from omni.cli.tokens import ROLES, days_option, ends
from talos import serviceaccount

COLUMNS: list[Column] = [
    ("name", "name"), ("role", "role"), ("tokens", "tokens"), ("keys", "keys"), ("used", ago("last_used_at")),
    ("made", ago("created_at")), ("by", "created_by"), ("description", "description"),
]  # fmt: skip

account = click.argument("name", shell_complete=complete.service_accounts)


@click.group()
def serviceaccounts() -> None:
    """Programs that act by themselves, not for a person: CI, GitOps, monitoring.

    Each has a role and as many credentials as it needs: API tokens for this command and REST, keys for talosctl and
    kubectl. They go on when the person who made them leaves.
    """


@serviceaccounts.command("list")
@click.option("-q", "--query", default="", help="Only with this in name or description.")
@output_option
@with_api
def list_accounts(api: Api, query: str, output: str) -> None:
    """List service accounts, and when they were used last."""
    rows = api.list("service-accounts", q=query)
    show(rows, COLUMNS, output, "No service account; `omni serviceaccounts create NAME` makes one.")


@serviceaccounts.command("create")
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), default="reader", show_default=True, help="At most your own.")
@click.option("--description", default="", help="What it is for.")
@output_option
@with_api
def create(api: Api, name: str, role: str, description: str, output: str) -> None:
    """Make a service account. It can do nothing before it has a token or a key.

    \b
    omni serviceaccounts create ci --role operator --description "GitHub deploys"
    export OMNI_TOKEN=$(omni serviceaccounts token ci --days 90)
    """
    row = api.post("service-accounts", json={"name": name, "role": role, "description": description})
    show(row, COLUMNS, output)


@serviceaccounts.command("update")
@account
@click.option("--role", type=click.Choice(ROLES), help="Counts from its next request on.")
@click.option("--description", help="What it is for.")
@output_option
@with_api
def update(api: Api, name: str, role: str | None, description: str | None, output: str) -> None:
    """Change role or description."""
    given: dict[str, Any] = {"role": role, "description": description}
    change = {key: value for key, value in given.items() if value is not None}
    show(api.patch("service-accounts", name, json=change), COLUMNS, output)


@serviceaccounts.command("token")
@account
@click.option("--name", "token_name", default="omni serviceaccounts token", help="What uses it.")
@click.option("--role", type=click.Choice(ROLES), help="Less than the account's own.")
@days_option
@click.option(
    "-o", "--output", type=click.Choice(["text", "yaml", "json"]), default="text", help="How to print [text]."
)
@with_api
def token(api: Api, name: str, token_name: str, role: str | None, days: int | None, output: str) -> None:
    """Make an API token that acts for a service account. It is printed once and kept nowhere."""
    wish = {"name": token_name, "expires_at": ends(days)} | ({"role": role} if role else {})
    made = api.post("service-accounts", name, "tokens", json=wish)
    if output == "text":
        click.echo(made["secret"])
    else:
        show(made, [], output)


@serviceaccounts.command("key")
@account
@click.option("--name", "purpose", default="", help="What uses it [this host].")
@click.option("--role", type=click.Choice(ROLES), help="Less than the account's own.")
@click.option("--days", type=click.IntRange(1, 365), default=90, show_default=True, help="Days until it ends.")
@with_api
def key(api: Api, name: str, purpose: str, role: str | None, days: int) -> None:
    """Make a key with which talosctl acts as it, without a browser. It is printed once and kept nowhere.

    The key is made here; the server gets its public half. `omni accesskeys` lists and revokes it.

    \b
    omni talosconfig --cluster prod --merge
    export SIDERO_SERVICE_ACCOUNT_KEY=$(omni serviceaccounts key ci --days 30)
    talosctl -n cp-1 version
    """
    made = serviceaccount.new_key(name, datetime.now(UTC), timedelta(days=days))
    wish = {"public_key": made.public.armored, "name": purpose or f"talosctl on {os.uname().nodename}"}
    api.post("service-accounts", name, "keys", json=wish | ({"role": role} if role else {}))
    click.echo(serviceaccount.key_text(name, made))


@serviceaccounts.command("delete")
@account
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_api
def delete(api: Api, name: str, yes: bool) -> None:
    """End a service account and all its credentials, at once."""
    if not yes:
        row = api.get("service-accounts", name)
        click.echo(f"{row['tokens']} tokens and {row['keys']} keys of {name} end. What uses them is refused at once.")
        if click.prompt(f"Type {name} to go on", default="", show_default=False) != name:
            raise click.Abort
    api.delete("service-accounts", name)
