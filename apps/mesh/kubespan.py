"""KubeSpan of a cluster, turned on and off: patches of its nodes' configurations, with names of their own.

They are patches as any others. A template that is exported has them, and a sync of a template without them takes them
away.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from django.core.exceptions import ValidationError

from apps.access.actor import Actor
from apps.access.check import check
from apps.audit.actions import record
from apps.clusters import patch_check, store
from apps.clusters.actions import desired_changed
from apps.clusters.models import Cluster, ClusterMachine, ConfigPatch, MachineSetNode
from apps.clusters.observe_machine import DISABLED, patch_text
from apps.machines.models import Machine
from talos import semver
from talos.config import kubespan
from talos.config.document import ConfigError, load
from talos.config.kubespan import EXCLUDES_SINCE, KubeSpan, patch_name
from talos.contract import VersionContract
from talos.template import Resource
from talos.template import resources as kinds

MANY = 50
"""Nodes from which on a full mesh is felt, and endpoints that nodes tell of others are too much."""

_NAME = "kubespan"

Endpoints = Mapping[str, Sequence[str]]
"""UUID of a machine -> where it can be reached besides its own addresses."""


@dataclass(frozen=True)
class Setup:
    """KubeSpan as a cluster's patches say it. `settings` is None where nobody turned it on here."""

    settings: KubeSpan | None = None
    endpoints: Endpoints = field(default_factory=dict)
    elsewhere: tuple[str, ...] = ()
    """Other patches that say something of KubeSpan, by name."""


def endpoints_name(uuid: str) -> str:
    """Of the patch for one node; that for all is `talos.config.kubespan.patch_name`."""
    return f"500-cm-{uuid}-kubespan"


def read(cluster: Cluster) -> Setup:
    """What is stored."""
    settings, endpoints, elsewhere = None, dict[str, Sequence[str]](), list[str]()
    for row in ConfigPatch.objects.filter(cluster=cluster).order_by("name"):
        if DISABLED in row.labels:
            continue
        text = patch_text(row)
        if row.name == patch_name(cluster.name):
            settings = _settings(text)
        elif row.name == endpoints_name(row.machine_uuid):
            endpoints[row.machine_uuid] = _endpoints(text)
        elif _settings(text) is not None:
            elsewhere.append(row.name)
    return Setup(settings, endpoints, tuple(elsewhere))


def write(actor: Actor, cluster: Cluster, settings: KubeSpan, endpoints: Endpoints) -> None:
    """Have a cluster's nodes form a mesh with these settings. Saying the same twice changes nothing.

    Raises `Denied`, and ValidationError with what is wrong by field; then nothing changed.
    """
    check(actor, "cluster.update", cluster)
    cluster = _locked(cluster)
    given = {uuid: list(values) for uuid, values in endpoints.items() if values}
    wrong = {**_problems(cluster, settings), **_wrong_endpoints(actor, cluster, given)}
    if wrong:
        raise ValidationError(wrong)
    contract = VersionContract.parse(cluster.initial_talos_version)
    wanted = [_patch(cluster, patch_name(cluster.name), kubespan.patch(contract, settings))]
    wanted += [
        _patch(cluster, endpoints_name(uuid), kubespan.endpoints_patch(values), uuid) for uuid, values in given.items()
    ]
    if _replace(cluster, wanted):
        told = {name: value for name, value in asdict(settings).items() if value}
        record(actor, "cluster.kubespan-on", "cluster", cluster.id, cluster.name, **told, endpoints=given)


def turn_off(actor: Actor, cluster: Cluster) -> None:
    """Take away what `write` gave. Raises `Denied`, and ValidationError where other patches need KubeSpan on."""
    check(actor, "cluster.update", cluster)
    cluster = _locked(cluster)
    if _replace(cluster, []):
        record(actor, "cluster.kubespan-off", "cluster", cluster.id, cluster.name)


def notes(cluster: Cluster, setup: Setup) -> Iterator[str]:
    """What to know of it, a sentence each."""
    nodes = ClusterMachine.objects.filter(cluster=cluster, leaving_at=None).count()
    for name in setup.elsewhere:
        yield f"patch {name} says something of KubeSpan, too; what is in force follows the order of patches"
    if setup.settings is None:
        return
    if nodes > MANY:
        yield f"each of the {nodes} nodes has a tunnel to each other: expect memory and CPU on small machines"
    if setup.settings.harvest and nodes > MANY:
        yield f"endpoints that nodes tell of others are {nodes * (nodes - 1)} more updates in a quarter of an hour"
    if setup.settings.allow_down_peer_bypass:
        yield "traffic to a node whose tunnel is down goes in clear, outside of the mesh"


def _locked(cluster: Cluster) -> Cluster:
    """The cluster, kept from syncs and from being destroyed until the transaction ends."""
    store.one_at_a_time()
    row = Cluster.objects.select_for_update().get(id=cluster.id)
    if row.deleting_at is not None:
        raise ValidationError(f"cluster {cluster.name} is being destroyed")
    return row


def _problems(cluster: Cluster, settings: KubeSpan) -> dict[str, list[str]]:
    found = {
        "mtu": KubeSpan(mtu=settings.mtu).problems(),
        "endpoint_filters": KubeSpan(endpoint_filters=settings.endpoint_filters).problems(),
        "exclude_networks": KubeSpan(exclude_networks=settings.exclude_networks).problems(),
    }
    if settings.exclude_networks and semver.parse(cluster.talos_version).core < EXCLUDES_SINCE:
        since = ".".join(map(str, EXCLUDES_SINCE))
        found["exclude_networks"].append(f"networks can be left out from Talos {since} on")
    return {name: problems for name, problems in found.items() if problems}


def _wrong_endpoints(actor: Actor, cluster: Cluster, endpoints: Mapping[str, list[str]]) -> dict[str, list[str]]:
    members = set(ClusterMachine.objects.filter(cluster=cluster).values_list("machine__uuid", flat=True))
    members |= set(MachineSetNode.objects.filter(machine_set__cluster=cluster).values_list("machine_uuid", flat=True))
    found = []
    for uuid, values in endpoints.items():
        if uuid not in members:
            found.append(f"{cluster.name} has no machine {uuid}")
        found += kubespan.endpoint_problems(values)
    if found:
        return {"extra_endpoints": found}
    for machine in Machine.objects.filter(uuid__in=endpoints) if actor.rules else ():
        check(actor, "cluster.update", machine)
    return {}


def _patch(cluster: Cluster, name: str, text: str, uuid: str = "") -> Resource:
    labels = {kinds.LABEL_CLUSTER: cluster.name}
    if uuid:
        labels[kinds.LABEL_CLUSTER_MACHINE] = uuid
    return Resource(kinds.CONFIG_PATCH, name, labels, {"name": _NAME}, {"data": text})


def _replace(cluster: Cluster, wanted: list[Resource]) -> bool:
    """Have these patches in the place of those of this module; whether anything changed. Raises ValidationError."""
    stored = store.of_cluster(cluster)
    ours = {item.id: item for item in stored if item.type == kinds.CONFIG_PATCH and _is_ours(cluster, item)}
    changed = [item for item in wanted if item != ours.get(item.id)]
    gone = [item for name, item in ours.items() if name not in {one.id for one in wanted}]
    if not changed and not gone:
        return False
    desired = [item for item in stored if item.id not in ours] + wanted
    refusals = patch_check.problems(
        desired, cluster.initial_talos_version, cluster.kubernetes_version, cluster.talos_version
    )
    if refusals:
        raise ValidationError({"kubespan": refusals})
    for item in gone:
        store.remove(item)
    for item in changed:
        store.write(item)
    desired_changed(cluster)
    return True


def _is_ours(cluster: Cluster, item: Resource) -> bool:
    uuid = item.labels.get(kinds.LABEL_CLUSTER_MACHINE, "")
    return item.id == (endpoints_name(uuid) if uuid else patch_name(cluster.name))


def _settings(text: str) -> KubeSpan | None:
    try:
        return kubespan.read(load(text))
    except (ConfigError, ValueError, AttributeError, TypeError):  # a patch of another form, or one that nobody takes
        return None


def _endpoints(text: str) -> tuple[str, ...]:
    documents = load(text).all("KubeSpanEndpointsConfig")
    return tuple(str(value) for document in documents for value in document.get("extraAnnouncedEndpoints") or ())
