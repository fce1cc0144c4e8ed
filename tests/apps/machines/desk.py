"""Machines at the desk where they join: `Provision` against the real database, without a network."""

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from apps.access.actor import Actor
from apps.machines import actions, joining
from apps.machines.models import JoinToken, Link, Machine, MachineObservation
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope
from nodeagent.ports import ProvisionRefused, ProvisionRequest
from talos.jointoken import NodeUniqueToken

UUID = "8a4f3e34-58a6-4a1a-9bb0-44b2b3a3b8a1"
OTHER_UUID = "11111111-2222-4333-8444-555555555555"
SOURCE = "192.0.2.7"


def key(number: int) -> str:
    """A WireGuard public key; machines make a new one on each boot."""
    return base64.b64encode(bytes([number]) * 32).decode()


@dataclass
class Desk:
    """One organisation where machines join with one default token."""

    organisation: Organisation
    token: str = ""
    alive: set[str] = field(default_factory=set)  # virtual addresses with a live stream
    gateway: str = "one"  # that machines call

    def __post_init__(self) -> None:
        self.token = self.new_token("default")

    @property
    def owner(self) -> Actor:
        return Actor("user", "1", "owner@example.com", self.organisation.id, "owner")

    def new_token(self, name: str, **options: Any) -> str:
        with tenant_scope(self.organisation.id):
            return actions.create_join_token(self.owner, name, **options).token

    def change_token(self, name: str, **columns: Any) -> None:
        with tenant_scope(self.organisation.id):
            JoinToken.objects.filter(name=name).update(**columns)

    def token_row(self, name: str = "default") -> JoinToken:
        with tenant_scope(self.organisation.id):
            return JoinToken.objects.get(name=name)

    def provision(
        self,
        uuid: str = UUID,
        public_key: str = key(1),
        unique: NodeUniqueToken | str | None = None,
        token: str | None = "",
        version: str | None = "v1.13.8",
        tunnel: bool = False,
    ) -> Link:
        """One call; the organisation's default token unless told otherwise (None: none)."""
        request = ProvisionRequest(
            node_uuid=uuid,
            public_key=public_key,
            join_token=self.token if token == "" else token,
            unique_token=unique.encode() if isinstance(unique, NodeUniqueToken) else unique,
            talos_version=version,
            wants_tunnel=tunnel,
            source=SOURCE,
        )
        return joining.provision(request, lambda link: str(link.virtual_address) in self.alive, self.gateway)

    def refused(self, **call: Any) -> tuple[str, str]:
        """Code and text of a call that is refused and leaves nothing behind."""
        before = self.stored()
        with pytest.raises(ProvisionRefused) as refusal:
            self.provision(**call)
        assert self.stored() == before
        return refusal.value.code, refusal.value.text

    def stored(self) -> list[tuple[Any, ...]]:
        """All there is of links."""
        with tenant_scope(self.organisation.id):
            return list(Link.objects.order_by("id").values_list())

    def adopt(self, link: Link, fingerprint: str = "hardware") -> NodeUniqueToken:
        """What the gateway writes into the META of a pending machine."""
        with tenant_scope(self.organisation.id):
            return actions.issue_unique_token(Link.objects.get(id=link.id), fingerprint)

    def joined(self, uuid: str = UUID, number: int = 1, fingerprint: str = "hardware") -> tuple[Link, NodeUniqueToken]:
        """A machine that went all the way."""
        token = self.adopt(self.provision(uuid, key(number)), fingerprint)
        return self.provision(uuid, key(number), token), token

    def install(self, link: Link) -> None:
        """Talos is seen on the machine's disk: META survives from now on."""
        with tenant_scope(self.organisation.id):
            MachineObservation.objects.filter(machine_id=link.machine_id).update(installed=True)

    def ask(self, work: Callable[[], Any]) -> Any:
        with tenant_scope(self.organisation.id):
            return work()

    def machines(self) -> list[str]:
        with tenant_scope(self.organisation.id):
            return list(Machine.objects.order_by("uuid").values_list("uuid", flat=True))
