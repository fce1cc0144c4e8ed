"""A gateway with machines and clusters of organisations, and people who call through it as talosctl does."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import grpc

from apps.access.actor import Actor
from apps.accounts.authority import issue_certificate
from apps.accounts.models import AccessKey, Membership, User
from apps.audit.models import AuditRecord
from apps.clusters.credentials import store_secrets
from apps.clusters.models import Cluster, ClusterMachine, MachineSet
from apps.machines.models import Machine
from apps.reconcile.outbox import changed
from apps.tenants.ids import uuid7
from nodeagent import dial, errors
from nodeagent.client import API_PORT, NodeClient
from nodeagent.identity import once
from nodeagent.simulator.machine import Machine as Simulated
from nodeagent.tls import Credentials
from talos import openpgp, pki, siderolink, signing
from talos.config.document import encode
from talos.config.generate import GenerateInput, generate
from talos.contract import VersionContract
from talos.gen.machine import machine_pb2
from talos.machinetype import MachineType
from talos.pem import CertKey
from talos.secrets import Bundle, new_bundle
from tests.apps.gateways.lab import Lab, complete

VERSION = "/machine.MachineService/Version"
DMESG = "/machine.MachineService/Dmesg"
REBOOT = "/machine.MachineService/Reboot"

PATIENCE = 20.0
"""Seconds until a test gives up."""


@functools.cache
def bundle(number: int) -> Bundle:
    """Secrets of a cluster: they take a while to make."""
    return new_bundle(datetime.now(UTC), VersionContract.parse("v1.13"))


def config(cluster: Cluster, secrets: Bundle, kind: MachineType) -> bytes:
    """A configuration of a cluster's machine: its endpoint is our balancer."""
    given = GenerateInput(
        cluster_name=cluster.name,
        endpoint=f"https://[{siderolink.server_address()}]:{cluster.balancer_port}",
        kubernetes_version="1.36.3",
        bundle=secrets,
        contract=VersionContract.parse("v1.13"),
        install_disk="/dev/vda",
        install_image="ghcr.io/siderolabs/installer:v1.13.8",
    )
    return encode(generate(given, kind)).encode()


def running(machine: Machine) -> bool:
    """The machine has its configuration, and is followed with its cluster's credentials."""
    seen = machine.observation
    return bool(seen.connected and seen.api_mode == "secure" and seen.stage == "running" and seen.hostname)


@dataclass
class Tenant:
    """One organisation at the gateway, with what a test does in it."""

    lab: Lab
    simulated: dict[str, Simulated] = field(default_factory=dict)  # by UUID

    async def machines(self, fleet: Sequence[Simulated]) -> list[Machine]:
        """The rows of machines that joined."""
        self.simulated |= {machine.hardware.uuid: machine for machine in fleet}
        return [await self.lab.machine(machine.hardware.uuid, complete) for machine in fleet]

    async def cluster(self, name: str, *machines: Machine, workers: int = 0, secrets: int = 1) -> Cluster:
        """A cluster of machines in maintenance mode, once all of them run. The last so many are workers."""
        made = bundle(secrets)
        roles = [MachineSet.CONTROL_PLANE] * (len(machines) - workers) + [MachineSet.WORKER] * workers

        def store() -> Cluster:
            port = 10_000 + Cluster.objects.count() + 100 * secrets
            cluster = Cluster.new(
                name=name, kubernetes_version="1.36.3", talos_version="1.13.8", initial_talos_version="1.13.8",
                balancer_port=port,
            )  # fmt: skip
            store_secrets(cluster, made)
            for machine, role in zip(machines, roles, strict=True):
                ClusterMachine.new(cluster=cluster, machine=machine, role=role, kubernetes_version="1.36.3")
            changed("cluster", cluster.id, self.lab.organisation.id)
            return cluster

        cluster = await self.lab.ask(store)
        for machine, role in zip(machines, roles, strict=True):
            kind = MachineType.CONTROLPLANE if role == MachineSet.CONTROL_PLANE else MachineType.WORKER
            async with self.client(machine, None) as client:
                await client.apply_configuration(config(cluster, made, kind))
        async with asyncio.timeout(PATIENCE):
            while not await self._bootstrapped(machines[0], made):
                await asyncio.sleep(0.1)  # it is being installed, or starts
        for machine in machines:
            await self.lab.machine(machine.uuid, running)
        return cluster

    async def _bootstrapped(self, machine: Machine, made: Bundle) -> bool:
        boot = await self.simulated[machine.uuid].booted()
        if not boot.services.up("cri"):
            return False
        try:
            async with self.client(machine, made) as client:
                await client.bootstrap()
        except errors.NodeError:
            return False
        return True

    def client(self, machine: Machine, secrets: Bundle | None) -> NodeClient:
        """The control plane's own client, for what a test prepares."""
        path, address = self.lab.settings.run / "gateway.sock", str(machine.link.address)
        credentials = None
        if secrets:
            credentials = Credentials(secrets.os.crt, pki.talos_client(secrets.os, ["os:admin"], datetime.now(UTC)))
        return NodeClient(once(lambda: dial.through(path, address, API_PORT)), credentials, name=machine.uuid)

    async def person(self, role: str = "owner", email: str = "") -> "Person":
        """A member with a key that signs."""
        now = datetime.now(UTC)
        address = email or f"{role}@{self.lab.organisation.slug}.example.com"
        key = openpgp.generate(f"Test <{address}>", now, timedelta(hours=4))

        def store() -> AccessKey:
            user, _ = User.objects.get_or_create(email=address)
            Membership.objects.get_or_create(user=user, organisation=self.lab.organisation, defaults={"role": role})
            return self.key(user, AccessKey.PGP, key.public.fingerprint, key.public.armored.encode(), role)

        return Person(self, await self.lab.ask(store), key)

    async def holder(self, role: str = "owner") -> "Holder":
        """A member with a client certificate of the organisation."""

        def store() -> tuple[AccessKey, CertKey]:
            user, _ = User.objects.get_or_create(email=f"{role}@certificates.example.com")
            organisation = self.lab.organisation
            Membership.objects.get_or_create(user=user, organisation=organisation, defaults={"role": role})
            actor = Actor("user", str(user.id), user.email, organisation.id, role)
            return issue_certificate(actor, user, "talosctl")

        return Holder(self, *await self.lab.ask(store))

    def key(self, user: User, kind: str, fingerprint: str = "", public: bytes = b"", role: str = "owner") -> AccessKey:
        """An access key; call it in the organisation's scope."""
        row_id = uuid7()
        return AccessKey.new(
            id=row_id, kind=kind, fingerprint=fingerprint or row_id.hex, public=public, name="talosctl", user=user,
            role=role, expires_at=datetime.now(UTC) + timedelta(hours=4),
        )  # fmt: skip

    async def update(self, person: "Caller", **columns: Any) -> None:
        """Change a person's key."""
        await self.lab.ask(lambda: AccessKey.objects.filter(id=person.row.id).update(**columns))
        await self.heard("access-key", person.row.id)

    async def heard(self, kind: str, object_id: UUID | None = None) -> None:
        """Tell of a change, and wait until every listener was told."""
        await self.lab.ask(lambda: changed(kind, object_id or uuid7(), self.lab.organisation.id))
        await asyncio.sleep(0.1)

    def channel(self) -> grpc.aio.Channel:
        """To the public port, without TLS."""
        return grpc.aio.insecure_channel(f"{self.lab.settings.host}:{self.lab.settings.port}")

    async def audit(self, holds: Callable[[list[AuditRecord]], object], **columns: Any) -> list[AuditRecord]:
        """Audit rows, the oldest first, once they are as they have to be."""

        def look() -> list[AuditRecord] | None:
            rows = list(AuditRecord.objects.filter(**columns).order_by("id"))
            return rows if holds(rows) else None

        return await self.lab.until(look)


@dataclass
class Caller:
    """Somebody at a terminal, with a key or a certificate."""

    tenant: Tenant
    row: AccessKey

    def channel(self) -> grpc.aio.Channel:
        """To the public port."""
        return self.tenant.channel()

    def proved(self, method: str, metadata: dict[str, list[str]]) -> dict[str, list[str]]:
        """The metadata of a call, with what proves whose it is."""
        return metadata

    async def call(self, method: str = VERSION, message: bytes = b"", **metadata: str | list[str]) -> bytes:
        """The answer to a unary call. Raises grpc.aio.AioRpcError."""
        async with self.stream(method, message, **metadata) as call:
            answers = [answer async for answer in call]
        assert len(answers) == 1
        return answers[0]

    async def version(self, **metadata: str | list[str]) -> list[str]:
        """Names of the nodes that answer `Version`, as the answers are marked."""
        answer = machine_pb2.VersionResponse.FromString(await self.call(VERSION, **metadata))
        return [message.metadata.hostname for message in answer.messages]

    async def refusal(
        self, method: str = VERSION, message: bytes = b"", **metadata: str | list[str]
    ) -> tuple[grpc.StatusCode, str]:
        """Code and text of a call that is not made."""
        try:
            await self.call(method, message, **metadata)
        except grpc.aio.AioRpcError as error:
            return error.code(), error.details() or ""
        raise AssertionError("the call was answered")

    @contextlib.asynccontextmanager
    async def stream(self, method: str, message: bytes = b"", **metadata: str | list[str]) -> AsyncIterator[Any]:
        """A call under way; it is cancelled at the end of the block."""
        told = {key: [value] if isinstance(value, str) else value for key, value in metadata.items()}
        told = self.proved(method, {"runtime": ["Talos"], **told})
        async with self.channel() as channel:
            call = channel.unary_stream(method)(message, metadata=pairs(told), timeout=PATIENCE)
            try:
                yield call
            finally:
                call.cancel()


@dataclass
class Person(Caller):
    """Who signs each call."""

    key: openpgp.PrivateKey
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    def proved(self, method: str, metadata: dict[str, list[str]]) -> dict[str, list[str]]:
        return {**metadata, **signing.sign(self.key, "test@example.com", method, metadata, self.clock())}


@dataclass
class Holder(Caller):
    """Who shows a client certificate."""

    pair: CertKey

    def channel(self) -> grpc.aio.Channel:
        settings = self.tenant.lab.settings
        ca = settings.certificate.with_name("ca.crt").read_bytes()
        shown = grpc.ssl_channel_credentials(ca, self.pair.standard_key, self.pair.crt)
        return grpc.aio.secure_channel(f"{settings.host}:{settings.port}", shown)


def pairs(metadata: dict[str, list[str]]) -> tuple[tuple[str, str], ...]:
    """Metadata as grpcio takes it."""
    return tuple((key, value) for key, values in metadata.items() for value in values)


async def ended(call: Any) -> tuple[grpc.StatusCode, str]:
    """How a stream under way ends, whatever it says before."""
    async with asyncio.timeout(PATIENCE):
        try:
            async for _ in call:
                pass
        except grpc.aio.AioRpcError as error:
            return error.code(), error.details() or ""
    return await call.code(), await call.details()
