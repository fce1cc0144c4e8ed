"""`omni clusters` and `omni cluster`: looking at clusters, and the break-glass downloads."""

import time
from pathlib import Path
from typing import Any

import click

from omni.cli import complete
from omni.cli.api import Api, Away
from omni.cli.context import with_api
from omni.cli.names import uuid_of
from omni.cli.output import Column, ago, inert, output_option, show

POLL = 0.5

CLUSTER_COLUMNS: list[Column] = [
    ("name", "name"), ("state", "state.word"),
    ("machines", lambda row: f"{row['machines']['ready']}/{row['machines']['wanted']}"), ("talos", "talos_version"),
    ("kubernetes", "kubernetes_version"), ("age", ago("created_at")), ("why", lambda row: _why(row)),
]  # fmt: skip

MEMBER_COLUMNS: list[Column] = [
    ("uuid", "uuid"), ("name", "hostname"), ("role", "role"), ("state", "state.word"), ("config", "config_current"),
    ("node", "node_name"), ("etcd", "etcd_member_id"), ("why", lambda row: _why(row)),
]  # fmt: skip


def _why(row: dict[str, Any]) -> str:
    return "" if row["state"]["shape"] == "ok" else str(row["state"]["sentence"])


@click.group()
def clusters() -> None:
    """Clusters of the organisation."""


@clusters.command("list")
@click.option("-q", "--query", default="", help="Only clusters with this in their name.")
@output_option
@with_api
def list_clusters(api: Api, query: str, output: str) -> None:
    """List clusters."""
    show(
        api.list("clusters", q=query),
        CLUSTER_COLUMNS,
        output,
        "No cluster yet; `omni cluster template sync` makes one.",
    )


@clusters.command("get")
@click.argument("name", shell_complete=complete.clusters)
@click.option("-o", "--output", type=click.Choice(["yaml", "json"]), default="yaml", help="How to print [yaml].")
@with_api
def get_cluster(api: Api, name: str, output: str) -> None:
    """Show what a cluster shall be and how it is."""
    show({**api.get("clusters", name), "status": api.get("clusters", name, "status")}, [], output)


@click.group()
def cluster() -> None:
    """One cluster: templates, status, machines, credentials."""


@cluster.command("status")
@click.argument("name", shell_complete=complete.clusters)
@click.option("--wait", is_flag=True, help="Follow until it is ready, and say what it waits for.")
@click.option("--timeout", type=float, default=600, show_default=True, help="Seconds that --wait goes on.")
@output_option
@with_api
def status(api: Api, name: str, wait: bool, timeout: float, output: str) -> None:
    """How a cluster is, and what it waits for."""
    if wait:
        follow(api, name, timeout)
        return
    answer = api.get("clusters", name, "status")
    if output != "table":
        show(answer, [], output)
        return
    click.echo(inert(f"{name}: {answer['state']['word']}. {answer['state']['sentence']}"))
    columns: list[Column] = [("condition", "name"), ("state", "state"), ("what", "message"), ("since", ago("since"))]
    show(answer["conditions"], columns, output, "Nothing is known of it yet.")
    click.echo()
    show(answer["machines"], MEMBER_COLUMNS, output, "It has taken no machine yet.")


def follow(api: Api, name: str, timeout: float, gone_is_done: bool = False) -> None:
    """Print each change of a cluster's conditions until it is ready (or gone), also while the server restarts.

    Raises ClickException on time-out, with what is awaited.
    """
    started, told, sentence = time.monotonic(), dict[str, str](), ""
    while True:
        try:
            if not any(row["name"] == name for row in api.list("clusters", q=name)):
                if not gone_is_done:
                    raise click.ClickException(f"there is no cluster {name!r}")
                click.echo(f"{time.monotonic() - started:6.1f} s  {name} is gone; its machines are free")
                return
            answer = api.get("clusters", name, "status")
            sentence = answer["state"]["sentence"]
            for item in answer["conditions"]:
                if told.get(item["name"]) != item["message"]:
                    told[item["name"]] = item["message"]
                    click.echo(inert(f"{time.monotonic() - started:6.1f} s  {item['name']:13} {item['message']}"))
            if answer["ready"] and not gone_is_done:
                return
        except Away as away:
            sentence = away.message
        if time.monotonic() - started > timeout:
            raise click.ClickException(f"{name} after {timeout:.0f} s: {sentence}")
        time.sleep(POLL)


@cluster.command("machines")
@click.argument("name", shell_complete=complete.clusters)
@output_option
@with_api
def members(api: Api, name: str, output: str) -> None:
    """The machines that a cluster has taken."""
    show(api.get("clusters", name, "machines"), MEMBER_COLUMNS, output, "It has taken no machine yet.")


@cluster.command("config")
@click.argument("name", shell_complete=complete.clusters)
@click.argument("machine", shell_complete=complete.machines)
@with_api
def config(api: Api, name: str, machine: str) -> None:
    """The config last given to a machine, without its secrets."""
    click.echo(api.get("clusters", name, "config", machine=uuid_of(api, machine))["content"], nl=False)


@cluster.command("destroy")
@click.argument("name", shell_complete=complete.clusters)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--wait", is_flag=True, help="Follow until it is gone and its machines are free.")
@click.option("--timeout", type=float, default=600, show_default=True, help="Seconds that --wait goes on.")
@with_api
def destroy(api: Api, name: str, yes: bool, wait: bool, timeout: float) -> None:
    """Wipe all machines of a cluster and give them back."""
    if not yes:
        members = api.get("clusters", name, "machines")
        click.echo(f"{len(members)} machines are wiped and become free. What ran on {name} is lost.")
        if click.prompt(f"Type {name} to go on", default="", show_default=False) != name:
            raise click.Abort
    api.delete("clusters", name)
    if wait:
        follow(api, name, timeout, gone_is_done=True)


@cluster.command("talosconfig")
@click.argument("name", shell_complete=complete.clusters)
@click.option(
    "--endpoint", type=click.Choice(["node", "own"]), default="node", show_default=True,
    help="What talosctl calls: the nodes' own addresses, or the host of the cluster's own endpoint.",
)  # fmt: skip
@click.option("--to", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file (mode 0600).")
@with_api
def talosconfig(api: Api, name: str, endpoint: str, to: Path | None) -> None:
    """Administrator's talosconfig: break glass, audited.

    It does not need this server and is valid for 30 days.
    """
    _keep(api.post("clusters", name, "talosconfig", endpoint=endpoint)["content"], to)


@cluster.command("kubeconfig")
@click.argument("name", shell_complete=complete.clusters)
@click.option(
    "--endpoint", type=click.Choice(["own", "node", "omni"]), default=None,
    help="Where kubectl goes: the cluster's own endpoint [if it has one], a control plane's own address [else], "
    "or this server's balancer, which only the cluster's machines reach.",
)  # fmt: skip
@click.option("--to", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file (mode 0600).")
@with_api
def kubeconfig(api: Api, name: str, endpoint: str | None, to: Path | None) -> None:
    """Administrator's kubeconfig: break glass, audited.

    It does not need this server and is valid for 30 days.
    """
    _keep(api.post("clusters", name, "kubeconfig", endpoint=endpoint or "")["content"], to)


def _keep(content: str, to: Path | None) -> None:
    if to is None:
        click.echo(content, nl=False)
        return
    to.touch(mode=0o600)
    to.chmod(0o600)
    to.write_text(content)
