"""Reading, from the database, what is known of one machine of a cluster."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from apps.clusters import credentials, discovery, images, networks, picking, render
from apps.clusters.machine_steps import Call, Facts, Live, Role
from apps.clusters.models import Cluster, ClusterMachine, ConfigPatch, MachineSet, Operation, TemplateResource
from apps.clusters.node import Target
from apps.images import factory
from apps.images.actions import want
from apps.images.models import Schematic
from apps.machines.joinpage import machine_documents
from apps.machines.models import Link, Machine, MachineObservation
from apps.tenants.sealing import unseal
from talos import images as image_names
from talos import siderolink, template
from talos.template import resources as kinds

FORGET_FOR = timedelta(minutes=10)
"""How long the Kubernetes node of a machine that left is tried to be deleted."""

DISABLED = kinds.SYSTEM_PREFIX + "disabled"


@dataclass(frozen=True)
class MachineView:
    """One machine as a run of its reconciler needs it."""

    facts: Facts
    target: Target
    cluster_id: UUID
    machine_id: UUID
    generation: int
    inputs: render.Inputs | None  # of its configuration; None while something is missing
    others: tuple[tuple[str, Target], ...]  # the other control planes, by name


def view(row: ClusterMachine) -> MachineView:
    """What is known of a machine. Call it in the tenant's scope; it may store a schematic that is new."""
    cluster, machine, observed = row.cluster, row.machine, row.machine.observation
    schematic_id, schematic = wanted_schematic(row)
    patches = _patches(row)
    disk, disk_problem = _disk(row, patches)
    image = _image(cluster, observed, schematic_id)
    inputs = _inputs(row, patches, disk, image)
    holders, slots = _slots(row)
    fingerprint = inputs.fingerprint() if inputs else ""
    calls = {call.finished_at is None: call for call in _calls(row)}
    leaving = row.leaving_at is not None
    facts = Facts(
        name=machine_name(machine),
        role=role_of(row),
        connected=observed.connected and hasattr(machine, "link"),
        talos_version=cluster.talos_version,
        admin_in_maintenance=_admin_in_maintenance(row),
        config_installs=_config_installs(row),
        schematic=schematic_id,
        schematic_ready=schematic is None or schematic.registered_at is not None,
        schematic_error=schematic.last_error if schematic else "",
        image=image,
        disk=disk,
        disk_problem=disk_problem,
        render_needed=inputs is not None and fingerprint != row.config_inputs,
        render_error=row.config_error if fingerprint == row.config_inputs else "",
        config_sha=row.config_sha,
        refused_sha=row.refused_sha,
        refusal=row.refusal,
        applied_sha=row.applied_sha,
        applied_at=row.applied_at,
        open=_call(calls.get(True)),
        installed=_call(calls.get(False)),
        touched=row.applied_at is not None or Operation.objects.filter(cluster_machine=row).exists(),
        leaving=leaving,
        cluster_leaving=cluster.deleting_at is not None,
        node_name=row.node_name,
        forget_until=row.leaving_at + FORGET_FOR if row.leaving_at else None,
        bootstrapped=_bootstrapped(cluster),
        slot_held=row.slot_at is not None,
        slot_holders=holders,
        slots=slots,
        seen=_seen(observed),
    )
    return MachineView(
        facts=facts,
        target=target(row),
        cluster_id=cluster.id,
        machine_id=machine.id,
        generation=cluster.generation,
        inputs=inputs,
        others=_other_control_planes(row),
    )


def machine_name(machine: Machine) -> str:
    """How people know a machine: its host name, or the start of its UUID."""
    return machine.observation.hostname or machine.uuid[:8]


def role_of(row: ClusterMachine) -> Role:
    return "controlplane" if row.role == MachineSet.CONTROL_PLANE else "worker"


def target(row: ClusterMachine) -> Target:
    """How to reach a machine of a cluster."""
    link, secrets = getattr(row.machine, "link", None), getattr(row.cluster, "secrets", None)
    return Target(
        uuid=row.machine.uuid,
        address=str(link.address) if link else "",
        role=role_of(row),
        credentials=credentials.talos_credentials(secrets) if secrets else None,
        configured=bool(row.applied_sha),
        fingerprint=link.required_fingerprint if link else "",
    )


def _bootstrapped(cluster: Cluster) -> bool:
    status = getattr(cluster, "status", None)
    return status is not None and status.bootstrapped_at is not None


def _seen(observed: MachineObservation) -> Live | None:
    if observed.api_mode not in ("maintenance", "secure") or not observed.talos_version:
        return None
    return Live(
        mode=observed.api_mode,  # type: ignore[arg-type]
        version=observed.talos_version.removeprefix("v"),
        stage=observed.stage,
        ready=observed.ready,
        boot_id=observed.boot_id,
        system_disk=observed.system_disk,
        schematic=observed.schematic,
    )


def _calls(row: ClusterMachine) -> list[Operation]:
    """The last installation that ended, and the operation that is open."""
    ended = Operation.objects.filter(cluster_machine=row, kind__in=("install", "upgrade")).exclude(finished_at=None)
    running = Operation.objects.filter(cluster_machine=row, finished_at=None)
    return [*ended.order_by("-id")[:1], *running]


def _call(row: Operation | None) -> Call | None:
    if row is None:
        return None
    return Call(row.kind, row.tried_at, row.boot_id, row.target, row.attempts, row.error, row.permanent)


def wanted_schematic(row: ClusterMachine) -> tuple[str, Schematic | None]:
    """The schematic the machine shall run, and its row if the factory has to know it."""
    observed = row.machine.observation
    schematic_id, content = images.wanted_schematic(
        observed.schematic or row.schematic_id,
        [str(item["name"]) for item in observed.extensions],
        _extensions(row),
        kernel_args(row.machine.uuid),
    )
    if content is None or not observed.talos_version:
        return schematic_id, None
    return schematic_id, want(content)


def _extensions(row: ClusterMachine) -> Sequence[str] | None:
    """Extensions of the most specific level that says something; None when none does."""
    machine_set = row.machine_set.name if row.machine_set else ""
    return images.most_specific(extension_levels(row.cluster), row.machine.uuid, machine_set)


def extension_levels(cluster: Cluster) -> list[tuple[dict[str, str], list[str]]]:
    """What a cluster says about extensions, level by level, as `images.most_specific` takes it."""
    rows = TemplateResource.objects.filter(cluster=cluster, kind=kinds.EXTENSIONS).order_by("name")
    return [(resource.labels, resource.spec["extensions"]) for resource in rows]


def kernel_args(uuid: str) -> list[str] | None:
    """The kernel arguments that are wanted of a machine; None when nobody asked for any."""
    resource = TemplateResource.objects.filter(kind=kinds.KERNEL_ARGS, name=uuid).first()
    return list(resource.spec["args"]) if resource else None


def _disk(row: ClusterMachine, patches: list[ConfigPatch]) -> tuple[str, str]:
    """The disk to install on, or why there is none. What was configured stays, so that configs do not change."""
    if row.applied_sha and row.install_disk:
        return row.install_disk, ""
    observed = row.machine.observation
    named = next((disk for patch in patches if (disk := _install_disk(patch))), "")
    selector = TemplateResource.objects.filter(kind=kinds.INSTALL_DISK, name=row.machine.uuid).first()
    spec = selector.spec if selector else {}
    return images.choose_disk(
        machine_name(row.machine),
        observed.disks,
        observed.system_disk,
        named or str(spec.get("disk") or ""),
        str(spec.get("disk_selector") or ""),
    )


def _image(cluster: Cluster, observed: MachineObservation, schematic_id: str) -> str:
    return image_names.installer(
        cluster.talos_version,
        schematic_id,
        observed.platform or "metal",
        secure_boot=bool(observed.security.get("secure_boot")),
        factory=factory.host(),
    )


def _inputs(row: ClusterMachine, patches: list[ConfigPatch], disk: str, image: str) -> render.Inputs | None:
    cluster = row.cluster
    secrets, link = getattr(cluster, "secrets", None), getattr(row.machine, "link", None)
    installs = _config_installs(row)
    if secrets is None or link is None or (installs and not disk):
        return None
    return render.Inputs(
        cluster=cluster.name,
        endpoint=endpoint(cluster),
        kubernetes_version=row.kubernetes_version,
        contract=cluster.initial_talos_version,
        role=role_of(row),
        install_disk=disk if installs else "",
        install_image=image if installs else "",
        join_documents=machine_documents(link) if link.reaches_us else "",
        patches=_texts(row, link, patches),
        secrets_id=str(secrets.id),
        bundle=credentials.bundle_of(secrets),
        sans=_sans(cluster),
        **_virtual_ip(row),
    )


def _admin_in_maintenance(row: ClusterMachine) -> bool:
    link: Link | None = getattr(row.machine, "link", None)
    return link is None or link.admin_in_maintenance


def _config_installs(row: ClusterMachine) -> bool:
    """Whether the machine's configuration says what to install where: contracts that do, links that need it."""
    return render.contract_installs(row.cluster.initial_talos_version) or not _admin_in_maintenance(row)


def endpoint(cluster: Cluster) -> str:
    """The Kubernetes API as the cluster's machines are told of it: its own endpoint, else our balancer."""
    return cluster.own_endpoint.url or balancer(cluster)


def balancer(cluster: Cluster) -> str:
    """The Kubernetes API through us: on the overlay, for the cluster's machines alone."""
    return f"https://[{siderolink.server_address()}]:{cluster.balancer_port}"


def _sans(cluster: Cluster) -> tuple[str, ...]:
    """Names and addresses for certificates. Ours stays among them, as another way beside an own endpoint."""
    own = cluster.own_endpoint
    return (*own.names, str(siderolink.server_address())) if own else ()


def _virtual_ip(row: ClusterMachine) -> dict[str, str]:
    """Where a control plane carries the virtual IP of its cluster, or why it cannot."""
    virtual_ip = row.cluster.virtual_ip
    if not virtual_ip or row.role != MachineSet.CONTROL_PLANE:
        return {}
    known = networks.observed(row.machine.observation.network)
    problem = networks.virtual_ip_problem(machine_name(row.machine), virtual_ip, known)
    return {
        "virtual_ip": virtual_ip,
        "virtual_ip_link": networks.link_of(virtual_ip, known),
        "virtual_ip_problem": problem.rstrip("."),
    }


def patch_text(patch: ConfigPatch) -> str:
    return unseal(patch.sealed, patch.organisation_id, patch.id).decode()


def _patches(row: ClusterMachine) -> list[ConfigPatch]:
    """The patches of a machine in the order in which they apply: by level, inside one by name."""
    uuid = row.machine.uuid
    rows = ConfigPatch.objects
    levels = [
        rows.filter(cluster=row.cluster, machine_set=None, machine_uuid=""),
        rows.filter(cluster=row.cluster, machine_set=row.machine_set) if row.machine_set else rows.none(),
        rows.filter(cluster=row.cluster, machine_uuid=uuid),
        rows.filter(cluster=None, machine_uuid=uuid),
    ]
    return [patch for level in levels for patch in level.order_by("name") if DISABLED not in patch.labels]


def _texts(row: ClusterMachine, link: Link, patches: list[ConfigPatch]) -> tuple[tuple[str, str], ...]:
    """Names and texts of patches, and where the cluster's nodes find each other, in its place among them."""
    kept = [patch for patch in patches if not _install_disk(patch)]
    name = discovery.patch_name(row.cluster.name)
    at = sum(patch.machine_set_id is None and not patch.machine_uuid and patch.name < name for patch in kept)
    texts = [(patch.name, patch_text(patch)) for patch in kept]
    text = discovery.patch(row.cluster.features, row.cluster.initial_talos_version, reaches_us=link.reaches_us)
    return tuple((name, text) for name, text in [*texts[:at], (name, text), *texts[at:]] if text)


def _install_disk(patch: ConfigPatch) -> str:
    """The disk named by a patch that is a template's `install.disk`; empty for every other patch."""
    if kinds.LABEL_SYSTEM_PATCH not in patch.labels:
        return ""
    spec = {"data": patch_text(patch)}
    return template.install_disk(kinds.Resource(kinds.CONFIG_PATCH, patch.name, {}, patch.annotations, spec))


def _slots(row: ClusterMachine) -> tuple[tuple[str, ...], int]:
    """Who is in change: of the whole control plane, or of the worker's own set, and how many may be."""
    holders = ClusterMachine.objects.filter(cluster=row.cluster, role=row.role).exclude(slot_at=None).exclude(id=row.id)
    slots = 1
    if row.role == MachineSet.WORKER:
        holders = holders.filter(machine_set=row.machine_set)
        slots = picking.parallelism(row.machine_set.spec if row.machine_set else {}, "update", 1)
    names = tuple(machine_name(holder.machine) for holder in holders.select_related("machine__observation"))
    return names, slots


def _other_control_planes(row: ClusterMachine) -> tuple[tuple[str, Target], ...]:
    rows = ClusterMachine.objects.filter(cluster=row.cluster, role=MachineSet.CONTROL_PLANE, leaving_at=None)
    rows = rows.exclude(id=row.id).select_related("cluster__secrets", "machine__link", "machine__observation")
    return tuple((machine_name(other.machine), target(other)) for other in rows)
