"""The machines of a template against what it asks of them: what could never be is refused before it is stored."""

from collections.abc import Iterator
from typing import Any

from apps.clusters import images, networks, picking
from apps.clusters.models import Cluster, ClusterMachine
from apps.clusters.observe_cluster import keeps_image, schematic_of, seen_of
from apps.clusters.observe_machine import kernel_args, machine_name, role_of
from apps.machines.models import Machine
from talos import template
from talos.template import Plan, Resource
from talos.template import resources as kinds


def spec_of(desired: list[Resource]) -> dict[str, Any]:
    """What a template says of the cluster itself."""
    return next(resource.spec for resource in desired if resource.type == kinds.CLUSTER)


def refusals(desired: list[Resource], planned: Plan, cluster: Cluster | None) -> Iterator[str]:
    """Machines of the cluster that could never be what the template makes of them."""
    spec = spec_of(desired)
    picked = {item.id: item for item in desired if item.type == kinds.MACHINE_SET_NODE}
    new = _new(planned)
    other_endpoint = cluster is None or cluster.own_endpoint != template.endpoint_of(spec)
    members = set(ClusterMachine.objects.filter(cluster=cluster).values_list("machine__uuid", flat=True))
    known = Machine.objects.filter(uuid__in=picked.keys() | members)
    related = ("observation", "link", "cluster_machine__cluster", "cluster_machine__machine_set")
    for machine in known.select_related(*related):
        seen, resource = seen_of(machine), picked.get(machine.uuid)
        member: ClusterMachine | None = getattr(machine, "cluster_machine", None)
        wanted = _wanted(machine, resource, member, spec, desired)
        mine = member is not None and cluster is not None and member.cluster_id == cluster.id
        if machine.uuid in new and not mine:
            sentence, state = picking.blocker(machine.uuid, seen, wanted)
            sentence = sentence if state == "bad" else ""
        elif other_endpoint and (resource is not None or _stays(member, desired)):
            sentence = picking.endpoint_problem(seen, wanted)
        else:
            continue
        if sentence:
            yield sentence.rstrip(".")


def _stays(member: ClusterMachine | None, desired: list[Resource]) -> bool:
    """Whether a member stays although nobody named it: in a set that takes its machines by class."""
    if member is None or member.leaving_at is not None or member.machine_set is None:
        return False
    sets = [item for item in desired if item.type == kinds.MACHINE_SET and item.spec.get("machine_allocation")]
    return any(item.id == member.machine_set.name for item in sets)


def _wanted(
    machine: Machine, resource: Resource | None, member: ClusterMachine | None, spec: dict[str, Any],
    desired: list[Resource],
) -> picking.Wanted:  # fmt: skip
    """What the template asks of a machine."""
    control_plane = kinds.LABEL_CONTROL_PLANE in resource.labels if resource else member and role_of(member) != "worker"
    return picking.Wanted(
        talos_version=spec["talos_version"],
        endpoint=template.endpoint_of(spec),
        control_plane=bool(control_plane),
        schematic=_schematic(machine, resource, desired) if resource and keeps_image(machine) else "",
    )


def _schematic(machine: Machine, resource: Resource, desired: list[Resource]) -> str:
    levels = [(item.labels, item.spec["extensions"]) for item in desired if item.type == kinds.EXTENSIONS]
    extensions = images.most_specific(levels, machine.uuid, resource.labels.get(kinds.LABEL_MACHINE_SET, ""))
    arguments = [item.spec["args"] for item in desired if item.key == (kinds.KERNEL_ARGS, machine.uuid)]
    return schematic_of(machine, extensions, arguments[0] if arguments else kernel_args(machine.uuid))


def warnings(desired: list[Resource], planned: Plan, subnets: networks.Subnets) -> Iterator[str]:
    """Machines whose addresses Kubernetes would take for its own, and an endpoint that is one machine."""
    picked = {item.id: item for item in desired if item.type == kinds.MACHINE_SET_NODE}
    new = _new(planned)
    endpoint = template.endpoint_of(spec_of(desired))
    for machine in Machine.objects.filter(uuid__in=picked).select_related("observation").order_by("uuid"):
        addresses = machine.observation.addresses
        hosts = [address.partition("/")[0] for address in addresses]
        warning = networks.hidden(machine_name(machine), addresses, subnets) if machine.uuid in new else ""
        if warning:
            yield warning
        if endpoint.host != endpoint.virtual_ip and endpoint.host in hosts:
            yield f"endpoint.address is {machine_name(machine)} alone: the cluster cannot be reached while it is away"


def _new(planned: Plan) -> set[str]:
    """Machines that a sync would pick."""
    return {resource.id for resource in planned.create if resource.type == kinds.MACHINE_SET_NODE}
