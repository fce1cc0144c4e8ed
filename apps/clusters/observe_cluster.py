"""Reading, from the database, what is known of one cluster."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Q

from apps.clusters import images, networks, picking
from apps.clusters.cluster_steps import ClassSet, ClusterFacts, Member, Picked
from apps.clusters.models import Cluster, ClusterMachine, ClusterStatus, MachineSet, MachineSetNode
from apps.clusters.node import Target
from apps.clusters.observe_machine import extension_levels, kernel_args, machine_name, role_of, target
from apps.machines.models import Link, Machine, MachineClass
from apps.machines.queries import labels_of
from apps.reconcile.conditions import State
from nodeagent.tls import Credentials
from talos.selectors import matches_any

NO_MANUAL_ALLOCATION = "omni.sidero.dev/no-manual-allocation"


@dataclass(frozen=True)
class ClusterView:
    """One cluster as a run of its reconciler needs it."""

    facts: ClusterFacts
    targets: dict[str, Target]  # by machine UUID
    row_ids: dict[str, UUID]  # of ClusterMachine, by machine UUID
    kubernetes: Credentials | None
    generation: int

    def control_planes(self) -> list[Member]:
        """Those that can be asked something, the one that started etcd first."""
        able = [member for member in self.facts.members if member.role == "controlplane" and not member.leaving]
        able = [member for member in able if member.connected and member.configured]
        return sorted(able, key=lambda member: (member.uuid != self.facts.bootstrap_uuid, member.uuid))


def facts_of(cluster: Cluster, status: ClusterStatus) -> ClusterFacts:
    """What is known of a cluster. Call it in the tenant's scope."""
    sets = list(MachineSet.objects.filter(cluster=cluster).order_by("name"))
    nodes = list(MachineSetNode.objects.filter(machine_set__in=sets).select_related("machine_set").order_by("id"))
    rows = members_of(cluster)
    return ClusterFacts(
        name=cluster.name,
        deleting=cluster.deleting_at is not None,
        secrets=hasattr(cluster, "secrets"),
        picked=_picked(cluster, nodes, rows),
        members=tuple(_member(row, {node.machine_uuid for node in nodes}) for row in rows),
        classes=tuple(_class_set(cluster, item, nodes) for item in sets if item.machine_class),
        removal_limits=tuple((item.name, picking.parallelism(item.spec, "delete", len(rows))) for item in sets),
        bootstrap_uuid=status.bootstrap_machine_uuid,
        bootstrapped=status.bootstrapped_at is not None,
    )


def members_of(cluster: Cluster) -> list[ClusterMachine]:
    rows = ClusterMachine.objects.filter(cluster=cluster).order_by("id")
    related = ("cluster__secrets", "cluster__status", "machine_set", "machine__link", "machine__observation")
    return list(rows.select_related(*related))


def targets_of(rows: list[ClusterMachine]) -> dict[str, Target]:
    return {row.machine.uuid: target(row) for row in rows}


def _member(row: ClusterMachine, picked: set[str]) -> Member:
    observed = row.machine.observation
    blocking: dict[str, str] = next((item for item in row.conditions if item["state"] != "ok"), {})
    state: State = blocking.get("state", "work")  # type: ignore[assignment]
    return Member(
        uuid=row.machine.uuid,
        name=machine_name(row.machine),
        role=role_of(row),
        set_name=row.machine_set.name if row.machine_set else "",
        wanted=row.machine.uuid in picked,
        leaving=row.leaving_at is not None,
        connected=observed.connected and hasattr(row.machine, "link"),
        installed=bool(row.applied_sha) or any(c["name"] == "installed" and c["state"] == "ok" for c in row.conditions),
        configured=bool(row.applied_sha),
        current=_current(row),
        ready=row.ready,
        reported_member_id=observed.etcd_member_id if role_of(row) == "controlplane" else "",
        etcd_member_id=row.etcd_member_id,
        node_name=row.node_name,
        blocker=blocking.get("message", ""),
        state=state,
    )


def _current(row: ClusterMachine) -> bool:
    """Whether the machine runs the config that is wanted now."""
    rendered = row.observed_generation == row.cluster.generation and not row.config_error
    return rendered and bool(row.applied_sha) and row.applied_sha == row.config_sha


def _picked(cluster: Cluster, nodes: list[MachineSetNode], rows: list[ClusterMachine]) -> tuple[Picked, ...]:
    """Picked machines that are no members yet."""
    mine = {row.machine.uuid for row in rows}
    missing = [node for node in nodes if node.machine_uuid not in mine]
    machines = Machine.objects.filter(uuid__in=[node.machine_uuid for node in missing])
    related = ("observation", "link", "cluster_machine__cluster")
    known = {machine.uuid: machine for machine in machines.select_related(*related)}
    result = []
    for node in missing:
        seen = seen_of(known[node.machine_uuid]) if node.machine_uuid in known else None
        wanted = wanted_of(cluster, node.machine_set, known.get(node.machine_uuid))
        sentence, state = picking.blocker(node.machine_uuid, seen, wanted)
        role = "controlplane" if node.machine_set.role == MachineSet.CONTROL_PLANE else "worker"
        name = seen.name if seen else node.machine_uuid
        result.append(Picked(node.machine_uuid, name, role, sentence, state))  # type: ignore[arg-type]
    return tuple(result)


def seen_of(machine: Machine) -> picking.Seen:
    """A machine as those see it who may pick it."""
    observed, member = machine.observation, getattr(machine, "cluster_machine", None)
    link: Link | None = getattr(machine, "link", None)
    return picking.Seen(
        name=machine_name(machine),
        cluster=member.cluster.name if member else "",
        connected=observed.connected and link is not None,
        api_mode=observed.api_mode,
        talos_version=observed.talos_version,
        installed=observed.installed,
        schematic=observed.schematic,
        reaches_us=link is None or link.reaches_us,
        admin_in_maintenance=link is None or link.admin_in_maintenance,
        networks=networks.observed(observed.network),
    )


def wanted_of(cluster: Cluster, machine_set: MachineSet, machine: Machine | None) -> picking.Wanted:
    """What a cluster asks of a machine that is picked for one of its sets."""
    return picking.Wanted(
        talos_version=cluster.talos_version,
        endpoint=cluster.own_endpoint,
        control_plane=machine_set.role == MachineSet.CONTROL_PLANE,
        schematic=_schematic(cluster, machine_set, machine) if machine and keeps_image(machine) else "",
    )


def keeps_image(machine: Machine) -> bool:
    """Whether a machine goes on to run what is on its disk until it is configured, whatever is wanted."""
    link: Link | None = getattr(machine, "link", None)
    return machine.observation.installed and link is not None and not link.admin_in_maintenance


def _schematic(cluster: Cluster, machine_set: MachineSet, machine: Machine) -> str:
    extensions = images.most_specific(extension_levels(cluster), machine.uuid, machine_set.name)
    return schematic_of(machine, extensions, kernel_args(machine.uuid))


def schematic_of(machine: Machine, extensions: Sequence[str] | None, arguments: Sequence[str] | None) -> str:
    """The schematic that a machine would be given."""
    observed = machine.observation
    installed = [str(item["name"]) for item in observed.extensions]
    return images.wanted_schematic(observed.schematic, installed, extensions, arguments)[0]


def _class_set(cluster: Cluster, machine_set: MachineSet, nodes: list[MachineSetNode]) -> ClassSet:
    own = [node.machine_uuid for node in nodes if node.machine_set_id == machine_set.id]
    row = MachineClass.objects.filter(name=machine_set.machine_class).first()
    wanted = None if machine_set.unlimited else machine_set.machine_count or 0
    short = row is not None and (wanted is None or len(own) < wanted)
    candidates, unfit = _candidates(cluster, machine_set, row) if short and row else ((), "")
    return ClassSet(
        name=machine_set.name,
        role="controlplane" if machine_set.role == MachineSet.CONTROL_PLANE else "worker",
        class_name=machine_set.machine_class,
        wanted=wanted,
        held=_first_to_go(own),
        candidates=candidates,
        problem="" if row else f"there is no machine class {machine_set.machine_class}",
        unfit=unfit,
    )


def _first_to_go(uuids: list[str]) -> tuple[str, ...]:
    """Machines that are gone first, then those that are silent, then the oldest."""
    rows = Machine.objects.filter(uuid__in=uuids).select_related("observation")
    known = {machine.uuid: machine for machine in rows}

    def order(uuid: str) -> tuple[bool, bool, str]:
        machine = known.get(uuid)
        return machine is not None, machine is not None and machine.observation.connected, str(machine and machine.id)

    return tuple(sorted(uuids, key=order))


def _candidates(cluster: Cluster, machine_set: MachineSet, row: MachineClass) -> tuple[tuple[str, ...], str]:
    """Free machines of a class that this cluster can take, the one that joined first in front; why one cannot be."""
    taken = MachineSetNode.objects.values("machine_uuid")
    machines = (
        Machine.objects.filter(cluster_machine=None, link__isnull=False)
        .filter(Q(observation__connected=True) & Q(observation__stage="maintenance"))
        .exclude(uuid__in=taken)
        .select_related("observation", "link")
        .order_by("id")
    )
    fitting, unfit = [], ""
    for machine in machines:
        labels = labels_of(machine)
        if NO_MANUAL_ALLOCATION in labels or not matches_any(row.match_labels, labels):
            continue
        sentence, _ = picking.blocker(machine.uuid, seen_of(machine), wanted_of(cluster, machine_set, machine))
        if sentence:
            unfit = unfit or sentence
        else:
            fitting.append(machine.uuid)
    return tuple(fitting), unfit
