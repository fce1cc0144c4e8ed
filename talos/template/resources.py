"""The resources that a template stands for: their types, ids, labels, and how they are written.

A specification is a dict under the field names of the published API (``kubernetes_version``); the written form drops
the underscores.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from talos import yaml12
from talos.yamlwords import double_quoted

NAMESPACE = "default"
SYSTEM_PREFIX = "omni.sidero.dev/"

CLUSTER = "Clusters.omni.sidero.dev"
EXTENSIONS = "ExtensionsConfigurations.omni.sidero.dev"
CONFIG_PATCH = "ConfigPatches.omni.sidero.dev"
INSTALL_DISK = "MachineInstallDiskConfigs.omni.sidero.dev"
MANIFEST_GROUP = "KubernetesManifestGroups.omni.sidero.dev"
HEALTHCHECK = "KubernetesHealthChecks.omni.sidero.dev"
MACHINE_SET = "MachineSets.omni.sidero.dev"
MACHINE_SET_NODE = "MachineSetNodes.omni.sidero.dev"
KERNEL_ARGS = "KernelArgs.omni.sidero.dev"

ORDER = (
    CLUSTER,
    EXTENSIONS,
    CONFIG_PATCH,
    INSTALL_DISK,
    MANIFEST_GROUP,
    HEALTHCHECK,
    MACHINE_SET,
    MACHINE_SET_NODE,
    KERNEL_ARGS,
)
"""The order of creation: what others need comes first."""

PER_MACHINE = frozenset({INSTALL_DISK, KERNEL_ARGS})
"""Belong to a machine rather than to a cluster: no cluster label, and they outlive the membership."""

LABEL_CLUSTER = SYSTEM_PREFIX + "cluster"
LABEL_MACHINE_SET = SYSTEM_PREFIX + "machine-set"
LABEL_CLUSTER_MACHINE = SYSTEM_PREFIX + "cluster-machine"
LABEL_CONTROL_PLANE = SYSTEM_PREFIX + "role-controlplane"
LABEL_WORKER = SYSTEM_PREFIX + "role-worker"
LABEL_SYSTEM_PATCH = SYSTEM_PREFIX + "system-patch"
LABEL_MANAGED_NODE = SYSTEM_PREFIX + "managed-by-machine-set-node-controller"
ANNOTATION_MANAGED = SYSTEM_PREFIX + "managed-by-cluster-templates"
ANNOTATION_LOCKED = SYSTEM_PREFIX + "locked"
ANNOTATION_NAME = "name"

Key = tuple[str, str]
"""Type and id."""


@dataclass(frozen=True)
class Resource:
    """One resource. ``owner`` is the controller that made it, empty for what users made."""

    type: str
    id: str
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    spec: dict[str, Any] = field(default_factory=dict)
    owner: str = ""

    @property
    def key(self) -> Key:
        return self.type, self.id

    @property
    def cluster(self) -> str | None:
        """The cluster it belongs to, None for what belongs to a machine."""
        return self.id if self.type == CLUSTER else self.labels.get(LABEL_CLUSTER)

    def __str__(self) -> str:
        return f"{self.type}({NAMESPACE}/{self.id})"

    def with_annotations(self, annotations: dict[str, str]) -> "Resource":
        return replace(self, annotations=annotations)

    def document(self) -> dict[str, Any]:
        """The resource as it is shown, version and times left out."""
        metadata: dict[str, Any] = {
            "namespace": NAMESPACE,
            "type": self.type,
            "id": self.id,
            "version": "undefined",
            "owner": self.owner or None,
            "phase": "running",
        }
        if self.labels:
            metadata["labels"] = _pairs(self.labels)
        if self.annotations:
            metadata["annotations"] = _pairs(self.annotations)
        spec = _written(self.spec)
        if self.type in (CONFIG_PATCH, MANIFEST_GROUP):
            spec["compresseddata"] = []
        return {"metadata": metadata, "spec": spec}

    def render(self) -> str:
        """The resource as YAML."""
        return yaml12.dump(double_quoted(self.document()))


def render(resources: list[Resource]) -> str:
    """Resources as one YAML text of several documents."""
    return "---\n".join(resource.render() for resource in resources)


def machine_set_id(cluster: str, name: str) -> str:
    return f"{cluster}-{name}"


CONTROL_PLANES = "control-planes"
"""Name of the one set of control planes of a cluster."""
DEFAULT_WORKERS = "workers"


def _pairs(values: dict[str, str]) -> dict[str, str | None]:
    return {key: values[key] or None for key in sorted(values)}


def _written(value: Any) -> Any:
    if isinstance(value, dict):
        return {key.replace("_", ""): _written(item) for key, item in value.items()}
    return value
