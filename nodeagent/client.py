"""Typed calls to one Talos machine, over any link.

    async with NodeClient(lambda: dial(address, 50000), credentials, name="m-1") as node:
        await node.version()
        async for event in node.watch(types.MACHINE_STATUS): ...

Every call has a deadline except streams that follow something. Failures are `nodeagent.errors.NodeError`.
Routing metadata is never sent: the machine at the other end of the connection is the one that answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import empty_pb2
from google.protobuf.duration_pb2 import Duration

from nodeagent import errors
from nodeagent.channel import NodeChannel
from nodeagent.kubeconfigtar import first_member
from nodeagent.rpc import Method, Methods
from talos import resources
from talos.gen import common_pb2, storage_pb2, storage_pb2_grpc
from talos.gen.cosi import resource_pb2, state_pb2, state_pb2_grpc
from talos.gen.machine import (
    image_pb2,
    image_pb2_grpc,
    lifecycle_pb2,
    lifecycle_pb2_grpc,
    machine_pb2,
    machine_pb2_grpc,
)
from talos.resources import EventType, Resource, ResourceType, SpecError, types

Mode = machine_pb2.ApplyConfigurationRequest.Mode
RebootMode = machine_pb2.RebootRequest.Mode

API_PORT = 50000
"""The port of a machine's API."""

RETRY = 0.5
"""Seconds between attempts while a machine is awaited."""

CALL = 10.0
"""Seconds that ordinary calls may take."""
LONG_CALL = 60.0
"""Seconds for calls that change a machine: apply, bootstrap, reset, etcd membership."""
INSTALL = 300.0
"""Seconds for an image pull, an install or an upgrade."""
LEAVE = 330.0
"""Seconds for leaving etcd; the machine itself retries for 300."""

FILE_LIMIT = 4 << 20
"""Bytes of a file that `read_file` reads at most."""

INSTALLER_STORE = common_pb2.ContainerdInstance(driver=common_pb2.CONTAINERD, namespace=common_pb2.NS_SYSTEM)
"""Where installer images go: containerd's memory, so that nothing is left on disk."""

_EMPTY = empty_pb2.Empty()

_MACHINE = machine_pb2_grpc.MachineServiceStub(Methods())
_STATE = state_pb2_grpc.StateStub(Methods())
_STORAGE = storage_pb2_grpc.StorageServiceStub(Methods())
_IMAGES = image_pb2_grpc.ImageServiceStub(Methods())
_LIFECYCLE = lifecycle_pb2_grpc.LifecycleServiceStub(Methods())


@dataclass(frozen=True)
class Version:
    """What a machine runs. `tag` has its leading v; `mode` is metal, cloud, container or metal-agent."""

    tag: str
    arch: str
    platform: str
    mode: str


@dataclass(frozen=True)
class Applied:
    """What became of a configuration."""

    mode: int
    """The mode really used (`Mode`)."""
    details: str
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class EtcdMember:
    """A member of etcd as a node lists it."""

    id: int
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    is_learner: bool


class NodeClient(NodeChannel):
    """A connection to one machine and what can be asked of it. Use as an async context manager."""

    # --- what the machine is --------------------------------------------------------------------------------------

    async def version(self) -> Version:
        """Talos version, architecture, platform."""
        answer = await self._one("Version", _MACHINE.Version, _EMPTY, CALL)
        return Version(answer.version.tag, answer.version.arch, answer.platform.name, answer.platform.mode)

    async def wait_for_answer(self, timeout: float) -> Version:
        """`version`, but connect again and again until the machine answers. Raises TimedOut after `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                while True:
                    try:
                        return await self.version()
                    except (errors.Unreachable, errors.TimedOut):
                        await asyncio.sleep(RETRY)
        except TimeoutError:
            code, detail = grpc.StatusCode.DEADLINE_EXCEEDED, f"no answer in {timeout:g} s"
            raise errors.TimedOut(self.name, "waiting for an answer", code, detail) from None

    async def identity(self) -> str:
        """The UUID of the machine at the other end, lower case: read on this very connection, before it is acted on."""
        resource = await self.get(types.SYSTEM_INFORMATION)
        uuid = str(resource.spec["uuid"]) if resource.spec and resource.spec.get("uuid") else ""
        if not uuid:
            raise errors.NotFound(self.name, "reading the UUID", grpc.StatusCode.NOT_FOUND, "firmware reports none")
        return uuid.lower()

    async def boot_id(self) -> str:
        """A text that changes with every boot. Older Talos in maintenance mode tells nobody: Denied, Unsupported."""
        try:
            return (await self.read_file("/proc/sys/kernel/random/boot_id")).decode(errors="replace").strip()
        except (errors.Denied, errors.Unsupported):
            return str((await self.get(types.BOOT_ID)).spec["bootID"])

    async def services(self) -> list[machine_pb2.ServiceInfo]:
        """All services, those that do not run too."""
        return list((await self._one("ServiceList", _MACHINE.ServiceList, _EMPTY, CALL)).services)

    async def disks(self) -> list[storage_pb2.Disk]:
        """Disks; `system_disk` marks the one Talos is installed on."""
        return list((await self._one("Disks", _STORAGE.Disks, _EMPTY, CALL)).disks)

    # --- configuration and sequences ------------------------------------------------------------------------------

    async def apply_configuration(
        self, data: bytes, mode: Mode = Mode.AUTO, *, dry_run: bool = False, revert_after: float | None = None
    ) -> Applied:
        """Give the machine a configuration; `revert_after` seconds count in mode TRY. `dry_run` changes nothing."""
        request = machine_pb2.ApplyConfigurationRequest(data=data, mode=mode, dry_run=dry_run)
        if revert_after is not None:
            request.try_mode_timeout.CopyFrom(Duration(seconds=int(revert_after)))
        answer = await self._one("ApplyConfiguration", _MACHINE.ApplyConfiguration, request, LONG_CALL)
        return Applied(answer.mode, answer.mode_details, tuple(answer.warnings))

    async def bootstrap(self, *, recover_etcd: bool = False, skip_hash_check: bool = False) -> None:
        """Start etcd. `AlreadyDone`: it was; `NotReady` and `Unsupported`: the configuration has not arrived yet."""
        request = machine_pb2.BootstrapRequest(recover_etcd=recover_etcd, recover_skip_hash_check=skip_hash_check)
        await self._one("Bootstrap", _MACHINE.Bootstrap, request, LONG_CALL)

    async def reboot(self, mode: RebootMode = RebootMode.DEFAULT) -> str:
        """Accepted, not done: the answer is the actor id that the events of the reboot carry."""
        request = machine_pb2.RebootRequest(mode=mode)
        return str((await self._one("Reboot", _MACHINE.Reboot, request, CALL)).actor_id)

    async def shutdown(self, *, force: bool = False) -> str:
        """Power off; `force` does not drain first. Answers the actor id."""
        request = machine_pb2.ShutdownRequest(force=force)
        return str((await self._one("Shutdown", _MACHINE.Shutdown, request, CALL)).actor_id)

    async def reset(self, *, graceful: bool, reboot: bool, wipe: tuple[str, ...] = ()) -> str:
        """Wipe the named partitions, or the whole system disk if none is named. Answers the actor id."""
        specs = [machine_pb2.ResetPartitionSpec(label=label, wipe=True) for label in wipe]
        request = machine_pb2.ResetRequest(graceful=graceful, reboot=reboot, system_partitions_to_wipe=specs)
        return str((await self._one("Reset", _MACHINE.Reset, request, LONG_CALL)).actor_id)

    async def rollback(self) -> None:
        """Boot what ran before the last upgrade."""
        await self._one("Rollback", _MACHINE.Rollback, machine_pb2.RollbackRequest(), LONG_CALL)

    async def upgrade_and_reboot(
        self, image: str, *, preserve: bool = True, stage: bool = False, force: bool = False
    ) -> str:
        """The upgrade of Talos before 1.13: pulls within the call, then drains, installs and reboots by itself.

        In maintenance mode none of the three options is supported.
        """
        request = machine_pb2.UpgradeRequest(image=image, preserve=preserve, stage=stage, force=force)
        return str((await self._one("Upgrade", _MACHINE.Upgrade, request, INSTALL)).actor_id)

    # --- installation in steps (Talos 1.13 and later) -------------------------------------------------------------

    async def pull_image(self, reference: str, store: common_pb2.ContainerdInstance = INSTALLER_STORE) -> str:
        """Pull an image; answers its reference pinned to the digest, which install and upgrade want."""
        request = image_pb2.ImageServicePullRequest(containerd=store, image_ref=reference)
        operation, pinned = f"pulling {reference}", ""
        async for answer in self._stream(operation, _IMAGES.Pull, request, INSTALL):
            pinned = answer.name or pinned
        if not pinned:
            raise errors.from_status(self.name, operation, grpc.StatusCode.INTERNAL, "the machine named no image")
        return pinned

    def install(self, image: str, disk: str) -> AsyncGenerator[str]:
        """Write Talos to `disk` (a device path): lines of the installer. Raises InstallFailed at its end."""
        request = lifecycle_pb2.LifecycleServiceInstallRequest(
            containerd=INSTALLER_STORE,
            source=lifecycle_pb2.InstallArtifactsSource(image_name=image),
            destination=lifecycle_pb2.InstallDestination(disk=disk),
        )
        return self._installer("Install", _LIFECYCLE.Install, request)

    def upgrade(self, image: str) -> AsyncGenerator[str]:
        """Write another Talos beside the running one: lines of the installer. The caller reboots."""
        request = lifecycle_pb2.LifecycleServiceUpgradeRequest(
            containerd=INSTALLER_STORE, source=lifecycle_pb2.InstallArtifactsSource(image_name=image)
        )
        return self._installer("Upgrade", _LIFECYCLE.Upgrade, request)

    async def _installer(self, operation: str, method: Method, request: Any) -> AsyncGenerator[str]:
        exit_code, line = None, ""
        async with aclosing(self._stream(operation, method, request, INSTALL)) as answers:
            async for answer in answers:
                if answer.progress.WhichOneof("response") == "exit_code":
                    exit_code = answer.progress.exit_code
                else:
                    line = answer.progress.message
                    yield line
        if exit_code is None:
            raise errors.Unreachable(self.name, operation, grpc.StatusCode.UNAVAILABLE, "the installer did not end")
        if exit_code != 0:
            raise errors.InstallFailed(self.name, operation, exit_code, line)

    # --- etcd -----------------------------------------------------------------------------------------------------

    async def etcd_members(self, *, local: bool = False) -> list[EtcdMember]:
        """Members of etcd. `local` asks this node's member alone: without quorum too, but it may be behind."""
        request = machine_pb2.EtcdMemberListRequest(query_local=local)
        answer = await self._one("EtcdMemberList", _MACHINE.EtcdMemberList, request, CALL)
        return [
            EtcdMember(m.id, m.hostname, tuple(m.peer_urls), tuple(m.client_urls), m.is_learner) for m in answer.members
        ]

    async def etcd_status(self) -> machine_pb2.EtcdMemberStatus:
        """Status of this node's member."""
        answer = await self._one("EtcdStatus", _MACHINE.EtcdStatus, _EMPTY, CALL)
        status: machine_pb2.EtcdMemberStatus = answer.member_status
        return status

    async def etcd_remove_member(self, member_id: int) -> None:
        """Take a member out of the cluster, through this node. NotFound: it is out."""
        request = machine_pb2.EtcdRemoveMemberByIDRequest(member_id=member_id)
        await self._one(f"removing etcd member {member_id:016x}", _MACHINE.EtcdRemoveMemberByID, request, LONG_CALL)

    async def etcd_leave(self) -> None:
        """This node leaves etcd and empties its data."""
        await self._one("EtcdLeaveCluster", _MACHINE.EtcdLeaveCluster, machine_pb2.EtcdLeaveClusterRequest(), LEAVE)

    async def etcd_forfeit_leadership(self) -> str:
        """Give the leadership away; the new leader's name, empty when this node was not the leader."""
        request = machine_pb2.EtcdForfeitLeadershipRequest()
        return str(
            (await self._one("EtcdForfeitLeadership", _MACHINE.EtcdForfeitLeadership, request, LONG_CALL)).member
        )

    async def etcd_recover(self, pieces: AsyncIterable[bytes]) -> None:
        """Upload a snapshot, for a bootstrap that recovers."""

        async def frames() -> AsyncIterator[common_pb2.Data]:
            async for piece in pieces:
                yield common_pb2.Data(bytes=piece)

        await self._upload("EtcdRecover", _MACHINE.EtcdRecover, frames())

    # --- files, META, logs ----------------------------------------------------------------------------------------

    async def read_file(self, path: str, limit: int = FILE_LIMIT) -> bytes:
        """A regular file of at most `limit` bytes."""
        operation, content = f"reading {path}", bytearray()
        async with aclosing(self._bytes(operation, _MACHINE.Read, machine_pb2.ReadRequest(path=path), CALL)) as pieces:
            async for piece in pieces:
                content += piece
                if len(content) > limit:
                    detail = f"the file has more than {limit} bytes"
                    raise errors.from_status(self.name, operation, grpc.StatusCode.RESOURCE_EXHAUSTED, detail)
        return bytes(content)

    async def meta_write(self, key: int, value: bytes) -> None:
        """Set a key of the META partition."""
        request = machine_pb2.MetaWriteRequest(key=key, value=value)
        await self._one(f"writing META key {key:#04x}", _MACHINE.MetaWrite, request, CALL)

    async def meta_delete(self, key: int) -> None:
        """Remove a key of the META partition. NotFound: it is not there. Denied: Talos 1.14 keeps it for itself."""
        request = machine_pb2.MetaDeleteRequest(key=key)
        await self._one(f"deleting META key {key:#04x}", _MACHINE.MetaDelete, request, CALL)

    def logs(self, service: str, *, follow: bool = False, tail: int = -1) -> AsyncGenerator[bytes]:
        """A service's log in pieces that do not follow line ends; `tail` lines of what there is, -1 for all."""
        request = machine_pb2.LogsRequest(
            namespace="system", id=service, driver=common_pb2.CONTAINERD, follow=follow, tail_lines=tail
        )
        return self._bytes(f"log of {service}", _MACHINE.Logs, request, None if follow else LONG_CALL)

    def dmesg(self, *, follow: bool = False, tail: bool = False) -> AsyncGenerator[bytes]:
        """Kernel messages, one a piece; `tail` with `follow` sends only new ones."""
        request = machine_pb2.DmesgRequest(follow=follow, tail=tail)
        return self._bytes("Dmesg", _MACHINE.Dmesg, request, None if follow else LONG_CALL)

    async def kubeconfig(self) -> bytes:
        """The cluster administrator's kubeconfig (control planes only)."""
        archive = bytearray()
        async for piece in self._bytes("Kubeconfig", _MACHINE.Kubeconfig, _EMPTY, LONG_CALL):
            archive += piece
        return first_member(bytes(archive))

    async def events(self, *, tail: int = 0, after: str = "") -> AsyncGenerator[machine_pb2.Event]:
        """Events as they happen, before them the last `tail` (-1 for all) or those since event id `after`."""
        request = machine_pb2.EventsRequest(tail_events=tail, tail_id=after)
        async with aclosing(self._stream("Events", _MACHINE.Events, request)) as answers:
            async for event in answers:
                if event.id:  # the first message only greets
                    yield event

    # --- resources ------------------------------------------------------------------------------------------------

    async def get(self, kind: ResourceType, identifier: str | None = None) -> Resource:
        """One resource; the type's only one if no id is given. Raises NotFound."""
        request = state_pb2.GetRequest(namespace=kind.namespace, type=kind.name, id=identifier or kind.id)
        operation = f"reading {kind.display_type} {request.id}"
        answer = await self._call(operation, _STATE.Get, request, CALL)
        return self._decode(operation, answer.resource)

    async def list(self, kind: ResourceType) -> list[Resource]:
        """All resources of a type, by id."""
        request = state_pb2.ListRequest(namespace=kind.namespace, type=kind.name)
        operation = f"listing {kind.display_type}"
        answers = self._stream(operation, _STATE.List, request, LONG_CALL)
        return [self._decode(operation, answer.resource) async for answer in answers]

    async def ids(self, kind: ResourceType) -> set[str]:
        """Ids of all resources of a type. What else they hold is not read, which is most of the work."""
        request = state_pb2.ListRequest(namespace=kind.namespace, type=kind.name)
        answers = self._stream(f"listing {kind.display_type}", _STATE.List, request, LONG_CALL)
        return {answer.resource.metadata.id async for answer in answers}

    async def watch(
        self, kind: ResourceType, identifier: str | None = None, *, bookmark: bytes | None = None
    ) -> AsyncGenerator[resources.Event]:
        """What exists (CREATED, at its end BOOTSTRAPPED), then every change. Never ends but by an error.

        With an id the first event is the resource as it is, a tombstone (DESTROYED, no spec) if it is not there. With
        a `bookmark` only what happened after it; NotReady if that is too long ago. Raises WatchLost.
        """
        request, operation = _watch_request(kind, identifier, bookmark), f"watching {kind.display_type}"
        async with aclosing(self._stream(operation, _STATE.Watch, request)) as answers:
            async for answer in answers:
                for event in self._events_of(operation, answer):
                    yield event
        raise errors.WatchLost(self.name, operation, grpc.StatusCode.OK, "the stream ended")

    async def watch_all(self, kinds: Sequence[ResourceType]) -> AsyncGenerator[tuple[ResourceType, resources.Event]]:
        """`watch` of many types together, at the price of one. Types that the machine does not show are left out.

        Raises what ends any of the watches, and Denied when the machine shows none.
        """
        operation = "watching resources"
        refusal: errors.NodeError | None = None
        async with aclosing(self._fan(operation, _STATE.Watch, map(_watch_request, kinds))) as answers:
            async for index, answer in answers:
                if answer is None:
                    raise errors.WatchLost(self.name, operation, grpc.StatusCode.OK, "the stream ended")
                if isinstance(answer, errors.Denied | errors.Unsupported | errors.NotFound):
                    refusal = answer
                    continue
                if isinstance(answer, errors.NodeError):
                    raise answer
                for event in self._events_of(operation, answer):
                    yield kinds[index], event
        if refusal is not None:
            raise refusal

    def _events_of(self, operation: str, answer: state_pb2.WatchResponse) -> Iterator[resources.Event]:
        for message in answer.event:  # the first answer of a watch has none
            try:
                event = resources.decode_event(message)
            except SpecError as error:
                raise self._unreadable(operation, error) from error
            if event.type is EventType.ERRORED:
                raise errors.WatchLost(self.name, operation, grpc.StatusCode.ABORTED, event.error)
            yield event

    def _decode(self, operation: str, message: resource_pb2.Resource) -> Resource:
        try:
            return resources.decode(message)
        except SpecError as error:
            raise self._unreadable(operation, error) from error

    def _unreadable(self, operation: str, error: SpecError) -> errors.NodeError:
        return errors.from_status(self.name, operation, grpc.StatusCode.DATA_LOSS, str(error))


def _watch_request(
    kind: ResourceType, identifier: str | None = None, bookmark: bytes | None = None
) -> state_pb2.WatchRequest:
    options = state_pb2.WatchOptions(aggregated=True)
    if bookmark is not None:
        options.start_from_bookmark = bookmark
    elif identifier is None:
        options.bootstrap_contents = True
    return state_pb2.WatchRequest(
        namespace=kind.namespace, type=kind.name, id=identifier, options=options, api_version=1
    )
