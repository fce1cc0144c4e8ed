"""The world of machines in memory as a stage for dying processes."""

import hashlib
import json
from collections import Counter
from typing import Any

import pytest

from apps.audit.models import AuditRecord
from apps.clusters.models import ClusterMachine, ClusterStatus, Operation
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope
from tests.apps.clusters.world import FakeMachine, World
from tests.crash import points

DESTRUCTIVE = ("install", "upgrade", "reboot", "bootstrap", "reset")
"""Calls that cannot be taken back."""


class ClusterStage(World):
    """Machines, the reconcilers of clusters, and what has to be the same in the end."""

    def __init__(self, organisation: Organisation, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(organisation, monkeypatch)
        points.watch(self, monkeypatch)

    def memory(self) -> Any:
        return self.machines, self.etcd, self.now

    def restore(self, memory: Any) -> None:
        self.machines, self.etcd, self.now = memory

    def summary(self) -> Any:
        with tenant_scope(self.organisation.id):
            columns = (
                "machine__uuid",
                "role",
                "ready",
                "stage",
                "etcd_member_id",
                "node_name",
                "slot_at",
                "leaving_at",
            )
            members = [
                (*row, current == wanted, _said(conditions))
                for *row, current, wanted, conditions in ClusterMachine.objects.order_by("machine__uuid").values_list(
                    *columns, "applied_sha", "config_sha", "conditions"
                )
            ]
            clusters = [(row.phase, row.ready, _said(row.conditions)) for row in ClusterStatus.objects.all()]
            told = Counter(AuditRecord.objects.values_list("verb", flat=True))
            waiting = Operation.objects.filter(finished_at=None).count()
        return {
            "machines": {name: _shown(machine) for name, machine in self.machines.items()},
            "members": members,
            "clusters": clusters,
            "audit": dict(told),
            "open operations": waiting,
        }

    def destructive(self, number: int) -> dict[str, int]:
        """How often each call that cannot be taken back was made to a machine, without those that never were."""
        calls = self.machine(number).calls
        return {call: calls.count(call) for call in DESTRUCTIVE if call in calls}

    def machine(self, number: int) -> FakeMachine:
        return next(machine for machine in self.machines.values() if machine.number == number)


def _shown(machine: FakeMachine) -> Any:
    config = hashlib.sha256(json.dumps([machine.config, machine.documents], sort_keys=True).encode()).hexdigest()
    return machine.stage, machine.ready, machine.version, machine.system_disk, config


def _said(conditions: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(item["name"], item["state"], item["message"]) for item in conditions]
