"""`omni mesh enable` and `omni mesh disable`: KubeSpan of a cluster, on and off."""

from collections.abc import Sequence
from typing import Any

import click

from omni.cli import complete
from omni.cli.api import Api
from omni.cli.context import with_api
from omni.cli.mesh import mesh
from omni.cli.names import uuid_of
from omni.cli.output import inert

__all__ = ["mesh"]


@mesh.command("enable")
@click.argument("name", metavar="CLUSTER", shell_complete=complete.clusters)
@click.option("--mtu", type=int, help="Bytes: what the network between nodes carries, less 80. 0: Talos' own [1420].")
@click.option("--pods/--no-pods", default=None, help="Traffic between pods goes through the mesh, too.")
@click.option("--bypass/--no-bypass", default=None, help="Traffic to a node whose tunnel is down goes in clear.")
@click.option("--harvest/--no-harvest", default=None, help="Nodes tell each other where they see others.")
@click.option(
    "--filter", "filters", multiple=True, metavar="NETWORK",
    help="Which own addresses nodes announce; repeat it, in order; !NETWORK takes out. '' for all.",
)  # fmt: skip
@click.option(
    "--exclude", "excluded", multiple=True, metavar="NETWORK",
    help="A network of nodes that stays outside of the mesh; repeat it. '' for none.",
)  # fmt: skip
@click.option(
    "--endpoint", "endpoints", multiple=True, metavar="MACHINE=ADDRESS:PORT",
    help="Where a node behind NAT is reached; repeat it. MACHINE= takes those of a machine away.",
)  # fmt: skip
@with_api
def enable(
    api: Api,
    name: str,
    mtu: int | None,
    pods: bool | None,
    bypass: bool | None,
    harvest: bool | None,
    filters: Sequence[str],
    excluded: Sequence[str],
    endpoints: Sequence[str],
) -> None:
    """Turn KubeSpan on, or change how it is; what is not said stays as it is.

    Machines take the new configuration one after another, without a reboot. Nodes have to reach each other on UDP
    51820.
    """
    now = api.get("clusters", name, "kubespan")
    wanted: dict[str, Any] = dict(now)
    given = {
        "advertise_kubernetes_networks": pods,
        "allow_down_peer_bypass": bypass,
        "harvest_extra_endpoints": harvest,
        "endpoint_filters": [each for each in filters if each] if filters else None,
        "exclude_networks": [each for each in excluded if each] if excluded else None,
    }
    wanted |= {key: value for key, value in given.items() if value is not None}
    if mtu is not None:
        wanted["mtu"] = mtu or None
    wanted["extra_endpoints"] = _endpoints(api, now["extra_endpoints"], endpoints)
    answer = api.put("clusters", name, "kubespan", json=wanted)
    click.echo(f"KubeSpan is on in {name}." if answer != now else f"KubeSpan is on in {name} already; nothing changed.")
    for note in answer["notes"]:
        click.echo(inert(f"note: {note}"))
    if answer != now:
        click.echo(f"Its machines take the new configuration one after another; see: omni mesh show {name}")


def _endpoints(api: Api, now: dict[str, list[str]], given: Sequence[str]) -> dict[str, list[str]]:
    """Those there are, with all of the named machines replaced."""
    said: dict[str, list[str]] = {}
    for text in given:
        machine, equals, endpoint = text.partition("=")
        if not equals or not machine:
            raise click.BadParameter(f"{text!r} is not MACHINE=ADDRESS:PORT", param_hint="--endpoint")
        said.setdefault(uuid_of(api, machine), []).extend([endpoint] if endpoint else [])
    return {**now, **said}


@mesh.command("disable")
@click.argument("name", metavar="CLUSTER", shell_complete=complete.clusters)
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_api
def disable(api: Api, name: str, yes: bool) -> None:
    """Turn KubeSpan off. Nodes that reach each other only through the mesh lose each other."""
    if not api.get("clusters", name, "kubespan")["enabled"]:
        click.echo(f"KubeSpan is off in {name}, as far as it is turned on here.")
        return
    if not yes:
        click.confirm(
            f"Nodes of {name} that reach each other only through the mesh lose each other; control planes may lose "
            "their quorum. Turn KubeSpan off?",
            abort=True,
        )
    answer = api.delete("clusters", name, "kubespan")
    click.echo(f"KubeSpan is off in {name}. Its machines take the new configuration one after another.")
    for note in answer["notes"] if answer else ():
        click.echo(inert(f"note: {note}"))
