"""The documents of a cluster template, as users write them.

Field names are the keys of the format in Python's spelling. ``None`` in a list that may be absent means "leave as it
is", an empty list means "explicitly none".
"""

import re
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from talos import goduration, yaml12
from talos.yaml12 import Node, scalars
from talos.yamlwords import double_quoted

_UINT32 = range(2**32)


class Inline:
    """Content written inside a template: a map, a list of maps (several documents), or the text itself."""

    def __init__(self, text: str) -> None:
        self.text = text

    @classmethod
    def from_node(cls, node: Node) -> "Inline":
        if node.kind == "scalar":
            if node.tag != scalars.STR:
                raise ValueError(f"expected string, but got {node.tag}")
            return cls(node.value)
        documents = node.items if node.kind == "sequence" else [node]
        if any(document.kind != "mapping" for document in documents):
            raise ValueError("inline content is a map, a list of maps, or text")
        return cls("---\n".join(_encode(document) for document in documents))


def _encode(node: Node) -> str:
    content = {
        key.value if key.kind == "scalar" else yaml12.construct(key): yaml12.construct(value)
        for key, value in node.pairs
    }
    return yaml12.dump(double_quoted(yaml12.sort_keys(content)))


class Duration(int):
    """Nanoseconds, written like ``1h30m``."""

    @classmethod
    def from_node(cls, node: Node) -> "Duration":
        if node.kind != "scalar" or node.tag != scalars.STR:
            raise ValueError("a duration is written like 1h30m")
        return cls(goduration.parse(node.value))


NO_DURATION = Duration(0)


@dataclass(frozen=True)
class Size:
    """How many machines to take from a class."""

    count: int = 0
    unlimited: bool = False

    @classmethod
    def from_node(cls, node: Node) -> "Size":
        if node.value in ("Unlimited", "unlimited", "infinity", "∞"):
            return cls(unlimited=True)
        if node.value == "Static":
            return cls()
        if not re.fullmatch(r"[0-9]+", node.value) or int(node.value) not in _UINT32:
            raise ValueError(f"invalid machine count {node.value}: write a number, or unlimited")
        return cls(int(node.value))


class StrategyType(int):
    """How changes go through a set: ``Unset`` 0, ``Rolling`` 1."""

    NAMES = ("Unset", "Rolling")

    @classmethod
    def from_node(cls, node: Node) -> "StrategyType":
        if node.value not in cls.NAMES:
            raise ValueError(f"invalid update strategy type {node.value}: one of {', '.join(cls.NAMES)}")
        return cls(cls.NAMES.index(node.value))


class ManifestMode(int):
    """``full`` 1 keeps the manifests as they are here, ``one-time`` 2 only creates them."""

    NAMES = ("", "full", "one-time")

    @classmethod
    def from_node(cls, node: Node) -> "ManifestMode":
        if node.value not in cls.NAMES[1:]:
            raise ValueError(f'unknown mode name "{node.value}": one of full, one-time')
        return cls(cls.NAMES.index(node.value))


NO_MODE = ManifestMode(0)


@dataclass(kw_only=True)
class Described:
    """Anything that carries labels and annotations of users."""

    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class Patch(Described):
    """A configuration patch, in a file or inline."""

    name: str = ""
    id_override: str = field(default="", metadata={"key": "idOverride"})
    file: str = ""
    inline: Inline | None = None

    @property
    def title(self) -> str:
        return self.name or self.file


@dataclass(kw_only=True)
class Manifest(Described):
    """Kubernetes objects to be applied in the cluster."""

    name: str = ""
    mode: ManifestMode = NO_MODE
    file: str = ""
    inline: Inline | None = None

    @property
    def title(self) -> str:
        return self.name or self.file


@dataclass(kw_only=True)
class Healthcheck(Described):
    """A Kubernetes Job that has to succeed before an upgrade goes on."""

    name: str = ""
    id_override: str = field(default="", metadata={"key": "idOverride"})
    job: Inline | None = None
    file: str = ""
    interval: Duration = NO_DURATION

    @property
    def title(self) -> str:
        return self.id_override or self.name


@dataclass
class Kubernetes:
    version: str = ""
    manifests: list[Manifest] = field(default_factory=list)
    healthchecks: list[Healthcheck] = field(default_factory=list)


@dataclass
class Talos:
    version: str = ""


@dataclass
class BackupConfiguration:
    interval: Duration = NO_DURATION
    """Zero or less: no backups."""


@dataclass
class Features:
    disk_encryption: bool = False
    enable_workload_proxy: bool = False
    use_embedded_discovery_service: bool = False
    disable_public_discovery_service: bool | None = None
    enable_node_audit_skip: bool = False
    backup_configuration: BackupConfiguration = field(default_factory=BackupConfiguration)


@dataclass
class OwnEndpoint:
    """Where the cluster is reached without us: an addition to the format, left out where clusters are reached by us."""

    address: str = ""
    """`https://host:port`, or a host with or without a port."""
    virtual_ip: str = field(default="", metadata={"key": "virtualIP"})
    """Shared by the control planes."""


@dataclass(kw_only=True)
class Document(Described):
    """What every document has."""

    KIND: ClassVar[str]

    kind: str = ""
    name: str = ""
    patches: list[Patch] = field(default_factory=list)
    system_extensions: list[str] | None = None
    kernel_args: list[str] | None = None


@dataclass(kw_only=True)
class Cluster(Document):
    KIND = "Cluster"

    kubernetes: Kubernetes = field(default_factory=Kubernetes)
    talos: Talos = field(default_factory=Talos)
    endpoint: OwnEndpoint | None = None
    features: Features = field(default_factory=Features)


@dataclass
class BootstrapSpec:
    """From which backup to restore."""

    cluster_uuid: str = field(default="", metadata={"key": "clusterUUID"})
    snapshot: str = ""


@dataclass
class MachineClass:
    name: str = ""
    size: Size = field(default_factory=Size)


@dataclass
class Rolling:
    max_parallelism: Annotated[int, _UINT32] = 0


@dataclass
class Strategy:
    type: StrategyType | None = None
    rolling: Rolling | None = None


@dataclass(kw_only=True)
class MachineSet(Document):
    """Machines of one role: the control plane, or one set of workers."""

    bootstrap_spec: BootstrapSpec | None = None
    machines: list[str] = field(default_factory=list)
    machine_class: MachineClass | None = None
    update_strategy: Strategy | None = None
    delete_strategy: Strategy | None = None
    upgrade_strategy: Strategy | None = None


@dataclass(kw_only=True)
class ControlPlane(MachineSet):
    KIND = "ControlPlane"


@dataclass(kw_only=True)
class Workers(MachineSet):
    KIND = "Workers"


@dataclass
class Install:
    disk: str = ""
    disk_selector: str = ""
    """A CEL expression over a disk."""


@dataclass(kw_only=True)
class Machine(Document):
    """What is special about one machine of a set; ``name`` is its UUID."""

    KIND = "Machine"

    locked: bool = False
    install: Install = field(default_factory=Install)


KINDS: dict[str, type[Document]] = {model.KIND: model for model in (Cluster, ControlPlane, Workers, Machine)}
