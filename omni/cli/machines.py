"""`omni machines` and `omni jointokens`."""

import re
import time
from datetime import UTC, datetime, timedelta

import click

from omni.cli.api import Api
from omni.cli.context import with_api
from omni.cli.output import Column, ago, output_option, show

FOLLOW_SECONDS = 1.0

UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

MACHINE_COLUMNS: list[Column] = [
    ("uuid", "uuid"), ("name", "hostname"), ("state", "state.word"), ("cluster", "cluster"), ("role", "role"),
    ("talos", "talos_version"), ("link", "transport"), ("address", lambda row: next(iter(row["addresses"]), "")),
    ("joined", ago("created_at")),
]  # fmt: skip


def uuid_of(api: Api, machine: str) -> str:
    """The UUID of a machine given by its UUID, its name, or the start of either. Raises ClickException."""
    if UUID.fullmatch(machine):
        return machine.lower()
    rows = api.list("machines", q=machine)
    exact = [row for row in rows if row["hostname"] == machine]
    begun = [row for row in rows if row["hostname"].startswith(machine) or row["uuid"].startswith(machine.lower())]
    found = exact or begun
    if len(found) != 1:
        known = ", ".join(f"{row['hostname']} ({row['uuid']})" for row in found[:5]) or "none"
        raise click.ClickException(f"{machine!r} is not the name or UUID of one machine; these fit: {known}")
    return str(found[0]["uuid"])


@click.group()
def machines() -> None:
    """Machines that joined the organisation."""


@machines.command("list")
@click.option("-q", "--query", default="", help="Words, key=value, label:SELECTOR; e.g. `free=yes talos=v1.13.8`.")
@click.option("--sort", default="", help="name, state, cluster, talos, joined, memory or cores; -name turns it round.")
@click.option("--limit", type=int, help="At most so many rows.")
@output_option
@with_api
def list_machines(api: Api, query: str, sort: str, limit: int | None, output: str) -> None:
    """List machines.

    \b
    omni machines list -q state=free
    omni machines list -q 'cluster=prod ready=no' -o json
    """
    show(api.list("machines", limit=limit, q=query, sort=sort), MACHINE_COLUMNS, output, "No machine matches.")


@machines.command("get")
@click.argument("machine")
@click.option("-o", "--output", type=click.Choice(["yaml", "json"]), default="yaml", help="How to print [yaml].")
@with_api
def get_machine(api: Api, machine: str, output: str) -> None:
    """Show everything that is known of a machine."""
    show(api.get("machines", uuid_of(api, machine)), [], output)


@machines.command("label")
@click.argument("machine")
@click.argument("labels", nargs=-1, required=True, metavar="KEY=VALUE|KEY-...")
@with_api
def label(api: Api, machine: str, labels: tuple[str, ...]) -> None:
    """Set labels of a machine, or remove them with `KEY-`."""
    uuid = uuid_of(api, machine)
    held = dict(api.get("machines", uuid)["labels"])
    for item in labels:
        key, given, value = item.partition("=")
        if given:
            held[key] = value
        elif item.endswith("-"):
            held.pop(item[:-1], None)
        else:
            raise click.UsageError(f"{item!r} is neither KEY=VALUE nor KEY-")
    api.put("machines", uuid, "labels", json={"labels": held})


@machines.command("remove")
@click.argument("machine")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_api
def remove(api: Api, machine: str, yes: bool) -> None:
    """Forget a machine that is in no cluster.

    The machine itself is not touched.
    """
    uuid = uuid_of(api, machine)
    if not yes:
        click.confirm(f"Forget machine {uuid}, its events and its log?", abort=True)
    api.delete("machines", uuid)


@machines.command("events")
@click.argument("machine")
@output_option
@with_api
def events(api: Api, machine: str, output: str) -> None:
    """The last events of a machine, the newest first."""
    show(
        api.get("machines", uuid_of(api, machine), "events"),
        [("at", "at"), ("kind", "kind"), ("what", "summary")],
        output,
    )


@machines.command("logs")
@click.argument("machine")
@click.option("--tail", type=int, default=200, help="Lines to begin with [200].")
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines until Ctrl-C.")
@with_api
def logs(api: Api, machine: str, tail: int, follow: bool) -> None:
    """The kernel log of a machine."""
    uuid = uuid_of(api, machine)
    lines = api.get("machines", uuid, "logs", tail=tail)
    last = 0
    while True:
        for line in lines:
            last = line["line"]
            click.echo(f"{line['at']} {line['text']}" if line["at"] else line["text"])
        if not follow:
            return
        time.sleep(FOLLOW_SECONDS)
        lines = api.get("machines", uuid, "logs", after=last)


TOKEN_COLUMNS: list[Column] = [
    ("id", "id"), ("name", "name"), ("state", "state.word"), ("default", "is_default"), ("machines", "use_count"),
    ("expires", "expires_at"), ("created", ago("created_at")),
]  # fmt: skip


@click.group()
def jointokens() -> None:
    """Secrets that let machines join."""


@jointokens.command("list")
@output_option
@with_api
def list_tokens(api: Api, output: str) -> None:
    """List join tokens, without their secrets."""
    show(api.list("join-tokens"), TOKEN_COLUMNS, output, "No join token yet; `omni jointokens create NAME` makes one.")


@jointokens.command("create")
@click.argument("name")
@click.option("--days", type=int, help="Days until it expires; never without.")
@click.option("--default", "is_default", is_flag=True, help="Make it the default.")
@output_option
@with_api
def create_token(api: Api, name: str, days: int | None, is_default: bool, output: str) -> None:
    """Make a join token. `omni jointokens kernel-args` shows how to use it."""
    expires = (datetime.now(UTC) + timedelta(days=days)).isoformat() if days else None
    row = api.post("join-tokens", json={"name": name, "expires_at": expires, "is_default": is_default})
    show(row, TOKEN_COLUMNS, output)


@jointokens.command("revoke")
@click.argument("name")
@with_api
def revoke_token(api: Api, name: str) -> None:
    """Let nobody in with a token; who joined stays."""
    api.post("join-tokens", _token(api, name)["id"], "revoke")


@jointokens.command("default")
@click.argument("name")
@with_api
def default_token(api: Api, name: str) -> None:
    """Make a token the default."""
    api.patch("join-tokens", _token(api, name)["id"], json={"is_default": True})


@jointokens.command("kernel-args")
@click.argument("name", required=False)
@click.option("--tunnel", is_flag=True, help="WireGuard inside gRPC, where UDP is blocked.")
@with_api
def kernel_args(api: Api, name: str | None, tunnel: bool) -> None:
    """Print the kernel arguments for a machine.

    With the secret of a token, the default one if none is named.
    """
    click.echo(_secret(api, name, tunnel)["kernel_arguments"])


@jointokens.command("machine-config")
@click.argument("name", required=False)
@click.option("--tunnel", is_flag=True, help="WireGuard inside gRPC, where UDP is blocked.")
@with_api
def machine_config(api: Api, name: str | None, tunnel: bool) -> None:
    """Print the same as configuration documents."""
    click.echo(_secret(api, name, tunnel)["documents"], nl=False)


def _secret(api: Api, name: str | None, tunnel: bool) -> dict[str, str]:
    secret: dict[str, str] = api.post("join-tokens", _token(api, name)["id"], "reveal", tunnel="true" if tunnel else "")
    return secret


def _token(api: Api, name: str | None) -> dict[str, str]:
    rows = api.list("join-tokens")
    wanted = [row for row in rows if (row["is_default"] if name is None else name in (row["name"], row["id"]))]
    if not wanted:
        known = ", ".join(row["name"] for row in rows) or "none"
        raise click.ClickException(f"there is no join token {name or 'that is the default'}; known: {known}")
    return wanted[0]
