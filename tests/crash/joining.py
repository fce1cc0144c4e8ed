"""Machines that join, in memory, as a stage for a dying gateway and a dying worker."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Coroutine
from typing import Any, TypeVar
from uuid import UUID

import grpc
import pytest

from apps.audit.models import AuditRecord
from apps.gateways import sessions
from apps.gateways.directory import Known
from apps.machines import nodes
from apps.machines.adapters import as_link
from apps.machines.models import JoinToken, Link, Machine, MachineObservation, MachineStatus
from apps.machines.reconcilers import reconcile_machine
from apps.reconcile.models import Outbox
from apps.reconcile.outbox import hint
from apps.tenants.scope import tenant_scope
from nodeagent import errors
from nodeagent.adopt import META_UNIQUE_TOKEN, META_UUID_OVERRIDE, adopt
from nodeagent.ports import ProvisionRefused
from talos.resources import Resource, types
from tests.apps.machines.desk import Desk, key
from tests.crash import points
from tests.nodeagent.fakenode import resource

T = TypeVar("T")


@dataclasses.dataclass
class JoiningMachine:
    """A machine in maintenance mode: its hardware, its META, and what was written and answered to it."""

    number: int
    uuid: str
    boot: int = 1
    meta: dict[int, bytes] = dataclasses.field(default_factory=dict)
    written: list[tuple[int, bytes]] = dataclasses.field(default_factory=list)
    configs: list[bytes] = dataclasses.field(default_factory=list)
    told: tuple[str, str, bytes] | None = None  # key, UUID and token with which its link was answered
    addresses: list[str] = dataclasses.field(default_factory=list)  # one for each answer that was another

    @property
    def claims(self) -> tuple[str, str, bytes]:
        """Key, UUID and token of its next call."""
        uuid = self.meta.get(META_UUID_OVERRIDE, self.uuid.encode()).decode()
        return key(self.number * 10 + self.boot), uuid, self.meta.get(META_UNIQUE_TOKEN, b"")

    def reboot(self) -> None:
        """Before it is installed, META does not outlive a boot."""
        self.boot += 1
        self.meta.clear()
        self.configs.clear()
        self.told = None


class JoiningStage:
    """Each machine calls until it is answered; the gateway adopts whom it knows; the machine reconciler does its part.

    Nothing is kept between turns but the database and the machines: that is what a new process has.
    """

    def __init__(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        self.desk = desk
        self.machines: list[JoiningMachine] = []
        self.strike: points.Strike = lambda point: None
        monkeypatch.setattr(nodes, "call", self._call)
        points.watch(self, monkeypatch)

    def memory(self) -> Any:
        return self.machines

    def restore(self, memory: Any) -> None:
        self.machines = memory

    def turn(self) -> None:
        for machine in self.machines:
            if machine.told != machine.claims:
                self._provision(machine)
        for machine in self.machines:
            self._gateway(machine)
        for object_id in list(Outbox.objects.filter(kind="machine").order_by("id").values_list("object_id", flat=True)):
            outcome = reconcile_machine(self.desk.organisation.id, object_id)
            if outcome.again_in is None:
                Outbox.objects.filter(kind="machine", object_id=object_id).delete()

    def run(self, until: Any) -> None:
        for _ in range(30):
            self.turn()
            if until():
                return
        raise AssertionError(f"it did not come to that: {self.summary()}")

    def summary(self) -> Any:
        """Chosen values are known by whose they are, drawn ones only by being there."""
        with tenant_scope(self.desk.organisation.id):
            links = Link.objects.select_related("machine").order_by("public_key")
            drawn = self._drawn()
            return {
                "links": [(row.public_key, row.state, row.conflict, drawn(row.claimed_uuid)) for row in links],
                "machines": sorted(drawn(uuid) for uuid in Machine.objects.values_list("uuid", flat=True)),
                "kept": sorted(
                    (drawn(row.machine.uuid), [item["message"] for item in row.conditions])
                    for row in MachineStatus.objects.select_related("machine")
                ),
                "uses": list(JoinToken.objects.values_list("use_count", flat=True)),
                "audit": dict(Counter(AuditRecord.objects.values_list("verb", flat=True))),
                "meta": [sorted(machine.meta) for machine in self.machines],
            }

    def _drawn(self) -> Any:
        known = {machine.uuid for machine in self.machines}
        return lambda uuid: uuid if uuid in known else "drawn"

    # What machines and gateway do

    def _provision(self, machine: JoiningMachine) -> None:
        public_key, uuid, token = claims = machine.claims
        try:
            link = self.desk.provision(uuid, public_key, token.decode() or None)
        except ProvisionRefused:
            return
        machine.told = claims
        if machine.addresses[-1:] != [str(link.address)]:
            machine.addresses.append(str(link.address))

    def _gateway(self, machine: JoiningMachine) -> None:
        """What the gateway does with the link under the machine's key: a new process finds it in the database."""
        with tenant_scope(self.desk.organisation.id):
            row = Link.objects.filter(public_key=machine.claims[0]).first()
        if row is None or machine.told is None:
            return
        if row.machine_id is not None:
            self._observe(row.machine_id, machine)
            return
        known = Known(as_link(row), row.organisation_id, None, row.claimed_uuid)

        async def choose(*hardware: Any) -> Any:
            return sessions._choose(known, *hardware)

        with contextlib.suppress(errors.NodeError):
            _finish(adopt(_Client(self, machine), choose))  # type: ignore[arg-type]

    def _observe(self, machine_id: UUID, machine: JoiningMachine) -> None:
        seen = {"connected": True, "reachable": True, "stage": "maintenance", "api_mode": "maintenance"}
        with tenant_scope(self.desk.organisation.id):
            changed = MachineObservation.objects.filter(machine_id=machine_id).exclude(boot_id=str(machine.boot))
            if changed.update(**seen, boot_id=str(machine.boot)):
                hint("machine", machine_id, self.desk.organisation.id)

    def _call(self, address: str, credentials: Any, work: Any, uuid: str | None = None, timeout: float = 0) -> Any:
        """`nodes.call`, with the machine at that address."""
        machine = next(one for one in self.machines if one.addresses[-1:] == [address])
        assert machine.claims[1] == uuid, "another machine"
        return _finish(work(_Client(self, machine)))


class _Client:
    """As much of `NodeClient` as joining needs."""

    def __init__(self, stage: JoiningStage, machine: JoiningMachine) -> None:
        self._stage, self._machine = stage, machine

    async def get(self, kind: Any, name: str = "") -> Resource:
        if kind is types.SYSTEM_INFORMATION:
            return resource(kind, {"uuid": self._machine.uuid, "serialnumber": f"s{self._machine.number}"})
        raise errors.from_status("m", "reading", grpc.StatusCode.NOT_FOUND, "there is none")

    async def list(self, kind: Any) -> list[Resource]:
        mac = f"52:54:00:00:00:{self._machine.number:02x}"
        return [resource(kind, {"type": "ether", "kind": "", "hardwareAddr": mac, "permanentAddr": mac}, "eth0")]

    async def meta_write(self, number: int, value: bytes) -> None:
        self._stage.strike("before META write")
        self._machine.written.append((number, value))
        self._machine.meta[number] = value
        self._stage.strike("after META write")

    async def apply_configuration(self, config: bytes) -> None:
        self._stage.strike("before apply")
        self._machine.configs.append(config)
        self._stage.strike("after apply")


def _finish(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing: without an event loop, in which Django would refuse to work."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("it waits for something")
