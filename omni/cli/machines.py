"""`omni machines`: what joined, its labels, and its end."""

import click

from omni.cli import complete
from omni.cli.api import Api
from omni.cli.context import with_api
from omni.cli.history import events, logs
from omni.cli.names import uuid_of
from omni.cli.output import Column, ago, output_option, show

MACHINE_COLUMNS: list[Column] = [
    ("uuid", "uuid"), ("name", "hostname"), ("state", "state.word"), ("cluster", "cluster"), ("role", "role"),
    ("talos", "talos_version"), ("link", "transport"), ("address", lambda row: next(iter(row["addresses"]), "")),
    ("joined", ago("created_at")),
]  # fmt: skip


@click.group()
def machines() -> None:
    """Machines that joined the organisation."""


@machines.command("list")
@click.option("-q", "--query", default="", help="Words, key=value, label:SELECTOR; e.g. `free=yes talos=v1.13.8`.")
@click.option("--sort", default="", help="name, state, cluster, talos, joined, memory or cores; -name turns it round.")
@click.option("--limit", type=click.IntRange(1), help="At most so many rows.")
@output_option
@with_api
def list_machines(api: Api, query: str, sort: str, limit: int | None, output: str) -> None:
    """List machines.

    \b
    omni machines list -q state=free
    omni machines list -q 'cluster=prod ready=no' -o json
    """
    empty = "No machine matches." if query else "No machine yet; `omni jointokens kernel-args` says how one joins."
    show(api.list("machines", limit=limit, q=query, sort=sort), MACHINE_COLUMNS, output, empty)


@machines.command("get")
@click.argument("machine", shell_complete=complete.machines)
@click.option("-o", "--output", type=click.Choice(["yaml", "json"]), default="yaml", help="How to print [yaml].")
@with_api
def get_machine(api: Api, machine: str, output: str) -> None:
    """Show everything that is known of a machine."""
    show(api.get("machines", uuid_of(api, machine)), [], output)


@machines.command("label")
@click.argument("machine", shell_complete=complete.machines)
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
@click.argument("machine", shell_complete=complete.machines)
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


machines.add_command(events)
machines.add_command(logs)
