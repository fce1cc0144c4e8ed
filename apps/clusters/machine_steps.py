"""What is known of one machine of a cluster, and the steps that can be taken with it: the planner's words."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal

Role = Literal["controlplane", "worker"]


@dataclass(frozen=True)
class Live:
    """What the machine itself said moments ago, on a connection that proved its identity."""

    mode: Literal["maintenance", "secure"]
    version: str  # of the running Talos, without v
    stage: str  # maintenance, booting, running, ...; empty where Talos does not say
    ready: bool = False
    boot_id: str = ""  # empty where it cannot be read (maintenance mode before Talos 1.13)
    system_disk: str = ""  # empty when not installed
    schematic: str = ""  # empty when the image names none
    etcd_healthy: bool = False
    install_error: str = ""  # why it did not install itself by its config, where Talos says so (1.14)


@dataclass(frozen=True)
class Silent:
    """The machine did not answer, or something answered that is not this machine under our rule."""

    reason: str  # a clause for people
    foreign: bool = False  # it obeys another authority, or is another machine


@dataclass(frozen=True)
class Call:
    """An operation: a call that is not to be repeated blindly, open while the machine has not shown its effect."""

    kind: str  # install, upgrade, reboot, restart, reset, bootstrap
    tried_at: datetime | None  # of the last try; None when the process died before the call
    boot_id: str = ""  # of the machine when called
    target: str = ""  # installer image
    tries: int = 0
    error: str = ""
    permanent: bool = False  # the machine said that trying again is of no use


@dataclass(frozen=True)
class Facts:
    """All that is known of one machine of a cluster. Sentences name it by `name`."""

    name: str
    role: Role
    connected: bool
    # wanted
    talos_version: str = ""
    admin_in_maintenance: bool = True  # its link lets us install and upgrade it by calls before it is configured
    config_installs: bool = True  # its config says what to install where
    schematic: str = ""
    schematic_ready: bool = True  # the factory can build it
    schematic_error: str = ""
    image: str = ""
    disk: str = ""
    disk_problem: str = ""  # why no disk can be chosen
    # configuration
    render_needed: bool = False
    render_error: str = ""
    config_sha: str = ""
    refused_sha: str = ""  # of the config that the machine refused
    refusal: str = ""
    applied_sha: str = ""
    applied_at: datetime | None = None  # a config was last sent, whether or not it was confirmed
    # what happened
    open: Call | None = None
    installed: Call | None = None  # the last install or upgrade that ended
    touched: bool = False  # any call was ever made
    # leaving
    leaving: bool = False
    cluster_leaving: bool = False
    node_name: str = ""  # of its Kubernetes node, still to be deleted
    forget_until: datetime | None = None  # after this the node is left to be deleted by hand
    # changes one at a time
    bootstrapped: bool = False
    slot_held: bool = False
    slot_holders: tuple[str, ...] = ()  # other machines in change, of the cluster's control plane or this worker set
    slots: int = 1
    unhealthy: tuple[str, ...] | None = None  # other control planes that are not healthy by a fresh reading
    # read from the machine
    seen: Live | None = None  # the gateway's last observation
    live: Live | Silent | None = None


@dataclass(frozen=True)
class Step:
    """Something to do now; `sentence` says so to people."""

    sentence: str
    kind: ClassVar[str]


@dataclass(frozen=True)
class Render(Step):
    """Generate the configuration from what it depends on; touches no machine."""

    kind: ClassVar[str] = "render"


@dataclass(frozen=True)
class Install(Step):
    """Pull the image and install it on the disk, in maintenance mode."""

    kind: ClassVar[str] = "install"
    image: str
    disk: str


@dataclass(frozen=True)
class Upgrade(Step):
    """Put another image on an installed machine in maintenance mode; keeps what is on the disk.

    `by_machine`: Talos before 1.13 pulls, installs and reboots by itself.
    """

    kind: ClassVar[str] = "upgrade"
    image: str
    by_machine: bool = False


@dataclass(frozen=True)
class Reboot(Step):
    kind: ClassVar[str] = "reboot"


@dataclass(frozen=True)
class Apply(Step):
    """Give the machine its configuration; `installs` when the machine will install itself by it."""

    kind: ClassVar[str] = "apply"
    installs: bool = False


@dataclass(frozen=True)
class TakeSlot(Step):
    """Become the one that changes."""

    kind: ClassVar[str] = "take-slot"


@dataclass(frozen=True)
class FreeSlot(Step):
    kind: ClassVar[str] = "free-slot"


@dataclass(frozen=True)
class Reset(Step):
    """Wipe what Talos keeps on the machine and reboot it into maintenance mode."""

    kind: ClassVar[str] = "reset"
    graceful: bool


@dataclass(frozen=True)
class Close(Step):
    """End the open operation: the machine showed its effect, or `error` says why it is given up, for good or not."""

    kind: ClassVar[str] = "close"
    error: str = ""
    permanent: bool = False


@dataclass(frozen=True)
class ForgetNode(Step):
    """Delete the Kubernetes node of a machine that has left."""

    kind: ClassVar[str] = "forget-node"


@dataclass(frozen=True)
class Release(Step):
    """Remove the machine from the cluster's rows: it is free."""

    kind: ClassVar[str] = "release"
