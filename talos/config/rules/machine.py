"""Rules of `machine` in the v1alpha1 document, and of the document as a whole."""

from __future__ import annotations

from collections.abc import Iterator

from talos import roles
from talos.config import gourl
from talos.config.errors import quote
from talos.config.rules import labels
from talos.config.rules.addresses import is_prefix, is_subnet
from talos.config.rules.cluster import cluster, cni
from talos.config.rules.common import Context, Mode, Values, Warn, at, kubernetes_image
from talos.config.rules.devices import devices
from talos.config.rules.kubernetes import PROTECTED_KUBELET_FIELDS
from talos.config.rules.ocispec import spec_problem
from talos.machinetype import MachineType

DEFAULT_KUBERNETES = "1.37.0"
_MIN_KUBESPAN_MTU = 1280
_DISK_TYPES = ("nvme", "sd", "hdd", "ssd")
_ADDRESS_SORT_ALGORITHMS = ("v1", "v2")
_DEPRECATED_EXTENSIONS = (
    ".machine.install.extensions is deprecated, please see "
    "https://docs.siderolabs.com/talos/latest/platform-specific-installations/boot-assets"
)


def machine_type(machine: Values) -> MachineType:
    """The type of the machine; UNKNOWN for a word that is none."""
    try:
        return MachineType.parse(machine.get("type", ""))
    except ValueError:
        return MachineType.UNKNOWN


def v1alpha1(values: Values, context: Context) -> Iterator[str]:
    """Findings about the v1alpha1 document."""
    machine, cluster_values = values.get("machine"), values.get("cluster")
    if machine is None:
        yield "machine instructions are required"
        return
    kind = machine_type(machine)
    if machine.get("files"):
        yield Warn(".machine.files is deprecated; use dedicated configuration documents instead")
    overrides = machine.get("baseRuntimeSpecOverrides")
    if overrides:
        yield Warn(".machine.baseRuntimeSpecOverrides is deprecated; use a CRIBaseRuntimeSpecConfig document instead")
    if cluster_values is None:
        yield "cluster instructions are required"
    else:
        yield from cluster(cluster_values, kind.is_control_plane)
    if context.mode is Mode.METAL and machine.get("install") is not None:
        yield from _install(machine["install"])
    if at(machine, "features.hostDNS.forwardKubeDNSToHost") and not at(machine, "features.hostDNS.enabled"):
        yield "feature hostDNS.forwardKubeDNSToHost requires hostDNS.enabled to be true (.machine.features.hostDNS)"
    yield from _role(machine, cluster_values, kind)
    yield from _network(machine)
    yield from _disks(machine)
    if (kubelet := machine.get("kubelet")) is not None:
        yield from _kubelet(kubelet)
    yield from _encryption(machine)
    yield from _kubespan_filters(machine)
    if (logging := machine.get("logging")) is not None:
        yield from _logging(logging)
    yield from _extensions(machine)
    for what, key, check in (
        ("labels", "nodeLabels", labels.check_labels),
        ("annotations", "nodeAnnotations", labels.check_annotations),
        ("taints", "nodeTaints", labels.check_taints),
    ):
        yield from labels.checked(f"invalid machine node {what}", check, machine.get(key))
    yield from _features(machine, kind)
    if values.get("persist") is False:
        yield ".persist should be enabled"
    if overrides and (problem := spec_problem(overrides)):
        yield f"failed to unmarshal base runtime spec overrides: {problem}"
    yield from _images(machine, cluster_values, kind, context)


def _install(install: Values) -> Iterator[str]:
    selector = install.get("diskSelector")
    usable = selector is not None
    if selector and selector.get("name"):
        yield "install disk selector is invalid: selector on name is not supported"
        usable = False
    elif selector and selector.get("type") and selector["type"] not in _DISK_TYPES:
        yield f"install disk selector is invalid: unsupported disk type {quote(selector['type'])}"
        usable = False
    if not install.get("disk") and not usable:
        yield "either install disk or diskSelector should be defined"
    if install.get("extraKernelArgs") and install.get("grubUseUKICmdline"):
        yield "install.extraKernelArgs and install.grubUseUKICmdline can't be used together"


def _role(machine: Values, cluster_values: Values | None, kind: MachineType) -> Iterator[str]:
    """What depends on the machine's type, mostly who may hold which CA."""
    written = machine.get("type", "")
    if kind is not MachineType.UNKNOWN and str(kind) != written:
        yield Warn(f"use {quote(str(kind))} instead of {quote(written)} for machine type")
    ca, accepted = machine.get("ca"), machine.get("acceptedCAs")
    if ca is None and not accepted:
        yield "issuing CA or some accepted CAs are required (.machine.ca, machine.acceptedCAs)"
    if kind.is_control_plane:
        if at(cluster_values, "network") is not None:
            yield from cni(at(cluster_values, "network.cni"))
        if ca is None:
            yield "issuing CA is required (.machine.ca)"
        elif not ca.get("key"):
            yield "issuing CA key is required for controlplane nodes (.machine.ca.key)"
    elif kind is MachineType.WORKER:
        for device in at(machine, "network.interfaces") or []:
            for link in (device, *(device.get("vlans") or [])):
                if link.get("vip") is not None:
                    yield "virtual (shared) IP is not allowed on non-controlplane nodes"
        if ca is not None:
            if ca.get("key"):
                yield "issuing Talos API CA key is not allowed on non-controlplane nodes (.machine.ca)"
            if not ca.get("crt") and not accepted:
                yield (
                    "trusted CA certificates are required on non-controlplane nodes "
                    "(.machine.ca.crt, .machine.acceptedCAs)"
                )
        if at(cluster_values, "ca.key"):
            yield "issuing Kubernetes API CA key is not allowed on non-controlplane nodes (.cluster.ca)"
    else:
        yield f"unknown machine type {quote(written)}"


def _network(machine: Values) -> Iterator[str]:
    network = machine.get("network")
    if network is None:
        return
    yield from devices(network.get("interfaces") or [])
    kubespan = network.get("kubespan")
    if kubespan and kubespan.get("enabled") and 0 < (kubespan.get("mtu") or _MIN_KUBESPAN_MTU) < _MIN_KUBESPAN_MTU:
        yield f"kubespan link MTU must be at least {_MIN_KUBESPAN_MTU}"


def _kubespan_filters(machine: Values) -> Iterator[str]:
    kubespan = at(machine, "network.kubespan")
    if not kubespan or not kubespan.get("enabled"):
        return
    for cidr in at(kubespan, "filters.endpoints") or []:
        if not is_subnet(cidr.removeprefix("!")):
            yield f"KubeSpan endpoint filter is not valid: {quote(cidr.removeprefix('!'))}"
    for cidr in at(kubespan, "filters.excludeAdvertisedNetworks") or []:
        if not is_prefix(cidr):
            yield f"KubeSpan exclude advertised networks filter is not valid: {quote(cidr)}"


def _disks(machine: Values) -> Iterator[str]:
    for disk in machine.get("disks") or []:
        for partition in (disk.get("partitions") or [])[:-1]:
            if not partition.get("size"):
                yield (
                    f"partition for disk {quote(disk.get('device', ''))} is set to occupy full disk, "
                    "but it's not the last partition in the list"
                )


def _kubelet(kubelet: Values) -> Iterator[str]:
    for cidr in at(kubelet, "nodeIP.validSubnets") or []:
        if not is_subnet(cidr.removeprefix("!")):
            yield f"kubelet nodeIP subnet is not valid: {quote(cidr.removeprefix('!'))}"
    extra = kubelet.get("extraConfig") or {}
    for field in PROTECTED_KUBELET_FIELDS:
        if field in extra:
            yield f"kubelet configuration field {quote(field)} can't be overridden"


def _encryption(machine: Values) -> Iterator[str]:
    for partition in ("ephemeral", "state"):
        encryption = at(machine, f"systemDiskEncryption.{partition}")
        if encryption is None:
            continue
        where = f"partition {quote(partition.upper())}"
        if not encryption.get("keys"):
            yield f"{where}: no encryption keys provided"
        slots: set[int] = set()
        for key in encryption.get("keys") or []:
            slot = key.get("slot", 0)
            if slot in slots:
                yield f"{where}: encryption key slot {slot} is already in use"
            slots.add(slot)
            if all(key.get(method) is None for method in ("nodeID", "static", "kms", "tpm")):
                yield f"{where}: encryption key at slot {slot} doesn't have the configuration parameters"


def _logging(logging: Values) -> Iterator[str]:
    for destination in logging.get("destinations") or []:
        endpoint = destination.get("endpoint")
        if endpoint is None:
            yield "empty logging endpoint"
        else:
            url = gourl.parse(endpoint)
            if not url.host:
                yield "empty logging endpoint's host"
            if url.scheme not in ("tcp", "udp"):
                yield f"unexpected logging endpoint scheme {quote(url.scheme)}"
        if (form := destination.get("format", "")) != "json_lines":
            yield f"unknown logging format {quote(form)}"


def _extensions(machine: Values) -> Iterator[str]:
    seen: set[str] = set()
    for extension in at(machine, "install.extensions") or []:
        image = extension.get("image", "")
        if image in seen:
            yield f"duplicate system extension {quote(image)}"
        seen.add(image)
    if seen:
        yield Warn(_DEPRECATED_EXTENSIONS)


def _features(machine: Values, kind: MachineType) -> Iterator[str]:
    access = at(machine, "features.kubernetesTalosAPIAccess")
    if access and access.get("enabled"):
        if not kind.is_control_plane:
            yield "feature Kubernetes Talos API Access can only be enabled on control plane machines"
        for role in access.get("allowedRoles") or []:
            if role not in roles.ALL:
                yield f"invalid role {quote(role)} in allowed roles for Kubernetes Talos API Access"
    algorithm = at(machine, "features.nodeAddressSortAlgorithm")
    if algorithm and algorithm.lower() not in _ADDRESS_SORT_ALGORITHMS:
        yield f"invalid node address sort algorithm: {algorithm} does not belong to AddressSortAlgorithm values"


def _images(machine: Values, cluster_values: Values | None, kind: MachineType, context: Context) -> Iterator[str]:
    """The Kubernetes versions of the images; a component without an image runs the default version."""
    if machine.get("kubelet") is not None:
        yield from kubernetes_image(at(machine, "kubelet.image") or f":v{DEFAULT_KUBERNETES}", "kubelet", context)
    if cluster_values is not None and kind.is_control_plane:
        for key, name in (
            ("apiServer", "kube-apiserver"),
            ("controllerManager", "kube-controller-manager"),
            ("scheduler", "kube-scheduler"),
        ):
            image = at(cluster_values, f"{key}.image") or f":v{DEFAULT_KUBERNETES}"
            yield from kubernetes_image(image, name, context)
