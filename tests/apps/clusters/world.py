"""A world of machines in memory, as simple as real ones are to their caller, and the loop that reconciles them.

Machines answer, install, reboot, take configs, run etcd and register as nodes. `report` writes what the gateway would
have seen. `World.strike` hears of every point at which something may befall the process: see `tests/crash`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

import grpc
import pytest
import yaml
from django.utils import timezone

from apps.clusters import credentials, kubernetes, node
from apps.clusters.cluster_steps import EtcdMember, Kubernetes
from apps.clusters.machine_steps import Live, Silent
from apps.clusters.models import ClusterMachine
from apps.machines.models import Link, Machine, MachineObservation, MachineStatus
from apps.reconcile.models import Outbox
from apps.reconcile.outbox import hint
from apps.reconcile.registry import RECONCILERS
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope
from nodeagent import errors
from talos import semver
from talos.contract import VersionContract
from talos.secrets import Bundle, new_bundle

SCHEMATIC = "376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba"
KINDS = ("cluster", "cluster-machine", "schematic")


SLOW = 2
"""Turns between a call that was answered and its effect."""


def uuid_of(number: int) -> str:
    return f"11111111-2222-4333-8444-{number:012d}"


@cache
def bundle_for(version: str) -> Bundle:
    """Secrets are made once for all tests: a key of 4096 bits takes its time."""
    return new_bundle(datetime.now(UTC), VersionContract.parse(version))


@dataclass
class FakeMachine:
    """One machine: what it is, and what was done to it."""

    number: int
    version: str = "1.13.8"
    booted: str = ""  # version from which it booted before it was installed
    system_disk: str = ""
    boot: int = 1
    config: dict[str, Any] | None = None
    documents: list[dict[str, Any]] = field(default_factory=list)
    schematic: str = SCHEMATIC
    online: bool = True
    away: int = 0  # looks for which it does not answer
    stage: str = "maintenance"
    ready: bool = False
    refuses: str = ""  # why it takes no config
    breaks: bool = False  # the next config keeps it from getting ready
    installed_version: str = ""
    told: str = ""  # reboot or reset: heard, and not begun yet
    begins: int = 0  # turns until it begins
    calls: list[str] = field(default_factory=list)

    @property
    def uuid(self) -> str:
        return uuid_of(self.number)

    @property
    def name(self) -> str:
        return f"m-{self.number}"

    @property
    def address(self) -> str:
        """On the overlay."""
        return f"fdae:41e4:649b:9303::{self.number + 16:x}"

    @property
    def secure(self) -> bool:
        return self.config is not None

    @property
    def control_plane(self) -> bool:
        return self.config is not None and self.config["machine"]["type"] == "controlplane"

    @property
    def cluster(self) -> str:
        """The name of its cluster: in the first document, or since contract 1.14 in one of its own."""
        if self.config is None:
            return ""
        named = self.config.get("cluster", {}).get("clusterName")
        return str(named or next(item["clusterName"] for item in self.documents if item.get("clusterName")))

    def count(self, call: str) -> int:
        return self.calls.count(call)

    def tell(self, what: str) -> None:
        """It answers, and goes on as it was for a little."""
        self.told, self.begins = what, SLOW

    def restart(self) -> None:
        self.boot += 1
        self.away = 2
        self.ready = False
        self.stage = "booting" if self.secure else "maintenance"
        if self.installed_version and self.system_disk:
            self.version = self.installed_version

    @property
    def member_id(self) -> str:
        return f"{0xAB00 + self.number:016x}"


class World:
    """Machines, the etcd clusters they form, the clock, and the reconcile loop."""

    def __init__(self, organisation: Organisation, monkeypatch: pytest.MonkeyPatch) -> None:
        self.organisation = organisation
        self.machines: dict[str, FakeMachine] = {}
        self.etcd: dict[str, set[str]] = {}  # cluster -> UUIDs of members
        self.now = datetime.fromisoformat("2026-11-25T12:00:00+00:00")
        self.strike: Callable[[str], None] = lambda point: None
        self.largest_change = 0
        monkeypatch.setattr(timezone, "now", lambda: self.now)
        monkeypatch.setattr(node, "connect", lambda target: FakeNode(self, target))
        monkeypatch.setattr(kubernetes, "status", self.kubernetes_status)
        monkeypatch.setattr(kubernetes, "delete_node", self.delete_node)
        monkeypatch.setattr(credentials, "new_secrets", bundle_for)

    # Machines

    def join(self, number: int, **fields: Any) -> FakeMachine:
        """A machine joins: its rows are there as after Provision."""
        machine = self.machines[uuid_of(number)] = FakeMachine(number, **fields)
        with tenant_scope(self.organisation.id):
            row = Machine.new(uuid=machine.uuid)
            Link.new(
                machine=row,
                claimed_uuid=machine.uuid,
                state=Link.ESTABLISHED,
                transport="udp",
                public_key=f"key-{machine.uuid[-12:]}",
                address=machine.address,
            )
            MachineObservation.new(machine=row)
            MachineStatus.new(machine=row)
        self.report()
        return machine

    def tick(self) -> None:
        """Time passes: machines get where they were going."""
        self.now += timedelta(seconds=5)
        for machine in self.machines.values():
            machine.away = max(0, machine.away - 1)
            if machine.begins:
                machine.begins -= 1
                if machine.begins == 0:
                    self._begin(machine)
            if not machine.online or machine.away or not machine.secure:
                continue
            members = self.etcd.get(machine.cluster)
            if machine.control_plane and members is not None:
                members.add(machine.uuid)
            if members is not None and not machine.breaks:
                machine.stage, machine.ready = "running", True

    def _begin(self, machine: FakeMachine) -> None:
        """What a machine was told comes over it."""
        if machine.told == "reset":
            self.etcd.get(machine.cluster, set()).discard(machine.uuid)
            machine.config, machine.documents = None, []
        machine.restart()

    def report(self) -> None:
        """Write what the gateway sees, and hint whoever depends on it."""
        with tenant_scope(self.organisation.id):
            for row in Machine.objects.select_related("observation"):
                machine = self.machines[row.uuid]
                observed, before = row.observation, dict(vars(row.observation))
                observed.connected = machine.online and not machine.away
                if observed.connected:
                    self._observe(observed, machine)
                if {**before, "_state": None} != {**vars(observed), "_state": None}:
                    observed.save()
                    for member in ClusterMachine.objects.filter(machine=row):
                        hint("cluster-machine", member.id, self.organisation.id)
                        hint("cluster", member.cluster_id, self.organisation.id)

    def _observe(self, observed: MachineObservation, machine: FakeMachine) -> None:
        observed.reachable = True
        observed.api_mode = "secure" if machine.secure else "maintenance"
        observed.stage, observed.ready = machine.stage, machine.ready
        observed.talos_version, observed.schematic = f"v{machine.version}", machine.schematic
        observed.boot_id, observed.hostname = f"boot-{machine.boot}", machine.name
        observed.system_disk, observed.installed = machine.system_disk, bool(machine.system_disk)
        observed.platform, observed.addresses = "metal", [f"192.0.2.{machine.number}/24"]
        observed.disks = [{"path": "/dev/vda", "size": 20 * 10**9, "transport": "virtio"}]
        in_etcd = machine.uuid in self.etcd.get(machine.cluster, set())
        observed.etcd_member_id = machine.member_id if in_etcd else ""
        observed.node_name = machine.name if machine.secure and machine.ready else ""

    def kubernetes_status(self, control_plane: kubernetes.ControlPlane) -> Kubernetes:
        machine = next(m for m in self.machines.values() if m.address == control_plane.address)
        if not self.etcd.get(machine.cluster) or machine.away or not machine.online:
            return Kubernetes(False, "connection refused")
        nodes = [m for m in self.machines.values() if m.cluster == machine.cluster]
        return Kubernetes(True, nodes=tuple((m.name, m.ready and m.online) for m in nodes))

    def delete_node(self, control_plane: kubernetes.ControlPlane, name: str) -> None:
        self.strike("before delete-node")
        self.strike("after delete-node")

    # Reconciling

    def run(self, until: Callable[[], bool], turns: int = 300) -> None:
        """Reconcile until something is so, as the engine does; time passes by five seconds a turn."""
        for _ in range(turns):
            self.turn()
            if until():
                return
        raise AssertionError(f"it did not come to that: {self.describe()}")

    def turn(self) -> None:
        """Time passes, and everything that is due is reconciled once."""
        self.tick()
        self.report()
        for kind, object_id in self.due():
            self.reconcile(kind, object_id)
            self._check()

    def due(self) -> list[tuple[str, UUID]]:
        return list(Outbox.objects.filter(kind__in=KINDS).order_by("id").values_list("kind", "object_id"))

    def reconcile(self, kind: str, object_id: UUID) -> None:
        row = Outbox.objects.get(kind=kind, object_id=object_id)
        outcome = RECONCILERS[kind](self.organisation.id, object_id)
        if outcome.again_in is None:
            Outbox.objects.filter(id=row.id, version=row.version).delete()

    def _check(self) -> None:
        """At no moment is more than one control plane of a cluster in change."""
        with tenant_scope(self.organisation.id):
            changing = ClusterMachine.objects.filter(role="controlplane").exclude(slot_at=None).count()
        assert changing <= 1
        self.largest_change = max(self.largest_change, changing)

    def describe(self) -> str:
        with tenant_scope(self.organisation.id):
            rows = ClusterMachine.objects.select_related("machine")
            said = [f"{row.machine.uuid[-2:]}: {row.conditions[-1:]}" for row in rows]
        return "; ".join(said) or "no machines are in a cluster"

    def total(self, call: str) -> int:
        return sum(machine.count(call) for machine in self.machines.values())


class FakeNode:
    """`apps.clusters.node.Node` for one machine of the world."""

    def __init__(self, world: World, target: node.Target) -> None:
        self.world, self.target = world, target
        self.machine = next(one for one in world.machines.values() if one.address == target.address)

    def look(self) -> Live | Silent:
        machine = self.machine
        if machine.away or not machine.online:
            return Silent("it does not answer")
        if machine.uuid != self.target.uuid:
            return Silent(f"it says it is {machine.uuid}", foreign=True)
        if machine.secure and not self._trusted():
            return Silent("its certificate is not accepted", foreign=True)
        return Live(
            mode="secure" if machine.secure else "maintenance",
            version=machine.version,
            stage=machine.stage,
            ready=machine.ready,
            boot_id="" if not machine.secure and semver.parse(machine.version) < semver.parse("1.13.0")
            else f"boot-{machine.boot}",
            system_disk=machine.system_disk,
            schematic=machine.schematic,
            etcd_healthy=machine.ready and machine.uuid in self.world.etcd.get(machine.cluster, set()),
        )  # fmt: skip

    def _trusted(self) -> bool:
        return self.target.credentials is not None and self.machine.config is not None

    def _reach(self, secure: bool, call: str) -> FakeMachine:
        if self.machine.away or not self.machine.online:
            raise errors.from_status(self.machine.name, call, grpc.StatusCode.UNAVAILABLE, "it does not answer")
        assert self.machine.uuid == self.target.uuid, f"{call} on another machine"
        assert self.machine.secure == secure, f"{call} in the wrong mode"
        self.world.strike(f"before {call}")
        self.machine.calls.append(call)
        return self.machine

    def install(self, image: str, disk: str) -> None:
        machine = self._reach(False, "install")
        assert not machine.system_disk, "installed over an installation"
        machine.system_disk = disk
        machine.installed_version = image.rpartition(":v")[2]
        self.world.strike("after install")

    def upgrade(self, image: str, by_machine: bool) -> None:
        machine = self._reach(False, "upgrade")
        assert machine.system_disk
        machine.installed_version = image.rpartition(":v")[2]
        if by_machine:
            machine.restart()
        self.world.strike("after upgrade")

    def reboot(self, secure: bool) -> None:
        self._reach(secure, "reboot").tell("reboot")
        self.world.strike("after reboot")

    def apply(self, config: bytes, secure: bool) -> bool:
        machine = self._reach(secure, "apply")
        if machine.refuses:
            raise errors.from_status(machine.name, "apply", grpc.StatusCode.INVALID_ARGUMENT, machine.refuses)
        documents = list(yaml.safe_load_all(config))
        machine.documents, machine.config = documents, documents[0]
        first, old = not secure, semver.parse(machine.version) < semver.parse("1.13.0")
        if first and not machine.system_disk:
            assert old, "a machine of this version is installed by a call"
            machine.calls.append("install")
            machine.system_disk = documents[0]["machine"]["install"]["disk"]
            machine.restart()
        if first:
            machine.stage = "booting"
        self.world.strike("after apply")
        return not (first and old)

    def bootstrap(self) -> None:
        machine = self._reach(True, "bootstrap")
        if self.world.etcd.get(machine.cluster):
            raise errors.from_status(machine.name, "bootstrap", grpc.StatusCode.ALREADY_EXISTS, "data directory")
        self.world.etcd[machine.cluster] = {machine.uuid}
        self.world.strike("after bootstrap")

    def etcd_members(self) -> tuple[EtcdMember, ...]:
        if self.machine.away or not self.machine.online:
            raise errors.from_status(self.machine.name, "etcd", grpc.StatusCode.UNAVAILABLE, "it does not answer")
        members = self.world.etcd.get(self.machine.cluster, set())
        if self.machine.uuid not in members:
            return ()
        found = [self.world.machines[uuid] for uuid in sorted(members)]
        return tuple(EtcdMember(machine.member_id, machine.name) for machine in found)

    def reset(self, graceful: bool, version: str) -> None:
        self._reach(True, "reset").tell("reset")
        self.world.strike("after reset")
