"""Stored rows as resources of the template format, and resources as rows: what a plan reads, and what it changes.

Labels and annotations are kept as the resource has them, so that what was stored is what comes back.
"""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import connection
from django.utils import timezone

from apps.clusters.models import Cluster, ConfigPatch, MachineSet, MachineSetNode, TemplateResource
from apps.clusters.observe_machine import patch_text
from apps.tenants import lookups
from apps.tenants.ids import uuid7
from apps.tenants.scope import current_tenant
from apps.tenants.sealing import seal
from talos.template import Resource, endpoint_of, endpoint_spec
from talos.template import resources as kinds

BALANCER_PORTS = range(10000, 35001)
"""On the overlay, one port a cluster."""

LOCKS, SYNCS = 0x6F6E, 0x6F6F  # first keys of our advisory locks

OTHERS = (kinds.EXTENSIONS, kinds.INSTALL_DISK, kinds.MANIFEST_GROUP, kinds.HEALTHCHECK, kinds.KERNEL_ARGS)
"""Kinds without a table of their own."""

LONGEST_ID, LONGEST_IDS = 253, {kinds.CLUSTER: 63, kinds.MACHINE_SET: 130}
"""Characters of the ids of most kinds, and of those that differ."""

WRITE_ORDER = (kinds.CLUSTER, kinds.MACHINE_SET, kinds.MACHINE_SET_NODE, kinds.CONFIG_PATCH, *OTHERS)
"""Rows before those that refer to them; a sync is one transaction, so nobody sees the order."""


# Reading


def stored(cluster: str, desired: list[Resource]) -> list[Resource]:
    """What a plan for a cluster compares with: what it has, and whatever has the id of a desired resource."""
    ids: dict[str, set[str]] = {}
    for resource in desired:
        ids.setdefault(resource.type, set()).add(resource.id)
    machines = ids.get(kinds.MACHINE_SET_NODE, set()) | {
        node.machine_uuid for node in MachineSetNode.objects.filter(machine_set__cluster__name=cluster)
    }
    found = [_cluster(row) for row in Cluster.objects.filter(name=cluster)]
    sets = MachineSet.objects.filter(cluster__name=cluster) | MachineSet.objects.filter(
        name__in=ids.get(kinds.MACHINE_SET, set())
    )
    found += [_machine_set(row) for row in sets.distinct()]
    found += [_node(row) for row in MachineSetNode.objects.filter(machine_uuid__in=machines).select_related()]
    patches = ConfigPatch.objects.filter(cluster__name=cluster) | ConfigPatch.objects.filter(
        name__in=ids.get(kinds.CONFIG_PATCH, set())
    )
    found += [_patch(row) for row in patches.distinct()]
    for kind in OTHERS:
        rows = TemplateResource.objects.filter(kind=kind)
        if kind in kinds.PER_MACHINE:
            rows = rows.filter(name__in=machines | ids.get(kind, set()))
        else:
            rows = rows.filter(cluster__name=cluster) | rows.filter(name__in=ids.get(kind, set()))
        found += [Resource(kind, row.name, row.labels, row.annotations, row.spec) for row in rows.distinct()]
    return found


def of_cluster(cluster: Cluster) -> list[Resource]:
    """Everything a template of this cluster says."""
    return stored(cluster.name, [])


def _cluster(row: Cluster) -> Resource:
    spec = {
        "kubernetes_version": row.kubernetes_version,
        "talos_version": row.talos_version,
        "features": row.features,
        "backup_configuration": row.backup_configuration or None,
        **endpoint_spec(row.own_endpoint),
    }
    return Resource(kinds.CLUSTER, row.name, row.labels, row.annotations, spec)


def _machine_set(row: MachineSet) -> Resource:
    return Resource(kinds.MACHINE_SET, row.name, row.labels, row.annotations, row.spec)


def _node(row: MachineSetNode) -> Resource:
    if not row.by_class:
        return Resource(kinds.MACHINE_SET_NODE, row.machine_uuid, row.labels, row.annotations, {})
    owner = f"machine set {row.machine_set.name}, which takes machines by class"
    return Resource(kinds.MACHINE_SET_NODE, row.machine_uuid, {kinds.LABEL_MANAGED_NODE: ""}, {}, {}, owner)


def _patch(row: ConfigPatch) -> Resource:
    return Resource(kinds.CONFIG_PATCH, row.name, row.labels, row.annotations, {"data": patch_text(row)})


# Writing


def write(resource: Resource) -> None:
    """Create or replace the row of a resource. Rows it refers to must be there: write in `WRITE_ORDER`."""
    match resource.type:
        case kinds.CLUSTER:
            _write_cluster(resource)
        case kinds.MACHINE_SET:
            _write_machine_set(resource)
        case kinds.MACHINE_SET_NODE:
            machine_set = MachineSet.objects.get(name=resource.labels[kinds.LABEL_MACHINE_SET])
            _upsert(MachineSetNode, {"machine_uuid": resource.id}, resource, machine_set=machine_set, by_class=False)
        case kinds.CONFIG_PATCH:
            _write_patch(resource)
        case _:
            cluster = None if resource.type in kinds.PER_MACHINE else Cluster.objects.get(name=resource.cluster)
            key = {"kind": resource.type, "name": resource.id}
            _upsert(TemplateResource, key, resource, cluster=cluster, spec=resource.spec)


def remove(resource: Resource) -> None:
    """Delete the row of a resource; a cluster begins to be torn down, everything of it goes with it in the end."""
    match resource.type:
        case kinds.CLUSTER:
            Cluster.objects.filter(name=resource.id, deleting_at=None).update(deleting_at=timezone.now())
        case kinds.MACHINE_SET:
            MachineSet.objects.filter(name=resource.id).delete()
        case kinds.MACHINE_SET_NODE:
            MachineSetNode.objects.filter(machine_uuid=resource.id).delete()
        case kinds.CONFIG_PATCH:
            ConfigPatch.objects.filter(name=resource.id).delete()
        case _:
            TemplateResource.objects.filter(kind=resource.type, name=resource.id).delete()


def one_at_a_time() -> None:
    """Keep other syncs of this organisation out until the transaction ends, and whoever else picks machines.

    What was planned is then what is written: no cluster or machine becomes another's between.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [SYNCS, str(current_tenant())])


def free_balancer_port() -> int:
    """The first port that no cluster of any organisation has, kept from others until this transaction ends.

    Raises ValidationError when all are taken.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, 1)", [LOCKS])
    taken = lookups.taken_balancer_ports()
    for port in BALANCER_PORTS:
        if port not in taken:
            return port
    raise ValidationError("This installation has no free load balancer port left; remove a cluster first.")


def _write_cluster(resource: Resource) -> None:
    spec = resource.spec
    endpoint = endpoint_of(spec)
    fields: dict[str, Any] = {
        "kubernetes_version": spec["kubernetes_version"],
        "talos_version": spec["talos_version"],
        "endpoint_address": endpoint.address,
        "virtual_ip": endpoint.virtual_ip,
        "features": spec.get("features") or {},
        "backup_configuration": spec.get("backup_configuration") or {},
    }
    if not Cluster.objects.filter(name=resource.id).exists():
        fields |= {"initial_talos_version": spec["talos_version"], "balancer_port": free_balancer_port()}
    _upsert(Cluster, {"name": resource.id}, resource, **fields)


def _write_machine_set(resource: Resource) -> None:
    allocation = resource.spec.get("machine_allocation") or {}
    _upsert(
        MachineSet,
        {"name": resource.id},
        resource,
        cluster=Cluster.objects.get(name=resource.cluster),
        role=MachineSet.CONTROL_PLANE if kinds.LABEL_CONTROL_PLANE in resource.labels else MachineSet.WORKER,
        machine_class=str(allocation.get("name", "")),
        machine_count=None if allocation.get("allocation_type") else allocation.get("machine_count"),
        unlimited=bool(allocation.get("allocation_type")),
        spec=resource.spec,
    )


def _write_patch(resource: Resource) -> None:
    """A patch with the level its labels give it; its text is sealed for its row."""
    labels, row = resource.labels, ConfigPatch.objects.filter(name=resource.id).first()
    row_id = row.id if row else uuid7()
    set_name, uuid = labels.get(kinds.LABEL_MACHINE_SET), labels.get(kinds.LABEL_CLUSTER_MACHINE, "")
    fields = {
        "cluster": Cluster.objects.get(name=resource.cluster),
        "machine_set": MachineSet.objects.filter(name=set_name).first() if set_name and not uuid else None,
        "machine_uuid": uuid,
    }
    if row is None or patch_text(row) != resource.spec["data"]:
        fields["sealed"] = seal(resource.spec["data"].encode(), current_tenant(), row_id)
    if row is None:
        fields["id"] = row_id
    _upsert(ConfigPatch, {"name": resource.id}, resource, **fields)


def _upsert(model: type[Any], key: dict[str, Any], resource: Resource, **fields: Any) -> None:
    values = {**fields, "labels": resource.labels, "annotations": resource.annotations}
    updated = {name: value for name, value in values.items() if name != "id"}
    model.objects.update_or_create(
        **key, defaults=updated, create_defaults={**key, **values, "organisation_id": current_tenant()}
    )
