"""`omni tokens` for programs, `omni jointokens` for machines."""

from datetime import UTC, datetime, timedelta
from typing import Any

import click

from omni.cli import complete
from omni.cli.api import Api
from omni.cli.context import with_api
from omni.cli.names import one_of
from omni.cli.output import Column, ago, output_option, show

ROLES = ["reader", "operator", "admin", "owner"]

API_TOKEN_COLUMNS: list[Column] = [
    ("id", "id"), ("name", "name"), ("for", lambda row: row["user"] or row["service_account"]), ("role", "role"),
    ("state", "state.word"),
    ("expires", "expires_at"), ("used", ago("last_used_at")), ("made", ago("created_at")),
]  # fmt: skip

days_option = click.option("--days", type=click.IntRange(1, 9999), help="Days until it ends; never without.")


def ends(days: int | None) -> str | None:
    """The time after so many days, as REST takes it."""
    return (datetime.now(UTC) + timedelta(days=days)).isoformat() if days else None


@click.group()
def tokens() -> None:
    """API tokens: how programs and this command line sign in.

    A token acts for whoever made it, with at most their role. For machines see `omni jointokens`.
    """


@tokens.command("list")
@click.option("--all", "everything", is_flag=True, help="Also those that ended.")
@click.option("--unused", is_flag=True, help="Only those that were never used.")
@click.option("-q", "--query", default="", help="Only with this in name or address.")
@output_option
@with_api
def list_api_tokens(api: Api, everything: bool, unused: bool, query: str, output: str) -> None:
    """List usable tokens: one's own, and everybody's for admins."""
    view = "" if everything else "unused" if unused else "living"
    rows = api.list("api-tokens", view=view, q=query, sort="-created")
    show(rows, API_TOKEN_COLUMNS, output, "No token; `omni tokens create NAME` makes one.")


@tokens.command("create")
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), default="reader", show_default=True, help="At most your own.")
@days_option
@click.option(
    "-o", "--output", type=click.Choice(["text", "yaml", "json"]), default="text", help="How to print [text]."
)
@with_api
def create_api_token(api: Api, name: str, role: str, days: int | None, output: str) -> None:
    """Make a token that acts for you. It is printed once and kept nowhere.

    \b
    export OMNI_TOKEN=$(omni tokens create github-deploy --role operator --days 90)
    """
    made = api.post("api-tokens", json={"name": name, "role": role, "expires_at": ends(days)})
    if output == "text":
        click.echo(made["secret"])
    else:
        show(made, [], output)


@tokens.command("revoke")
@click.argument("name", metavar="NAME|ID", shell_complete=complete.api_tokens)
@with_api
def revoke_api_token(api: Api, name: str) -> None:
    """End a token at once: one's own, or anybody's for admins."""
    row = one_of(api.list("api-tokens", view="living"), name, "usable API token", "name", "id")
    api.post("api-tokens", row["id"], "revoke")


JOIN_TOKEN_COLUMNS: list[Column] = [
    ("id", "id"), ("name", "name"), ("state", "state.word"), ("default", "is_default"), ("joined", "use_count"),
    ("here", "machines"), ("pending", "pending"), ("expires", "expires_at"), ("created", ago("created_at")),
]  # fmt: skip


@click.group()
def jointokens() -> None:
    """Secrets that let machines join."""


@jointokens.command("list")
@output_option
@with_api
def list_tokens(api: Api, output: str) -> None:
    """List join tokens, without their secrets; what to know of them goes to stderr."""
    rows = api.list("join-tokens")
    show(rows, JOIN_TOKEN_COLUMNS, output, "No join token yet; `omni jointokens create NAME` makes one.")
    for row in rows:
        for text in row["warnings"]:
            click.echo(f"{row['name']}: {text}", err=True)


@jointokens.command("create")
@click.argument("name")
@days_option
@click.option("--default", "is_default", is_flag=True, help="Make it the default.")
@output_option
@with_api
def create_token(api: Api, name: str, days: int | None, is_default: bool, output: str) -> None:
    """Make a join token. `omni jointokens kernel-args` shows how to use it."""
    row = api.post("join-tokens", json={"name": name, "expires_at": ends(days), "is_default": is_default})
    show(row, JOIN_TOKEN_COLUMNS, output)


@jointokens.command("revoke")
@click.argument("name", metavar="NAME|ID", shell_complete=complete.join_tokens)
@with_api
def revoke_token(api: Api, name: str) -> None:
    """Let nobody in with a token. Machines that joined stay; agents that came with it are turned away."""
    api.post("join-tokens", _token(api, name)["id"], "revoke")


@jointokens.command("default")
@click.argument("name", metavar="NAME|ID", shell_complete=complete.join_tokens)
@with_api
def default_token(api: Api, name: str) -> None:
    """Make a token the default."""
    api.patch("join-tokens", _token(api, name)["id"], json={"is_default": True})


@jointokens.command("secret")
@click.argument("name", metavar="[NAME|ID]", required=False, shell_complete=complete.join_tokens)
@with_api
def secret(api: Api, name: str | None) -> None:
    """Print the secret of a token, the default one if none is named: for `omni agent`. Audited.

    \b
    omni jointokens secret rack-7 > token
    """
    click.echo(_secret(api, name)["token"])


@jointokens.command("kernel-args")
@click.argument("name", metavar="[NAME|ID]", required=False, shell_complete=complete.join_tokens)
@click.option("--tunnel", is_flag=True, help="WireGuard inside gRPC, where UDP is blocked.")
@with_api
def kernel_args(api: Api, name: str | None, tunnel: bool) -> None:
    """Print the kernel arguments for a machine.

    With the secret of a token, the default one if none is named.
    """
    click.echo(_secret(api, name, tunnel)["kernel_arguments"])


@jointokens.command("machine-config")
@click.argument("name", metavar="[NAME|ID]", required=False, shell_complete=complete.join_tokens)
@click.option("--tunnel", is_flag=True, help="WireGuard inside gRPC, where UDP is blocked.")
@with_api
def machine_config(api: Api, name: str | None, tunnel: bool) -> None:
    """Print the same as configuration documents."""
    click.echo(_secret(api, name, tunnel)["documents"], nl=False)


def _secret(api: Api, name: str | None, tunnel: bool = False) -> dict[str, str]:
    secret: dict[str, str] = api.post("join-tokens", _token(api, name)["id"], "reveal", tunnel="true" if tunnel else "")
    return secret


def _token(api: Api, name: str | None) -> dict[str, Any]:
    rows = api.list("join-tokens")
    if name is not None:
        return one_of(rows, name, "join token", "name", "id")
    for row in rows:
        if row["is_default"]:
            return row
    raise click.ClickException("no join token is the default; make one with `omni jointokens create NAME`")
