"""What is known of one cluster, and the steps that can be taken for it: the planner's words."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal

from apps.clusters.machine_steps import Role, Silent
from apps.reconcile.conditions import State


@dataclass(frozen=True)
class Picked:
    """A machine chosen for a machine set that is not part of the cluster yet."""

    uuid: str
    name: str
    role: Role
    blocker: str = ""  # a sentence: why it cannot be taken now; empty when it is free
    state: State = "wait"  # of the blocker


@dataclass(frozen=True)
class Member:
    """A machine that the cluster has taken."""

    uuid: str
    name: str
    role: Role
    set_name: str = ""
    wanted: bool = True  # still picked
    leaving: bool = False
    connected: bool = True
    installed: bool = False
    configured: bool = False  # a config was confirmed
    current: bool = False  # the confirmed config is the one wanted
    ready: bool = False
    reported_member_id: str = ""  # of its etcd member, as the machine says
    etcd_member_id: str = ""  # as stored
    node_name: str = ""
    blocker: str = ""  # the sentence of its first condition that is not met
    state: State = "work"


@dataclass(frozen=True)
class ClassSet:
    """A machine set that takes its machines by class."""

    name: str
    role: Role
    class_name: str
    wanted: int | None  # None: all there are
    held: tuple[str, ...]  # machine UUIDs picked; the first to be given back comes first
    candidates: tuple[str, ...]  # free machines that fit, the first to be taken comes first
    problem: str = ""  # why the class cannot be used
    unfit: str = ""  # a sentence about a free machine of the class that cannot be taken as it is


@dataclass(frozen=True)
class EtcdMember:
    id: str  # 16 hex digits
    name: str
    learner: bool = False


@dataclass(frozen=True)
class Bootstrap:
    """What the bootstrap machine shows, read just now."""

    answer: Literal["maintenance", "secure"] | Silent
    stage: str = ""
    members: tuple[EtcdMember, ...] = ()  # of etcd as it lists them; empty while etcd does not run
    tried_at: datetime | None = None  # an open bootstrap operation
    refusal: str = ""  # of the last try
    accepted: bool = False  # the machine took the call, and has not rebooted since


@dataclass(frozen=True)
class Kubernetes:
    """What the cluster's API says, read just now."""

    ready: bool
    reason: str = ""
    nodes: tuple[tuple[str, bool], ...] = ()  # (name, ready)


@dataclass(frozen=True)
class ClusterFacts:
    """All that is known of one cluster."""

    name: str
    deleting: bool = False
    secrets: bool = False
    picked: tuple[Picked, ...] = ()
    members: tuple[Member, ...] = ()
    classes: tuple[ClassSet, ...] = ()
    removal_limits: tuple[tuple[str, int], ...] = ()  # machine set -> machines that may leave at once
    bootstrap_uuid: str = ""
    bootstrapped: bool = False
    bootstrap: Bootstrap | None = None
    etcd: tuple[EtcdMember, ...] | Silent | None = None
    kubernetes: Kubernetes | None = None


@dataclass(frozen=True)
class ClusterStep:
    """Something to do now; `sentence` says so to people."""

    sentence: str
    kind: ClassVar[str]


@dataclass(frozen=True)
class MakeSecrets(ClusterStep):
    kind: ClassVar[str] = "make-secrets"


@dataclass(frozen=True)
class PickMachines(ClusterStep):
    """Choose machines for a set by its class."""

    kind: ClassVar[str] = "pick-machines"
    set_name: str
    uuids: tuple[str, ...]


@dataclass(frozen=True)
class UnpickMachine(ClusterStep):
    """Give a machine that was chosen by class back."""

    kind: ClassVar[str] = "unpick-machine"
    uuid: str


@dataclass(frozen=True)
class AddMembers(ClusterStep):
    """Take free machines into the cluster."""

    kind: ClassVar[str] = "add-members"
    uuids: tuple[str, ...]


@dataclass(frozen=True)
class SendAway(ClusterStep):
    """Let machines leave; each is wiped on its own."""

    kind: ClassVar[str] = "send-away"
    uuids: tuple[str, ...]


@dataclass(frozen=True)
class FixBootstrap(ClusterStep):
    """Choose the machine that starts etcd, once and for ever."""

    kind: ClassVar[str] = "fix-bootstrap"
    uuid: str


@dataclass(frozen=True)
class StartEtcd(ClusterStep):
    """Bootstrap: etcd begins on the chosen machine."""

    kind: ClassVar[str] = "bootstrap"


@dataclass(frozen=True)
class EtcdStarted(ClusterStep):
    """The chosen machine shows that etcd began."""

    kind: ClassVar[str] = "bootstrapped"


@dataclass(frozen=True)
class MapEtcd(ClusterStep):
    """Store which etcd member lives on which machine: (machine UUID, member id)."""

    kind: ClassVar[str] = "map-etcd"
    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class RemoveCluster(ClusterStep):
    """All machines are free: the rows go."""

    kind: ClassVar[str] = "remove-cluster"
