"""From the documents of a template to the resources they stand for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from talos import yaml12
from talos.config.forbidden import error_list
from talos.template import resources as kinds
from talos.template.endpoint import Endpoint
from talos.template.errors import TemplateError
from talos.template.files import ReadFile, no_files, read
from talos.template.load import Template
from talos.template.models import (
    Cluster,
    ControlPlane,
    Described,
    Document,
    Healthcheck,
    Inline,
    Machine,
    MachineSet,
    Manifest,
    Patch,
    Strategy,
    Workers,
)
from talos.template.resources import Resource
from talos.yamlwords import double_quoted

BASE_WEIGHT_CLUSTER = 200
BASE_WEIGHT_MACHINE_SET = 400
BASE_WEIGHT_MACHINE = 400
WEIGHT_INSTALL_DISK = 0
INSTALL_DISK_NAME = "install-disk"

ROLLING = 1

Labels = dict[str, str]


@dataclass
class _Context:
    """What the translation of one document needs to know of the others."""

    cluster: str
    read_file: ReadFile
    machines: dict[str, Machine] = field(default_factory=dict)
    cluster_kernel_args: list[str] | None = None
    set_kernel_args: dict[str, list[str] | None] = field(default_factory=dict)


def translate(template: Template, read_file: ReadFile = no_files) -> list[Resource]:
    """The resources of a valid template, in the order of its documents.

    Raises TemplateError where two of them have the same id, and for what only shows in the whole.
    """
    cluster = template.cluster
    context = _Context(
        cluster.name,
        read_file,
        machines={machine.name: machine for machine in template.of(Machine)},
        cluster_kernel_args=cluster.kernel_args,
        set_kernel_args={machine: group.kernel_args for group in template.of(MachineSet) for machine in group.machines},
    )
    errors: list[str] = []
    found: list[Resource] = []
    for document in template.documents:
        try:
            found += _document(document, context)
        except ValueError as error:
            errors.append(str(error))
    seen: set[kinds.Key] = set()
    for resource in found:
        if resource.key in seen:
            errors.append(f"resource ID duplicate {resource}")
        seen.add(resource.key)
    if errors:
        raise TemplateError("translate", error_list(errors))
    return found


def _document(document: Document, context: _Context) -> list[Resource]:
    match document:
        case Cluster():
            return list(_cluster(document, context))
        case ControlPlane():
            return list(_machine_set(document, kinds.CONTROL_PLANES, kinds.LABEL_CONTROL_PLANE, context))
        case Workers():
            name = document.name or kinds.DEFAULT_WORKERS
            return list(_machine_set(document, name, kinds.LABEL_WORKER, context))
        case Machine():
            return list(_machine(document, context))
    raise TypeError(f"{type(document).__name__} is no document of a template")


def _cluster(cluster: Cluster, context: _Context) -> Iterator[Resource]:
    interval = cluster.features.backup_configuration.interval
    features = {
        "enable_workload_proxy": cluster.features.enable_workload_proxy,
        "disk_encryption": cluster.features.disk_encryption,
        "use_embedded_discovery_service": cluster.features.use_embedded_discovery_service,
        "enable_node_audit_skip": cluster.features.enable_node_audit_skip,
    }
    if cluster.features.disable_public_discovery_service:
        features["disable_public_discovery_service"] = True
    yield _resource(
        kinds.CLUSTER,
        cluster.name,
        cluster,
        annotations={kinds.ANNOTATION_MANAGED: ""},
        spec={
            "kubernetes_version": cluster.kubernetes.version.lstrip("v"),
            "talos_version": cluster.talos.version.lstrip("v"),
            "features": features,
            "backup_configuration": {"interval": _duration(interval), "enabled": True} if interval > 0 else None,
            **_endpoint(cluster),
        },
    )
    labels = {kinds.LABEL_CLUSTER: cluster.name}
    prefix = f"cluster-{cluster.name}"
    yield from _patches(cluster.patches, prefix, BASE_WEIGHT_CLUSTER, labels, context)
    for index, manifest in enumerate(cluster.kubernetes.manifests):
        yield _manifest(manifest, f"{BASE_WEIGHT_CLUSTER + index:03d}-{prefix}-{manifest.title}", labels, context)
    for check in cluster.kubernetes.healthchecks:
        yield _healthcheck(check, check.id_override or f"{prefix}-{check.name}", labels, context)
    yield from _extensions(cluster.system_extensions, cluster.name, labels)


def _endpoint(cluster: Cluster) -> dict[str, dict[str, str]]:
    """What the specification says of the cluster's own endpoint: nothing when it has none."""
    if cluster.endpoint is None:
        return {}
    return endpoint_spec(Endpoint.parse(cluster.endpoint.address, cluster.endpoint.virtual_ip))


def endpoint_spec(endpoint: Endpoint) -> dict[str, dict[str, str]]:
    """An own endpoint as part of a cluster's specification."""
    return {"endpoint": {"address": endpoint.address, "virtual_ip": endpoint.virtual_ip}} if endpoint else {}


def endpoint_of(spec: Mapping[str, Any]) -> Endpoint:
    """The own endpoint that a cluster's specification names."""
    return Endpoint(**spec.get("endpoint", {}))


def _machine_set(group: MachineSet, name: str, role: str, context: _Context) -> Iterator[Resource]:
    set_id = kinds.machine_set_id(context.cluster, name)
    labels = {kinds.LABEL_CLUSTER: context.cluster}
    by_class = group.machine_class
    if by_class and context.cluster_kernel_args is not None:
        raise ValueError(
            "kernelArgs cannot be defined at cluster level for this machine set since it uses a machine class"
        )
    yield _resource(kinds.MACHINE_SET, set_id, group, labels={**labels, role: ""}, spec=_machine_set_spec(group))
    for machine in () if by_class else group.machines:
        own = context.machines.get(machine)
        yield _resource(
            kinds.MACHINE_SET_NODE,
            machine,
            own or Described(),
            labels={**labels, kinds.LABEL_MACHINE_SET: set_id, role: ""},
            annotations={kinds.ANNOTATION_LOCKED: ""} if own and own.locked else {},
        )
        if own is None:
            yield from _kernel_args(machine, group.kernel_args, context.cluster_kernel_args)
    set_labels = {**labels, kinds.LABEL_MACHINE_SET: set_id}
    yield from _patches(group.patches, set_id, BASE_WEIGHT_MACHINE_SET, set_labels, context)
    yield from _extensions(group.system_extensions, set_id, set_labels)


def _machine_set_spec(group: MachineSet) -> dict[str, Any]:
    bootstrap, by_class = group.bootstrap_spec, group.machine_class
    return {
        "update_strategy": _strategy_type(group.update_strategy, default=ROLLING),
        "machine_class": None,
        "bootstrap_spec": bootstrap and {"cluster_uuid": bootstrap.cluster_uuid, "snapshot": bootstrap.snapshot},
        "delete_strategy": _strategy_type(group.delete_strategy),
        "update_strategy_config": _strategy_config(group.update_strategy),
        "delete_strategy_config": _strategy_config(group.delete_strategy),
        "machine_allocation": by_class
        and {
            "name": by_class.name,
            "machine_count": by_class.size.count,
            "allocation_type": int(by_class.size.unlimited),
        },
        "upgrade_strategy": _strategy_type(group.upgrade_strategy),
        "upgrade_strategy_config": _strategy_config(group.upgrade_strategy),
    }


def _strategy_type(strategy: Strategy | None, default: int = 0) -> int:
    return default if strategy is None or strategy.type is None else int(strategy.type)


def _strategy_config(strategy: Strategy | None) -> dict[str, Any] | None:
    if strategy is None or strategy.rolling is None:
        return None
    return {"rolling": {"max_parallelism": strategy.rolling.max_parallelism}}


def _machine(machine: Machine, context: _Context) -> Iterator[Resource]:
    labels = {kinds.LABEL_CLUSTER: context.cluster, kinds.LABEL_CLUSTER_MACHINE: machine.name}
    prefix = f"cm-{machine.name}"
    if machine.install.disk:
        yield Resource(
            kinds.CONFIG_PATCH,
            f"{WEIGHT_INSTALL_DISK:03d}-{prefix}-{INSTALL_DISK_NAME}",
            {**labels, kinds.LABEL_SYSTEM_PATCH: ""},
            {kinds.ANNOTATION_NAME: INSTALL_DISK_NAME},
            {"data": yaml12.dump(double_quoted({"machine": {"install": {"disk": machine.install.disk}}}))},
        )
    if machine.install.disk_selector:
        yield Resource(
            kinds.INSTALL_DISK,
            machine.name,
            annotations={kinds.ANNOTATION_MANAGED: ""},
            spec={"disk": "", "disk_selector": machine.install.disk_selector},
        )
    yield from _patches(machine.patches, prefix, BASE_WEIGHT_MACHINE, labels, context)
    of_set = context.set_kernel_args.get(machine.name)
    yield from _kernel_args(machine.name, machine.kernel_args, of_set, context.cluster_kernel_args)
    yield from _extensions(machine.system_extensions, machine.name, labels)


def _patches(patches: list[Patch], prefix: str, weight: int, labels: Labels, context: _Context) -> Iterator[Resource]:
    for index, patch in enumerate(patches):
        try:
            data = patch_content(patch, context.read_file)
        except ValueError as error:
            raise ValueError(f'failed to read patch "{patch.title}": {error}') from None
        yield _resource(
            kinds.CONFIG_PATCH,
            patch.id_override or f"{weight + index:03d}-{prefix}-{patch.title}",
            patch,
            labels=labels,
            annotations={kinds.ANNOTATION_NAME: patch.title},
            spec={"data": data},
        )


def patch_content(patch: Patch | Manifest, read_file: ReadFile) -> str:
    """The text of a patch or manifest. Raises ValueError if its file cannot be had or is no text."""
    return _content(patch.file, patch.inline, read_file)


def _content(file: str, inline: Inline | None, read_file: ReadFile) -> str:
    if not file:
        return inline.text if inline else ""
    try:
        return read(read_file, file).decode()
    except UnicodeDecodeError:
        raise ValueError(f"{file} is not UTF-8 text") from None


def _manifest(manifest: Manifest, manifest_id: str, labels: Labels, context: _Context) -> Resource:
    try:
        data = patch_content(manifest, context.read_file)
    except ValueError as error:
        raise ValueError(f'failed to read manifest "{manifest.title}": {error}') from None
    annotations = {kinds.ANNOTATION_NAME: manifest.title}
    spec = {"data": data, "mode": int(manifest.mode)}
    return _resource(kinds.MANIFEST_GROUP, manifest_id, manifest, labels=labels, annotations=annotations, spec=spec)


def _healthcheck(check: Healthcheck, check_id: str, labels: Labels, context: _Context) -> Resource:
    try:
        job = _content(check.file, check.job, context.read_file)
    except ValueError as error:
        raise ValueError(f'healthcheck "{check.title}": failed to read "{check.file}": {error}') from None
    interval = _duration(check.interval) if check.interval > 0 else None
    return _resource(kinds.HEALTHCHECK, check_id, check, labels=labels, spec={"job": job, "interval": interval})


def _extensions(extensions: list[str] | None, name: str, labels: Labels) -> Iterator[Resource]:
    if extensions is not None:
        yield Resource(kinds.EXTENSIONS, f"schematic-{name}", labels, spec={"extensions": extensions})


def _kernel_args(machine: str, *levels: list[str] | None) -> Iterator[Resource]:
    """The arguments of the most specific level that has any to say; the levels come in that order."""
    for arguments in levels:
        if arguments is not None:
            managed = {kinds.ANNOTATION_MANAGED: ""}
            yield Resource(kinds.KERNEL_ARGS, machine, annotations=managed, spec={"args": arguments})
            return


def _resource(
    kind: str,
    resource_id: str,
    described: Described,
    *,
    labels: Labels | None = None,
    annotations: Labels | None = None,
    spec: dict[str, Any] | None = None,
) -> Resource:
    return Resource(
        kind,
        resource_id,
        {**(labels or {}), **described.labels},
        {**(annotations or {}), **described.annotations},
        spec or {},
    )


def _duration(nanoseconds: int) -> dict[str, int]:
    seconds, nanos = divmod(nanoseconds, 10**9)
    return {"seconds": seconds, "nanos": nanos}
