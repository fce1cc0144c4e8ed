"""A cluster on the real database whose machines say of each other what a mesh made for the test says."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from apps.clusters.credentials import store_secrets
from apps.clusters.models import Cluster, ClusterMachine, ClusterStatus
from apps.machines.models import Link, Machine, MachineObservation
from apps.mesh import collector, reconcile_mesh
from apps.mesh.collector import Reading, Target
from apps.mesh.meshes import status_of
from apps.mesh.models import MeshNode, MeshStatus
from apps.mesh.reading import Announced
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope
from kubespan.mesh import Node
from tests.apps.clusters.world import bundle_for
from tests.kubespan.meshes import AT, World

AGO = timedelta(days=30)


def said(node: Node) -> Reading:
    """What a node answers, as the collector has it. `AT` of the mesh is now."""
    shift = int(timezone.now().timestamp()) - AT
    peers = node.peers
    if peers is not None:
        for column in (peers.handshakes, peers.changed):
            for position, moment in enumerate(column):
                column[position] = moment + shift if moment else 0
    return Reading(
        at=timezone.now().timestamp(), me=announced(node) if node.key else None, peers=peers, clock=node.clock
    )


def announced(node: Node) -> Announced:
    return Announced(node.id, node.name, node.key, node.address, node.role, node.endpoints, node.addresses)


@dataclass
class House:
    """A cluster `prod` with the machines of a mesh. `answers` by UUID; who is not in it is not asked in time."""

    organisation: Organisation
    cluster: Cluster
    uuids: dict[str, str] = field(default_factory=dict)  # by the node's name
    answers: dict[str, Reading] = field(default_factory=dict)
    asked: list[Target] = field(default_factory=list)
    served: list[Announced] = field(default_factory=list)  # by our discovery service

    @classmethod
    def make(cls, organisation: Organisation, name: str = "prod", port: int = 10_001) -> "House":
        with tenant_scope(organisation.id):
            cluster = Cluster.new(
                name=name, kubernetes_version="1.36.2", talos_version="1.13.8", initial_talos_version="1.13.8",
                balancer_port=port,
            )  # fmt: skip
            condition = {"name": "ready", "state": "ok", "message": f"{name} is ready.", "since": stamp()}
            ClusterStatus.new(
                cluster=cluster, conditions=[condition], ready=True, ready_at=timezone.now(), observed_generation=1
            )
            store_secrets(cluster, bundle_for("1.13.8"))
        return cls(organisation, cluster)

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let this cluster's nodes, and the discovery service, be those of the test."""
        monkeypatch.setattr(collector, "read", self.read)
        monkeypatch.setattr(reconcile_mesh, "_discovered", lambda bundle: {item.node_id: item for item in self.served})
        monkeypatch.setattr("apps.clusters.discovery.there_is_ours", lambda: True)

    def read(self, targets: Sequence[Target]) -> list[Reading | None]:
        self.asked = list(targets)
        return [self.answers.get(target.uuid) for target in targets]

    def build(self, world: World) -> None:
        """Machines for all nodes of a mesh, and what they answer."""
        with tenant_scope(self.organisation.id):
            known = Machine.objects.count()
            for number, node in enumerate(world.nodes, known + 1):
                self.uuids[node.name] = f"00000000-0000-4000-8000-{number:012d}"
                self.machine(number, node)
        self.say(world)

    def machine(self, number: int, node: Node) -> None:
        machine = Machine.new(uuid=self.uuids[node.name], labels={"zone": node.label} if node.label else {})
        MachineObservation.new(
            machine=machine, hostname=node.name, node_id=node.id, connected=True, reachable=True, api_mode="secure",
            stage="running", ready=True, observed_at=timezone.now(), connected_changed_at=timezone.now() - AGO,
            endpoint=node.seen_from, network={"networks": [{"network": item} for item in node.networks]},
            talos_version="v1.13.8", addresses=[f"{address}/24" for address in node.addresses[:1]],
        )  # fmt: skip
        Link.new(
            machine=machine, claimed_uuid=machine.uuid, state="established", transport=Link.UDP,
            address=f"fdae:41e4:649b:9303::{number + 16:x}", public_key=f"{self.cluster.name}-{number}"[:44],
        )  # fmt: skip
        ClusterMachine.new(
            cluster=self.cluster, machine=machine, role=node.role, kubernetes_version="1.36.2", ready=True,
            node_name=node.name, stage="running",
        )  # fmt: skip

    def say(self, world: World) -> None:
        """What the machines answer from now on."""
        self.answers = {self.uuids[node.name]: said(node) for node in world.read() if not node.unread}

    def observe(self, name: str, **fields: Any) -> None:
        with tenant_scope(self.organisation.id):
            MachineObservation.objects.filter(machine__uuid=self.uuids[name]).update(**fields)

    def reconcile(self, after: timedelta = timedelta(minutes=1)) -> MeshStatus:
        """Read the mesh, as if the last time was some time ago."""
        self.pass_by(after)
        reconcile_mesh.reconcile_mesh(self.organisation.id, self.cluster.id)
        return self.status()

    def pass_by(self, time: timedelta) -> None:
        """Have the last reading be older."""
        with tenant_scope(self.organisation.id):
            for status in MeshStatus.objects.filter(cluster=self.cluster).exclude(read_at=None):
                MeshStatus.objects.filter(id=status.id).update(read_at=status.read_at - time)

    def status(self) -> MeshStatus:
        with tenant_scope(self.organisation.id):
            return status_of(self.cluster)

    def rows(self) -> dict[str, MeshNode]:
        with tenant_scope(self.organisation.id):
            return {row.name: row for row in MeshNode.objects.filter(cluster=self.cluster).select_related("machine")}

    def ask(self, work: Callable[[], Any]) -> Any:
        with tenant_scope(self.organisation.id):
            return work()


def stamp() -> str:
    return datetime.now(timezone.get_current_timezone()).isoformat()
