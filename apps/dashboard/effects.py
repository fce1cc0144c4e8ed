"""What a sync does to machines, in sentences that name them: what is lost first, then what changes, then what stays."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.db.models import Q

from apps.access.actor import Actor
from apps.clusters.decision import count, listed
from apps.clusters.models import ClusterMachine
from apps.clusters.observe_machine import machine_name
from apps.clusters.templates import Review
from apps.machines import queries
from apps.machines.models import Machine
from apps.reconcile.conditions import State
from talos.template import Change, Resource, endpoint_of
from talos.template import resources as kinds

NAMED = 5
"""Objects named in one sentence; the others are counted."""


MACHINES = (kinds.MACHINE_SET_NODE, *kinds.PER_MACHINE)
"""Kinds whose id is a machine's UUID."""


@dataclass(frozen=True)
class Effect:
    """One sentence and how grave it is."""

    shape: State
    text: str


def names_of(review: Review, actor: Actor) -> dict[str, str]:
    """What the machines that a plan is about are called, by UUID; those that have not joined are left out, and those
    that a policy shuts the actor out of.
    """
    uuids = [change.resource.id for change in review.plan.changes() if change.resource.type in MACHINES]
    members = ClusterMachine.objects.filter(cluster__name=review.cluster).values("machine__uuid")
    known = queries.visible(actor, Machine.objects.filter(Q(uuid__in=uuids) | Q(uuid__in=members)))
    return {machine.uuid: machine_name(machine) for machine in known.select_related("observation")}


def effects(review: Review, names: dict[str, str]) -> list[Effect]:
    """What the sync of a template does, gravest first."""
    rows = ClusterMachine.objects.filter(cluster__name=review.cluster, machine__uuid__in=names)
    members = list(rows.select_related("machine", "machine_set"))
    changes = review.plan.changes()
    leaving = _leaving(changes, members)
    touched = leaving | _configured(changes, members)
    found = [*_lost(leaving, names), *_taken(changes, names), *_allocated(changes), *_cluster(changes)]
    configured = touched - leaving
    if configured:
        found.append(_sentence("work", configured, names, "is given a new config", "are given new configs"))
    untouched = {row.machine.uuid for row in members} - touched
    if untouched:
        found.append(_sentence("ok", untouched, names, "is not touched", "are not touched"))
    return found


def _sentence(shape: State, uuids: Iterable[str], names: dict[str, str], one: str, many: str) -> Effect:
    ordered = sorted(names.get(uuid, uuid[:8]) for uuid in uuids)
    if len(ordered) == 1:
        return Effect(shape, f"{ordered[0]} {one}.")
    return Effect(shape, f"{count(len(ordered), 'machine')} {many}: {listed(ordered, NAMED)}.")


def _leaving(changes: list[Change], members: list[ClusterMachine]) -> set[str]:
    """Machines that were picked and no longer are, alone or with their set."""
    gone = {change.resource.key for change in changes if change.new is None}
    sets = {row.machine.uuid: row.machine_set.name for row in members if row.machine_set is not None}
    return {uuid for kind, uuid in gone if kind == kinds.MACHINE_SET_NODE} | {
        uuid for uuid, name in sets.items() if (kinds.MACHINE_SET, name) in gone
    }


def _lost(leaving: set[str], names: dict[str, str]) -> Iterator[Effect]:
    if leaving:
        one = "leaves the cluster: it is wiped and goes back to maintenance mode"
        many = "leave the cluster, are wiped and go back to maintenance mode"
        yield _sentence("bad", leaving, names, one, many)


def _taken(changes: list[Change], names: dict[str, str]) -> Iterator[Effect]:
    """Machines that join: what is on their disks is lost."""
    new = [item.resource for item in changes if item.old is None and item.resource.type == kinds.MACHINE_SET_NODE]
    for label, role in ((kinds.LABEL_CONTROL_PLANE, "control plane"), (kinds.LABEL_WORKER, "worker")):
        uuids = [resource.id for resource in new if label in resource.labels]
        if uuids:
            one = f"joins as {role}: Talos is installed, what is on its system disk is lost"
            many = f"join as {role}s; Talos is installed, what is on their system disks is lost"
            yield _sentence("warn", uuids, names, one, many)


def _allocated(changes: list[Change]) -> Iterator[Effect]:
    for change in changes:
        allocation = change.new.spec.get("machine_allocation") if change.new else None
        if change.resource.type != kinds.MACHINE_SET or not allocation:
            continue
        wanted = "all free machines" if allocation["allocation_type"] else count(allocation["machine_count"], "machine")
        yield Effect("work", f"{change.resource.id} holds {wanted} of class {allocation['name']}.")


def _cluster(changes: list[Change]) -> Iterator[Effect]:
    for change in changes:
        if change.resource.type == kinds.CLUSTER and change.old is None and change.new is not None:
            spec, endpoint = change.new.spec, endpoint_of(change.new.spec)
            reached = f", reached at {endpoint.url} without this installation" if endpoint else ""
            yield Effect(
                "work",
                f"Cluster {change.new.id} is created with Talos {spec['talos_version']} and"
                f" Kubernetes {spec['kubernetes_version']}{reached}.",
            )


def _configured(changes: list[Change], members: list[ClusterMachine]) -> set[str]:
    """Machines of the cluster whose config a changed patch is part of; all of them when its endpoint changes."""
    if any(_another_endpoint(change) for change in changes):
        return {row.machine.uuid for row in members}
    patches = [change.resource for change in changes if change.resource.type == kinds.CONFIG_PATCH]
    return {row.machine.uuid for row in members if any(_applies(patch, row) for patch in patches)}


def _another_endpoint(change: Change) -> bool:
    if change.resource.type != kinds.CLUSTER or change.old is None or change.new is None:
        return False
    return endpoint_of(change.old.spec) != endpoint_of(change.new.spec)


def _applies(patch: Resource, row: ClusterMachine) -> bool:
    machine, set_name = (patch.labels.get(key) for key in (kinds.LABEL_CLUSTER_MACHINE, kinds.LABEL_MACHINE_SET))
    if machine is not None:
        return machine == row.machine.uuid
    return set_name is None or (row.machine_set is not None and row.machine_set.name == set_name)
