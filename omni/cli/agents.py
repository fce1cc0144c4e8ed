"""`omni agents`: the programs beside machines, and what they found."""

from typing import Any

import click

from omni.cli import complete
from omni.cli.api import Api
from omni.cli.context import with_api
from omni.cli.output import Column, ago, output_option, show

AGENT_COLUMNS: list[Column] = [
    ("name", "name"), ("state", "state.word"), ("machines", "machines"), ("new", "found"), ("problems", "problems"),
    ("from", "source_address"), ("version", "version"), ("since", ago("connected_changed_at")),
    ("why", lambda row: "" if row["state"]["shape"] == "ok" else row["state"]["sentence"]),
]  # fmt: skip

TARGET_COLUMNS: list[Column] = [
    ("address", "address"), ("state", "state.word"), ("machine", lambda row: row["machine"] or row["uuid"]),
    ("talos", "talos_version"), ("named", "named"), ("why", "problem"),
]  # fmt: skip


name_argument = click.argument("name", shell_complete=complete.agents)


@click.group()
def agents() -> None:
    """Agents that reach machines for us; `omni agent` runs one."""


@agents.command("list")
@click.option("-q", "--query", default="", help="Only with this in the name, or in an address or UUID it reaches.")
@output_option
@with_api
def list_agents(api: Api, query: str, output: str) -> None:
    """List agents."""
    show(api.list("agents", q=query), AGENT_COLUMNS, output, "No agent yet; `omni agent --help` says how to run one.")


@agents.command("get")
@name_argument
@click.option("-o", "--output", type=click.Choice(["yaml", "json"]), default="yaml", help="How to print [yaml].")
@with_api
def get_agent(api: Api, name: str, output: str) -> None:
    """Show an agent and everything it reaches."""
    show({**api.get("agents", name), "targets": api.get("agents", name, "targets")}, [], output)


@agents.command("targets")
@name_argument
@output_option
@with_api
def list_targets(api: Api, name: str, output: str) -> None:
    """List what an agent reaches, and what answers there."""
    show(api.get("agents", name, "targets"), TARGET_COLUMNS, output, "It reaches nothing yet.")


@agents.command("accept")
@name_argument
@click.argument("addresses", nargs=-1, metavar="[ADDRESS]...", shell_complete=complete.new_targets)
@click.option("--all", "everything", is_flag=True, help="Everything new that the agent found.")
@output_option
@with_api
def accept(api: Api, name: str, addresses: tuple[str, ...], everything: bool, output: str) -> None:
    """Make what an agent found machines of the organisation.

    \b
    omni agents accept rack-7 10.5.0.11 10.5.0.12
    omni agents accept rack-7 --all
    """
    if bool(addresses) == everything:
        raise click.UsageError("give the addresses to accept, or --all")
    wanted = list(addresses) or _new(api.get("agents", name, "targets"))
    if not wanted:
        click.echo(f"{name} found nothing new.", err=True)
        return
    show(api.post("agents", name, "accept", json={"addresses": wanted}), TARGET_COLUMNS, output)


def _new(targets: list[dict[str, Any]]) -> list[str]:
    return [row["address"] for row in targets if row["state"]["shape"] == "ask"]


@agents.command("remove")
@name_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_api
def remove(api: Api, name: str, yes: bool) -> None:
    """Turn an agent away for good; its machines stay, without a link unless another agent reaches them."""
    if not yes:
        click.confirm(f"Remove agent {name}?", abort=True)
    api.delete("agents", name)
