"""From stored resources back to a template that, synced, changes nothing."""

from collections.abc import Iterable
from typing import Any

from talos import goduration, yaml12
from talos.decode import camel
from talos.template import resources as kinds
from talos.template.load import load
from talos.template.models import ManifestMode, StrategyType
from talos.template.resources import Resource
from talos.template.translate import INSTALL_DISK_NAME, ROLLING, endpoint_of, translate


class ExportError(ValueError):
    """A cluster that cannot be written as a template; the text names what is in the way."""


def export(cluster: str, stored: Iterable[Resource], *, all_kernel_args: bool = False) -> str:
    """The template of a cluster: patches inline under their own ids, one document for each machine that needs one.

    Kernel arguments that did not come from a template are written only with ``all_kernel_args``; a sync of that
    template takes them over. Raises ExportError for a cluster that is not there or that holds what no template can
    say.
    """
    mine = [resource for resource in stored if _exportable(cluster, resource)]
    machines = {resource.id for resource in mine if resource.type == kinds.MACHINE_SET_NODE}
    mine = [resource for resource in mine if resource.type not in kinds.PER_MACHINE or resource.id in machines]
    writer = _Writer(cluster, mine)
    documents = [writer.cluster(), *writer.machine_sets(), *writer.machines(all_kernel_args)]
    text = "---\n".join(yaml12.dump(document, indent=2) for document in documents)
    _check(mine, text, all_kernel_args)
    return text


def _exportable(cluster: str, resource: Resource) -> bool:
    if resource.owner or kinds.LABEL_MANAGED_NODE in resource.labels:
        return False
    return resource.type in kinds.PER_MACHINE or resource.cluster == cluster


def _check(mine: list[Resource], text: str, all_kernel_args: bool) -> None:
    """Read the template again: what it does not say as it is stored would be changed by a sync."""
    said = {resource.key: resource for resource in translate(load(text))}
    for resource in mine:
        again = said.pop(resource.key, None)
        if resource.type in kinds.PER_MACHINE and kinds.ANNOTATION_MANAGED not in resource.annotations:
            continue
        if again != resource:
            raise ExportError(f"{resource} cannot be written as part of a template")
    if said:
        raise ExportError(f"a template of this cluster would also make {next(iter(said.values()))}")


class _Writer:
    def __init__(self, cluster: str, mine: list[Resource]) -> None:
        self.name = cluster
        self._levels: dict[tuple[str, str, str], list[Resource]] = {}
        for resource in sorted(mine, key=lambda resource: resource.id):
            labels = resource.labels
            machine = resource.id if resource.type in kinds.PER_MACHINE else labels.get(kinds.LABEL_CLUSTER_MACHINE, "")
            level = (resource.type, labels.get(kinds.LABEL_MACHINE_SET, ""), machine)
            self._levels.setdefault(level, []).append(resource)

    def of(self, kind: str, *, machine_set: str = "", machine: str = "") -> list[Resource]:
        """The resources of a type at one level, by id: of the cluster, of a set, of a machine."""
        return self._levels.get((kind, machine_set, machine), [])

    def cluster(self) -> dict[str, Any]:
        clusters = self.of(kinds.CLUSTER)
        if not clusters:
            raise ExportError(f'there is no cluster "{self.name}"')
        resource = clusters[0]
        backup, features = resource.spec["backup_configuration"], resource.spec["features"]
        endpoint = endpoint_of(resource.spec)
        manifests = [self._manifest(item) for item in self.of(kinds.MANIFEST_GROUP)]
        healthchecks = [self._healthcheck(item) for item in self.of(kinds.HEALTHCHECK)]
        return {
            "kind": "Cluster",
            "name": resource.id,
            **_described(resource),
            "kubernetes": {
                "version": f"v{resource.spec['kubernetes_version']}",
                **_present(manifests=manifests, healthchecks=healthchecks),
            },
            "talos": {"version": f"v{resource.spec['talos_version']}"},
            **_present(
                endpoint=_present(address=endpoint.address, virtualIP=endpoint.virtual_ip),
                features=_present(
                    **{camel(name): value for name, value in features.items()},
                    backupConfiguration=backup and {"interval": _duration(backup["interval"])},
                ),
                patches=[_patch(item) for item in self.of(kinds.CONFIG_PATCH)],
            ),
            **self._extensions(),
        }

    def machine_sets(self) -> list[dict[str, Any]]:
        documents = []
        for resource in self.of(kinds.MACHINE_SET):
            control_plane = kinds.LABEL_CONTROL_PLANE in resource.labels
            name = resource.id.removeprefix(f"{self.name}-")
            spec, allocation = resource.spec, resource.spec["machine_allocation"]
            nodes = self.of(kinds.MACHINE_SET_NODE, machine_set=resource.id)
            document = {
                "kind": "ControlPlane" if control_plane else "Workers",
                **_present(name="" if control_plane or name == kinds.DEFAULT_WORKERS else name),
                **_described(resource),
                **_present(
                    bootstrapSpec=spec["bootstrap_spec"]
                    and {
                        "clusterUUID": spec["bootstrap_spec"]["cluster_uuid"],
                        "snapshot": spec["bootstrap_spec"]["snapshot"],
                    },
                    machines=[node.id for node in nodes],
                    machineClass=allocation
                    and {
                        "name": allocation["name"],
                        "size": "unlimited" if allocation["allocation_type"] else allocation["machine_count"],
                    },
                    updateStrategy=_strategy(spec["update_strategy"], spec["update_strategy_config"], ROLLING),
                    deleteStrategy=_strategy(spec["delete_strategy"], spec["delete_strategy_config"]),
                    upgradeStrategy=_strategy(spec["upgrade_strategy"], spec["upgrade_strategy_config"]),
                    patches=[_patch(item) for item in self.of(kinds.CONFIG_PATCH, machine_set=resource.id)],
                ),
                **self._extensions(machine_set=resource.id),
            }
            documents.append(document)
        return sorted(documents, key=lambda document: (document["kind"], document.get("name", "")))

    def machines(self, all_kernel_args: bool) -> list[dict[str, Any]]:
        documents = []
        sets = self.of(kinds.MACHINE_SET)
        nodes = [node for group in sets for node in self.of(kinds.MACHINE_SET_NODE, machine_set=group.id)]
        for node in sorted(nodes, key=lambda resource: resource.id):
            patches = self.of(kinds.CONFIG_PATCH, machine=node.id)
            disks = [patch for patch in patches if kinds.LABEL_SYSTEM_PATCH in patch.labels]
            document = {
                **_described(node),
                **_present(
                    locked=kinds.ANNOTATION_LOCKED in node.annotations,
                    install=self._install(node.id, disks),
                    patches=[_patch(patch) for patch in patches if patch not in disks],
                ),
                **self._extensions(machine=node.id),
                **self._kernel_args(node.id, all_kernel_args),
            }
            if document:
                documents.append({"kind": "Machine", "name": node.id, **document})
        return documents

    def _install(self, machine: str, disks: list[Resource]) -> dict[str, str]:
        selectors = [
            item.spec["disk_selector"] for item in self.of(kinds.INSTALL_DISK, machine=machine) if _managed(item)
        ]
        return _present(disk="".join(map(install_disk, disks)), diskSelector="".join(selectors))

    def _extensions(self, **labels: str) -> dict[str, list[str]]:
        for resource in self.of(kinds.EXTENSIONS, **labels):
            return {"systemExtensions": resource.spec["extensions"]}
        return {}

    def _kernel_args(self, machine: str, all_kernel_args: bool) -> dict[str, list[str]]:
        for resource in self.of(kinds.KERNEL_ARGS, machine=machine):
            if all_kernel_args or _managed(resource):
                return {"kernelArgs": resource.spec["args"]}
        return {}

    def _manifest(self, resource: Resource) -> dict[str, Any]:
        return {
            "name": resource.annotations.get(kinds.ANNOTATION_NAME, ""),
            **_described(resource, but=kinds.ANNOTATION_NAME),
            "mode": ManifestMode.NAMES[resource.spec["mode"]],
            "inline": resource.spec["data"],
        }

    def _healthcheck(self, resource: Resource) -> dict[str, Any]:
        interval = resource.spec["interval"]
        return {
            "idOverride": resource.id,
            **_described(resource),
            "job": resource.spec["job"],
            **_present(interval=interval and _duration(interval)),
        }


def install_disk(patch: Resource) -> str:
    """The disk that a patch made of ``install.disk`` names; empty if it is another patch."""
    if patch.annotations.get(kinds.ANNOTATION_NAME) != INSTALL_DISK_NAME:
        return ""
    match yaml12.load(patch.spec["data"]):
        case {"machine": {"install": {"disk": str(disk)}}}:
            return disk
    return ""


def _patch(resource: Resource) -> dict[str, Any]:
    return {"idOverride": resource.id, **_described(resource), "inline": resource.spec["data"]}


def _strategy(kind: int, config: dict[str, Any] | None, default: int = 0) -> dict[str, Any]:
    return {
        **({} if kind == default else {"type": StrategyType.NAMES[kind]}),
        **({} if config is None else {"rolling": {"maxParallelism": config["rolling"]["max_parallelism"]}}),
    }


def _described(resource: Resource, but: str = "") -> dict[str, dict[str, str]]:
    """What users said about a resource."""
    return _present(
        labels=_of_users(resource.labels),
        annotations={key: value for key, value in _of_users(resource.annotations).items() if key != but},
    )


def _of_users(values: dict[str, str]) -> dict[str, str]:
    return {key: values[key] for key in sorted(values) if not key.startswith(kinds.SYSTEM_PREFIX)}


def _managed(resource: Resource) -> bool:
    return kinds.ANNOTATION_MANAGED in resource.annotations


def _duration(value: dict[str, int]) -> str:
    return goduration.format(value["seconds"] * 10**9 + value["nanos"])


def _present(**fields: Any) -> dict[str, Any]:
    """The fields that hold something."""
    return {key: value for key, value in fields.items() if value}
