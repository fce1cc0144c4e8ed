"""An organisation with two clusters, a machine in each and a free one, and people to write policies about."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from rest_framework.test import APIClient

from apps.access.models import Policy
from apps.accounts import actions as accounts
from apps.accounts.models import Membership, User
from apps.clusters.models import Cluster, ClusterMachine, MachineSet
from apps.machines.models import Machine, MachineObservation
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope

ACME = "/api/v1/organisations/acme"
UUIDS = {name: f"00000000-0000-4000-8000-00000000000{number}" for number, name in enumerate(("m-1", "m-2", "m-3"), 1)}


@dataclass
class House:
    """`prod` (env=prod) has m-1 (disk=ssd), `stage` has m-2, m-3 is free."""

    organisation: Organisation

    def client(self, role: str, email: str = "") -> APIClient:
        """Somebody of this role, with a token of all of it."""
        email = email or f"{role}@acme.example.com"
        with tenant_scope(self.organisation.id):
            user = User.objects.filter(email=email).first() or User.objects.create_user(email)
            if not Membership.objects.filter(user=user).exists():
                Membership.new(user=user, role=role)
            acting = accounts.Actor("user", str(user.id), email, self.organisation.id, role)
            made = accounts.create_api_token(acting, user, f"test {User.objects.count()}", role)
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {made.secret}")
        return client

    def policy(self, name: str, **spec: Any) -> None:
        """Store one, whatever it says."""
        with tenant_scope(self.organisation.id):
            Policy.new(name=name, spec=spec)


@pytest.fixture
def house(organisation: Organisation) -> Iterator[House]:
    with tenant_scope(organisation.id):
        versions = {"kubernetes_version": "1.33.0", "talos_version": "1.10.0", "initial_talos_version": "1.10.0"}
        prod = Cluster.new(name="prod", balancer_port=10001, labels={"env": "prod"}, **versions)
        stage = Cluster.new(name="stage", balancer_port=10002, labels={"env": "stage"}, **versions)
        for name, cluster in (("m-1", prod), ("m-2", stage), ("m-3", None)):
            machine = Machine.new(uuid=UUIDS[name], labels={"disk": "ssd"} if name == "m-1" else {})
            MachineObservation.new(machine=machine, hostname=name)
            if cluster:
                workers = MachineSet.new(cluster=cluster, name=f"{cluster.name}-workers", role=MachineSet.WORKER)
                ClusterMachine.new(cluster=cluster, machine=machine, machine_set=workers, role=MachineSet.WORKER)
    return House(organisation)
