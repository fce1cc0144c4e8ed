"""`omni talosconfig` and `omni accesskeys`: talosctl's way in, and everything that proves somebody to the proxies."""

import base64
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from omni.cli import complete
from omni.cli.api import Api
from omni.cli.context import with_api
from omni.cli.kube import Lifetime
from omni.cli.names import one_of
from omni.cli.output import Column, ago, inert, output_option, show
from omni.cli.private import write
from talos.talosconfig import TalosConfig, TalosConfigError


@click.command()
@click.option("--cluster", shell_complete=complete.clusters, help="The cluster to reach [talosctl's own --cluster].")
@click.option(
    "--certificate", is_flag=True, help="Prove yourself with a client certificate in the file, not with the browser."
)
@click.option("--lifetime", type=Lifetime(), default="8h", show_default=True, help="Of the certificate; 24h at most.")
@click.option("--to", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file (mode 0600).")
@click.option(
    "--merge", is_flag=True, help="Merge into $TALOSCONFIG or ~/.talos/config, and make it the current context."
)
@with_api
def talosconfig(api: Api, cluster: str | None, certificate: bool, lifetime: int, to: Path | None, merge: bool) -> None:
    """A talosconfig for talosctl through this server, as yourself.

    What you may do follows your role and the policies, at each call. Without more options the file holds no secret:
    talosctl makes a key of its own and opens the browser, where you accept it.

    \b
    omni talosconfig --cluster prod --merge
    talosctl -n cp-1 version
    omni talosconfig --cluster prod --certificate --lifetime 2h --to ci.talosconfig

    Nodes are named by host name, UUID or address. Keys and certificates are listed by `omni accesskeys list`.
    """
    if to and merge:
        raise click.UsageError("give --to or --merge, not both")
    wish: dict[str, Any] = {"cluster": cluster or ""}
    if certificate:
        wish |= {"proof": "certificate", "lifetime": lifetime}
    answer = api.post("talosconfig", json=wish)
    config = TalosConfig.from_yaml(answer["content"])
    for context in config.contexts.values():  # trusts what this command trusts
        context.ca = base64.b64encode(api.ca.encode()).decode()
    if merge:
        _merge(config)
    elif to:
        write(to, config.to_yaml())
    else:
        click.echo(config.to_yaml(), nl=False)
    if answer["expires_at"]:
        click.echo(f"The certificate is good until {_local(answer['expires_at'])}.", err=True)


def _merge(config: TalosConfig) -> None:
    """Take a context into the user's file, in the place of one of its name."""
    path = Path(os.environ.get("TALOSCONFIG") or Path.home() / ".talos" / "config")
    try:
        text = path.read_text() if path.exists() else ""
        merged = TalosConfig.from_yaml(text) if text.strip() else TalosConfig()
    except (TalosConfigError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{path}: {error}; nothing was changed") from None
    merged.contexts |= config.contexts
    merged.context = config.context
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write(path, merged.to_yaml())
    click.echo(f"{path} has the context {config.context} now, and it is the current one.")


def _local(text: str) -> str:
    return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M} UTC"


COLUMNS: list[Column] = [
    ("id", "id"), ("kind", "kind"), ("name", "name"), ("for", lambda row: row["user"] or row["service_account"]),
    ("role", "role"), ("state", "state.word"), ("from", "source"), ("expires", "expires_at"),
    ("used", ago("last_used_at")), ("made", ago("created_at")),
]  # fmt: skip


@click.group()
def accesskeys() -> None:
    """Keys, certificates and tokens that talosctl and kubectl use.

    `pgp` and `plain` sign talosctl's calls, `certificate` is in a talosconfig, `kubernetes` is a token for one cluster.
    """


@accesskeys.command("list")
@click.option("--all", "everything", is_flag=True, help="Also those that ended.")
@click.option("-q", "--query", default="", help="Only with this in name, fingerprint or holder.")
@click.option("--service-account", default="", shell_complete=complete.service_accounts, help="Only of this one.")
@output_option
@with_api
def list_keys(api: Api, everything: bool, query: str, service_account: str, output: str) -> None:
    """List usable keys: one's own, and everybody's for admins."""
    usable = "" if everything else "true"
    rows = api.list("access-keys", usable=usable, q=query, service_account=service_account, sort="-created")
    show(rows, COLUMNS, output, "No access key; talosctl makes one when it is first used (`omni talosconfig`).")


@accesskeys.command("revoke")
@click.argument("name", metavar="NAME|ID|FINGERPRINT")
@with_api
def revoke(api: Api, name: str) -> None:
    """End a key at once, and within seconds what is open through it: one's own, or anybody's for admins."""
    row = one_of(api.list("access-keys", usable="true"), name, "usable access key", "name", "id", "fingerprint")
    api.post("access-keys", row["id"], "revoke")
    click.echo(inert(f"{row['name']} ({row['kind']}) of {row['user'] or row['service_account']} is revoked."), err=True)
