"""Cluster templates against what is stored: the plan of a sync, what stands in its way, what is only said."""

from collections.abc import Iterator
from dataclasses import dataclass

from apps.clusters import discovery, machine_check, networks, patch_check, store
from apps.clusters.models import Cluster, ClusterMachine, MachineSetNode
from apps.machines.models import Machine, MachineClass
from talos import semver, template, versions
from talos.config import cel, kubespan
from talos.template import Plan, ReadFile, Resource, Template
from talos.template import resources as kinds

LATER = {
    kinds.MANIFEST_GROUP: "Kubernetes manifests",
    kinds.HEALTHCHECK: "Kubernetes health checks",
}
"""Kinds that are stored and not acted on yet, in words."""

LATER_FEATURES = {
    "enable_workload_proxy": "features.enableWorkloadProxy",
    "enable_node_audit_skip": "features.enableNodeAuditSkip",
}


@dataclass(frozen=True)
class Review:
    """What a sync would do. With `refusals` it does nothing."""

    cluster: str
    plan: Plan
    refusals: list[str]
    warnings: list[str]


def read(text: bytes | str, read_file: ReadFile) -> tuple[Template, list[Resource]]:
    """A valid template and its resources. Raises TemplateError with everything that is wrong."""
    parsed = template.load(text)
    template.validate(parsed, read_file)
    return parsed, template.translate(parsed, read_file)


def review(text: bytes | str, read_file: ReadFile) -> Review:
    """Compare a template with what is stored. Raises TemplateError."""
    parsed, desired = read(text, read_file)
    name = parsed.cluster.name
    planned = template.plan(name, desired, store.stored(name, desired))
    cluster = Cluster.objects.filter(name=name).first()
    subnets = patch_check.subnets(desired, _contract(desired, cluster))
    refusals = [
        *template.problems(parsed),
        *planned.conflicts,
        *_refusals(desired, planned, cluster),
        *networks.endpoint_refusals(template.endpoint_of(machine_check.spec_of(desired)), subnets),
    ]
    refusals = refusals or _patch_refusals(desired, planned, cluster)
    warnings = [
        *template.warnings(parsed),
        *_warnings(desired, planned, cluster),
        *machine_check.warnings(desired, planned, subnets),
    ]
    return Review(name, planned, refusals, warnings)


def review_removal(cluster: Cluster) -> Review:
    """What destroying a cluster removes."""
    stored = store.of_cluster(cluster)
    going = [resource for resource in stored if resource.type == kinds.CLUSTER]
    refusals = [f"cluster {cluster.name} is being destroyed already"] if cluster.deleting_at else []
    return Review(cluster.name, Plan(destroy=[going]), refusals, [])


def _refusals(desired: list[Resource], planned: Plan, cluster: Cluster | None) -> Iterator[str]:
    if cluster is not None and cluster.deleting_at is not None:
        yield f"cluster {cluster.name} is being destroyed; wait until its machines are free"
    for resource in desired:
        yield from _id_refusals(resource)
        if resource.type == kinds.CLUSTER:
            yield from _cluster_refusals(resource, cluster)
        if resource.type == kinds.MACHINE_SET:
            yield from _set_refusals(resource)
        if resource.type == kinds.INSTALL_DISK and (selector := str(resource.spec.get("disk_selector") or "")):
            wrong = cel.problem(selector, cel.DISK)
            if wrong:
                yield f"install.diskSelector of {resource.id} is no expression over a disk:\n{wrong}"
    if cluster is not None:
        for group in planned.destroy:
            yield from (_removal_refusal(resource) for resource in group if _is_control_plane(resource))
    for change in planned.update:
        if change.new is not None and change.new.type == kinds.MACHINE_SET and change.old is not None:
            yield from _set_change_refusals(change.old, change.new)
    yield from machine_check.refusals(desired, planned, cluster)


def _id_refusals(resource: Resource) -> Iterator[str]:
    longest = store.LONGEST_IDS.get(resource.type, store.LONGEST_ID)
    if len(resource.id) > longest:
        yield f"the name {resource.id[:40]}... has {len(resource.id)} characters; at most {longest} are kept"
    if resource.type in (kinds.MACHINE_SET_NODE, *kinds.PER_MACHINE) and resource.id != resource.id.lower():
        yield f"machine {resource.id} is known by its id in lower case: write {resource.id.lower()}"


def _set_change_refusals(old: Resource, new: Resource) -> Iterator[str]:
    was, will = old.spec.get("machine_allocation"), new.spec.get("machine_allocation")
    held = MachineSetNode.objects.filter(machine_set__name=new.id).count()
    if held and bool(was) != bool(will):
        yield f"{new.id} has machines; empty it before it changes between machines and machineClass"
    if will and _is_control_plane(new) and not will["allocation_type"] and will["machine_count"] < held:
        yield f"{new.id} cannot have fewer machines than {held}: taking control planes out is not supported yet"


def _cluster_refusals(resource: Resource, cluster: Cluster | None) -> Iterator[str]:
    if resource.spec["features"].get("disk_encryption"):
        yield "features.diskEncryption is not supported yet: leave it out"
    wanted = resource.spec["talos_version"]
    before, began_with = (cluster.features, cluster.initial_talos_version) if cluster else ({}, wanted)
    yield from discovery.refusals(resource.spec["features"], before, began_with)
    if wanted in versions.DENIED_TALOS and (cluster is None or cluster.talos_version != wanted):
        yield f"Talos {wanted} was published broken: take another version"
    if cluster is None:
        return
    wants, first = semver.parse(wanted), semver.parse(cluster.initial_talos_version)
    if (wants.major, wants.minor) < (first.major, first.minor):
        yield f"talos.version {wants} is older than {first}, with which the cluster began: its configs would not fit"


def _set_refusals(resource: Resource) -> Iterator[str]:
    if resource.spec.get("bootstrap_spec"):
        yield f"bootstrapSpec of {resource.id} is not supported yet: leave it out"
    allocation = resource.spec.get("machine_allocation")
    if allocation and not MachineClass.objects.filter(name=allocation["name"]).exists():
        yield f"{resource.id} wants machines of class {allocation['name']}, which does not exist; make it first"


def _is_control_plane(resource: Resource) -> bool:
    holds_machines = resource.type in (kinds.MACHINE_SET, kinds.MACHINE_SET_NODE)
    return holds_machines and kinds.LABEL_CONTROL_PLANE in resource.labels


def _removal_refusal(resource: Resource) -> str:
    return f"{resource.id} is part of the control plane; taking control planes out is not supported yet: put it back"


def _patch_refusals(desired: list[Resource], planned: Plan, cluster: Cluster | None) -> list[str]:
    """What patches would make of configs, where what the plan changes decides on that."""
    decides = (kinds.CLUSTER, kinds.MACHINE_SET, kinds.CONFIG_PATCH)
    if not any(change.new is not None and change.new.type in decides for change in planned.changes()):
        return []
    spec = machine_check.spec_of(desired)
    return patch_check.problems(desired, _contract(desired, cluster), spec["kubernetes_version"], spec["talos_version"])


def _contract(desired: list[Resource], cluster: Cluster | None) -> str:
    return cluster.initial_talos_version if cluster else str(machine_check.spec_of(desired)["talos_version"])


def _warnings(desired: list[Resource], planned: Plan, cluster: Cluster | None) -> Iterator[str]:
    """What is stored but not acted on yet, and what the cluster will wait for."""
    for kind, words in LATER.items():
        if any(resource.type == kind for resource in desired):
            yield f"{words} are stored and not acted on yet"
    for resource in desired:
        if resource.type == kinds.CLUSTER:
            yield from _cluster_warnings(resource, cluster)
        if resource.type == kinds.MACHINE_SET and resource.spec.get("upgrade_strategy_config"):
            yield f"upgradeStrategy of {resource.id} is stored and not acted on yet"
        if resource.type == kinds.MACHINE_SET_NODE and kinds.ANNOTATION_LOCKED in resource.annotations:
            yield f"locked of {resource.id} is stored and not acted on yet: configs go on to change"
    for change in planned.update:
        yield from _change_warnings(change)
        yield from _endpoint_warnings(change)
    for resource in (item for group in planned.destroy for item in group if item.type == kinds.CONFIG_PATCH):
        if resource.id == kubespan.patch_name(resource.cluster or ""):
            yield (
                f"patch {resource.id}, by which KubeSpan was turned on, is not in the template: the mesh is turned "
                "off; to keep it, export the template anew or add the patch"
            )
    picked = {resource.id for resource in planned.create if resource.type == kinds.MACHINE_SET_NODE}
    for missing in sorted(picked - set(Machine.objects.filter(uuid__in=picked).values_list("uuid", flat=True))):
        yield f"machine {missing} has not joined yet: the cluster waits for it"


def _cluster_warnings(resource: Resource, cluster: Cluster | None) -> Iterator[str]:
    before, began_with = (cluster.features, cluster.initial_talos_version) if cluster else (None, "")
    yield from discovery.warnings(resource.spec["features"], before, began_with or str(resource.spec["talos_version"]))
    for name, words in LATER_FEATURES.items():
        if resource.spec["features"].get(name):
            yield f"{words} is stored and not acted on yet"
    if resource.spec.get("backup_configuration"):
        yield "features.backupConfiguration is stored and not acted on yet"


def _endpoint_warnings(change: template.Change) -> Iterator[str]:
    """What another endpoint does to a cluster that runs."""
    if change.old is None or change.new is None or change.new.type != kinds.CLUSTER:
        return
    was, will = template.endpoint_of(change.old.spec), template.endpoint_of(change.new.spec)
    if was.url != will.url:
        yield (
            f"the endpoint goes from {was.url or 'that of this installation'} to "
            f"{will.url or 'that of this installation'}: all machines take new configs, one control plane at a time; "
            "kubeconfigs that name the old one stop working when it ends; tokens of service accounts name it as their "
            "issuer, so restart pods that are refused by the API"
        )


def _change_warnings(change: template.Change) -> Iterator[str]:
    old, new = change.old, change.new
    if old is None or new is None:
        return
    for field, words in (("talos_version", "Talos"), ("kubernetes_version", "Kubernetes")):
        if new.type == kinds.CLUSTER and old.spec[field] != new.spec[field]:
            yield (
                f"{words} {old.spec[field]} to {new.spec[field]}: upgrades are not done yet; "
                "machines keep what they run, new ones start with the new version"
                if field == "talos_version"
                else f"{words} {old.spec[field]} to {new.spec[field]}: upgrades are not done yet"
            )
    in_use = new.type in (kinds.EXTENSIONS, kinds.KERNEL_ARGS) and old.spec != new.spec
    if in_use and ClusterMachine.objects.exclude(applied_sha="").exists():
        yield f"{new.id}: machines that are installed keep their image until upgrades are done"
