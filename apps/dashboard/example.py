"""The template that the editor begins with: a cluster of the machines that are free now."""

from apps.access.actor import Actor
from apps.access.check import allowed
from apps.clusters import networks
from apps.clusters.models import Cluster
from apps.clusters.observe_machine import machine_name
from apps.machines import queries
from apps.machines.models import Machine
from talos import versions

MACHINES = 5
LOOKED_AT = 100
NAME = "my-cluster"
NOBODY = "00000000-0000-4000-8000-000000000000"


def example(actor: Actor) -> str:
    """A valid template of up to five free machines, that they may use if there are such; of one that is named in words
    where none is free.
    """
    found = list(
        queries.visible(actor, Machine.objects.filter(cluster_machine=None, link__isnull=False))
        .filter(observation__connected=True, observation__stage="maintenance")
        .select_related("observation", "link")
        .order_by("observation__hostname", "uuid")[: LOOKED_AT if actor.rules else MACHINES]
    )
    free = ([machine for machine in found if allowed(actor, "template.sync", on=machine)] or found)[:MACHINES]
    talos = next((m.observation.talos_version.removeprefix("v") for m in free), "") or versions.CURRENT_TALOS
    try:
        kubernetes = versions.default_kubernetes(talos)
    except ValueError:
        talos, kubernetes = versions.CURRENT_TALOS, versions.default_kubernetes(versions.CURRENT_TALOS)
    split = 3 if len(free) >= 3 else 1
    documents = [
        f"kind: Cluster\nname: {_free_name()}\nkubernetes:\n  version: v{kubernetes}\ntalos:\n  version: v{talos}\n"
        f"{_endpoint(free, free[:split])}",
        f"kind: ControlPlane\nmachines:{_machines(free[:split])}",
    ]
    if free[split:]:
        documents.append(f"kind: Workers\nmachines:{_machines(free[split:])}")
    return "---\n".join(documents)


def _endpoint(machines: list[Machine], control_planes: list[Machine]) -> str:
    """A hint at the cluster's own endpoint where machines need one: nobody can guess which address is free."""
    if all(machine.link.reaches_us for machine in machines):
        return ""
    shared = [{item.network for item in networks.observed(m.observation.network)} for m in control_planes]
    network = min(set.intersection(*shared), default="")
    where = f"in {network}" if network else "in the network of the control planes"
    return f"# Machines behind an agent need it; take an unused address {where}.\n# endpoint:\n#   virtualIP:\n"


def _machines(machines: list[Machine]) -> str:
    if not machines:
        return f"\n  # No machine is free now. Put the UUID of one that joins later here.\n  - {NOBODY}\n"
    return "\n" + "".join(f"  - {machine.uuid} # {machine_name(machine)}\n" for machine in machines)


def _free_name() -> str:
    taken = set(Cluster.objects.filter(name__startswith=NAME).values_list("name", flat=True))
    names = [NAME, *(f"{NAME}-{number}" for number in range(2, len(taken) + 2))]
    return next(name for name in names if name not in taken)
