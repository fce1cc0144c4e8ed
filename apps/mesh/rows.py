"""The rows of a mesh, brought up to date from what nodes and discovery services say."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from apps.clusters.models import Cluster, ClusterMachine
from apps.clusters.observe_machine import machine_name
from apps.machines.models import Machine
from apps.mesh.collector import Reading
from apps.mesh.models import MeshNode
from apps.mesh.reading import Announced
from apps.tenants.scope import current_tenant
from kubespan.sites import LABELS

FOREIGN = "is no machine of this installation"
NOT_ASKED = "has not been asked yet"

_NOBODY = Announced("", "")
_KEPT = ("number", "node_id", "name", "role", "key", "address", "endpoints", "addresses", "networks", "place",
         "seen_from", "clock", "read_at", "unread", "peers")  # fmt: skip


def away(machine: Machine) -> str:
    """Why a machine need not be asked, in a clause; empty if it can be."""
    observed = machine.observation
    if not hasattr(machine, "link"):
        return "has no link"
    if not observed.connected:
        return "is not connected"
    return "" if observed.reachable else "is connected, and its API does not answer"


class Book:
    """The rows of one mesh. Call `member` for each machine of the cluster, then `others`, then `write`."""

    def __init__(self, cluster: Cluster, rows: Iterable[MeshNode]) -> None:
        self._cluster = cluster
        self._old = list(rows)
        self._next = max((row.number for row in self._old), default=0)
        self._readings: list[tuple[MeshNode, Reading]] = []
        self.rows: list[MeshNode] = []
        """Those that stay."""

    def member(self, member: ClusterMachine, reading: Reading | None, heard: Mapping[str, Announced]) -> None:
        """A machine of the cluster; `heard` is, by node id, what was told of nodes by others."""
        machine = member.machine
        row = next((row for row in self._old if row.machine_id == machine.id), None) or self._new(machine)
        row.node_id = machine.observation.node_id or row.node_id
        if reading is None:
            row.unread = away(machine) or (row.unread if row.read_at else NOT_ASKED)
            self._announce(row, heard.get(row.node_id))
        elif reading.problem:
            row.unread = reading.problem
            self._announce(row, heard.get(row.node_id))
        else:
            row.unread = ""
            self._announce(row, reading.me or _NOBODY)
            self._readings.append((row, reading))
        row.name, row.role = row.name or machine_name(machine), member.role
        self._place(row, machine)
        self.rows.append(row)

    def others(self, heard: Mapping[str, Announced]) -> None:
        """Nodes with KubeSpan that are no machines of ours. If nobody was heard, those known before stay."""
        ours = {row.node_id for row in self.rows}
        strangers = {row.node_id: row for row in self._old if row.machine_id is None}
        if not heard:
            self.rows += strangers.values()
        for node_id, item in heard.items():
            if item.key and node_id not in ours:
                row = strangers.get(node_id) or self._new(None)
                self._announce(row, item)
                row.node_id, row.role, row.unread = node_id, item.role[:16], FOREIGN
                self.rows.append(row)

    def write(self) -> None:
        """Store the rows, what was read with numbers in place of keys, and forget nodes that are gone."""
        numbers = {row.key: row.number for row in self.rows if row.key}
        for row, reading in self._readings:
            row.peers = reading.peers.pack(numbers) if reading.peers is not None else None
            row.clock = reading.clock
            row.read_at = datetime.fromtimestamp(reading.at, UTC)
        stay = {row.id for row in self.rows}
        ours = [row.machine_id for row in self.rows if row.machine_id]
        MeshNode.objects.filter(machine__in=ours).exclude(cluster=self._cluster).delete()  # they were elsewhere before
        MeshNode.objects.filter(id__in=[row.id for row in self._old if row.id not in stay]).delete()
        MeshNode.objects.bulk_create(self.rows, update_conflicts=True, unique_fields=["id"], update_fields=_KEPT)

    def _new(self, machine: Machine | None) -> MeshNode:
        self._next += 1
        return MeshNode(
            organisation_id=current_tenant(), cluster=self._cluster, machine=machine, number=self._next, name=""
        )

    def _announce(self, row: MeshNode, me: Announced | None) -> None:
        """How a node announces itself; None leaves it as it was. With another key it is another one to its peers."""
        if me is None:
            return
        if row.key and me.key and me.key != row.key:
            self._next += 1
            row.number = self._next
        row.key, row.address, row.name = me.key, me.address, me.name
        row.endpoints, row.addresses = list(me.endpoints), list(me.addresses)

    @staticmethod
    def _place(row: MeshNode, machine: Machine) -> None:
        """What we know beside of where a machine is."""
        observed = machine.observation
        labels = {**observed.image_labels, **machine.labels}
        row.networks = [item["network"] for item in observed.network.get("networks", [])]
        row.place = next((labels[label][:253] for label in LABELS if labels.get(label)), "")
        row.seen_from = observed.endpoint if machine.link.reaches_us else ""
