"""Reading clusters: lists with everything they show, in a constant number of queries."""

from django.db.models import Count, Q, QuerySet

from apps.access.actor import Actor
from apps.access.check import hidden_by
from apps.access.facts import Facts
from apps.clusters import credentials, store
from apps.clusters.models import Cluster, ClusterMachine, MachineSet
from apps.machines import queries as machines
from apps.machines.models import Machine
from nodeagent import inventory
from nodeagent.tls import Credentials
from talos import template

SORTS = {
    "name": ("name",),
    "created": ("created_at", "name"),
    "kubernetes": ("kubernetes_version", "name"),
    "talos": ("talos_version", "name"),
}


def clusters() -> QuerySet[Cluster]:
    """All clusters of the organisation in scope, with their status and how many machines they have."""
    return Cluster.objects.select_related("status", "secrets").annotate(
        machines_total=Count("machines", distinct=True),
        machines_ready=Count("machines", filter=Q(machines__ready=True), distinct=True),
        machines_connected=Count("machines", filter=Q(machines__machine__observation__connected=True), distinct=True),
        machines_wanted=Count("machine_sets__nodes", distinct=True),
    )


def visible(actor: Actor, rows: QuerySet[Cluster]) -> QuerySet[Cluster]:
    """Those of the clusters that no policy shuts an actor out of."""
    rules = hidden_by(actor)
    if not rules:
        return rows
    found = Cluster.objects.values_list("id", "name", "labels")
    facts = {id: Facts("cluster", str(id), name, name, labels) for id, name, labels in found}
    return rows.exclude(id__in=[id for id, one in facts.items() if any(rule.covers(one) for rule in rules)])


def search(rows: QuerySet[Cluster], text: str) -> QuerySet[Cluster]:
    """Narrow by words in the name, and `ready=true`, `phase=running`, `talos=1.13.8`. Raises ValueError."""
    fields = {"phase": "status__phase", "talos": "talos_version", "kubernetes": "kubernetes_version"}
    for word in text.split():
        key, found, value = word.partition("=")
        if not found:
            rows = rows.filter(name__icontains=word)
        elif key == "ready":
            rows = rows.filter(status__ready=value in ("true", "yes", "1"))
        elif key in fields:
            rows = rows.filter(**{fields[key]: value})
        else:
            raise ValueError(f"“{key}” is nothing clusters can be filtered by; try ready, {', '.join(fields)}")
    return rows


def machines_of(cluster: Cluster) -> QuerySet[ClusterMachine]:
    """The machines of a cluster, control planes first."""
    return (
        ClusterMachine.objects.filter(cluster=cluster)
        .select_related("cluster", "machine_set", "machine__observation", "machine__link")
        .order_by("role", "machine__uuid")
    )


def machines_seen(actor: Actor, cluster: Cluster) -> QuerySet[ClusterMachine]:
    """Those of a cluster's machines that no policy shuts an actor out of."""
    rows = machines_of(cluster)
    if not hidden_by(actor):
        return rows
    return rows.filter(machine__in=machines.visible(actor, Machine.objects.all()))


def node_addresses(cluster: Cluster) -> tuple[list[str], list[str]]:
    """The nodes' own addresses, one each: (control planes, all). A virtual IP is nobody's own."""
    control_planes, all_nodes = [], []
    for row in machines_of(cluster).filter(leaving_at=None):
        addresses = inventory.node_addresses(row.machine.observation.addresses)
        addresses = [address for address in addresses if address != cluster.virtual_ip]
        if addresses:
            all_nodes.append(addresses[0])
            if row.role == MachineSet.CONTROL_PLANE:
                control_planes.append(addresses[0])
    return control_planes, all_nodes


def reached_by_machines(cluster: Cluster) -> bool:
    """Whether any machine of the cluster has a link over which it reaches this installation."""
    return any(row.machine.link.reaches_us for row in machines_of(cluster) if hasattr(row.machine, "link"))


def machine_credentials(machine_id: object) -> Credentials | None:
    """What proves us to a machine that was configured by its cluster; None for one in no cluster."""
    row = ClusterMachine.objects.filter(machine_id=machine_id).select_related("cluster__secrets").first()
    secrets = getattr(row.cluster, "secrets", None) if row else None
    return credentials.talos_credentials(secrets) if secrets else None


def sets_of_class(name: str) -> list[str]:
    """Machine sets that take their machines by a class."""
    return list(MachineSet.objects.filter(machine_class=name).order_by("name").values_list("name", flat=True))


def export(cluster: Cluster) -> str:
    """The cluster as a template that syncs to no change. Raises `talos.template.ExportError`."""
    return template.export(cluster.name, store.of_cluster(cluster))
