"""What the reconcilers ask of one machine. `connect` makes the real thing; tests put a world of their own in its place.

Calls raise `nodeagent.errors.NodeError`, OSError, TimeoutError or `WrongMachine`; each is one verified connection.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, TypeVar

from apps.clusters.cluster_steps import EtcdMember
from apps.clusters.machine_steps import Live, Role, Silent
from apps.machines import nodes
from nodeagent import errors
from nodeagent.client import Mode, NodeClient
from nodeagent.identity import WrongMachine
from nodeagent.tls import Credentials
from talos import semver
from talos.resources import types

T = TypeVar("T")

FAILURES = (errors.NodeError, OSError, TimeoutError, WrongMachine)
"""What a call to a machine can end with."""

READ, CHANGE, INSTALL = 30.0, 90.0, 660.0
"""Seconds for a look at a machine, a change of it, and an installation (a pull and an install of 300 each)."""

STATE_ENCRYPTION_KEY = 0x09  # META: settings of an encrypted STATE partition

WIPED = ("STATE", "EPHEMERAL")
WIPED_SINCE_1_14 = ("CRI", "KUBELET", "ETCD", "LOG")
"""Volumes that a reset wipes; user disks are never touched."""


@dataclass(frozen=True)
class Target:
    """A machine to be reached: who it has to be, where, and with what it can be proved that we may."""

    uuid: str
    address: str  # on the overlay
    role: Role
    credentials: Credentials | None = None  # None before the cluster has secrets
    configured: bool = False  # expected to run a config of the cluster
    fingerprint: str = ""  # that its hardware has to have while it has no configuration


class Node(Protocol):
    """One machine."""

    def look(self) -> Live | Silent:
        """What it shows, in whichever mode it is; never raises."""
        ...

    def install(self, image: str, disk: str) -> None:
        """Pull the image and install, in maintenance mode. Raises InstallFailed; AlreadyDone on an installed one."""
        ...

    def upgrade(self, image: str, by_machine: bool) -> None:
        """Put another image on it in maintenance mode; `by_machine` when Talos does it, and the reboot, by itself."""
        ...

    def reboot(self, secure: bool) -> None: ...

    def apply(self, config: bytes, secure: bool) -> bool:
        """Give it a config. True when it is in force, False when the machine reboots for it. Raises Invalid."""
        ...

    def bootstrap(self) -> None: ...

    def etcd_members(self) -> tuple[EtcdMember, ...]:
        """Members as its own etcd lists them; empty while etcd does not run."""
        ...

    def reset(self, graceful: bool, version: str) -> None:
        """Wipe Talos' volumes and reboot."""
        ...


class TalosNode:
    """A machine over its link."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def look(self) -> Live | Silent:
        modes = [True, False] if self._target.configured else [False, True]
        if self._target.credentials is None:
            modes = [False]
        refusal = ""
        for secure in modes:
            try:
                return self._call(secure, lambda client, secure=secure: self._look(client, secure), READ)  # type: ignore[misc]
            except errors.WrongTrust as error:
                refusal = error.detail or str(error)
            except WrongMachine as error:
                return Silent(str(error), foreign=True)
            except FAILURES as error:
                return Silent(str(error) or type(error).__name__)
        return Silent(refusal, foreign=True)

    def install(self, image: str, disk: str) -> None:
        async def work(client: NodeClient) -> None:
            pinned = await client.pull_image(image)
            async for _ in client.install(pinned, disk):
                pass

        self._call(False, work, INSTALL)

    def upgrade(self, image: str, by_machine: bool) -> None:
        async def work(client: NodeClient) -> None:
            if by_machine:
                await client.upgrade_and_reboot(image, preserve=False)
                return
            pinned = await client.pull_image(image)
            async for _ in client.upgrade(pinned):
                pass

        self._call(False, work, INSTALL)

    def reboot(self, secure: bool) -> None:
        self._call(secure, lambda client: client.reboot(), CHANGE)

    def apply(self, config: bytes, secure: bool) -> bool:
        applied = self._call(secure, lambda client: client.apply_configuration(config), CHANGE)
        return applied.mode == Mode.NO_REBOOT

    def bootstrap(self) -> None:
        self._call(True, lambda client: client.bootstrap(), CHANGE)

    def etcd_members(self) -> tuple[EtcdMember, ...]:
        async def work(client: NodeClient) -> tuple[EtcdMember, ...]:
            members = await client.etcd_members() if await _etcd_runs(client) else ()
            return tuple(EtcdMember(f"{member.id:016x}", member.name, member.is_learner) for member in members)

        try:
            return self._call(True, work, READ)
        except errors.NodeError as error:
            if isinstance(error, errors.Unreachable | errors.TimedOut):
                raise
            return ()

    def reset(self, graceful: bool, version: str) -> None:
        async def work(client: NodeClient) -> None:
            with suppress(errors.NotFound, errors.Unsupported, errors.NotReady, errors.Denied):
                await client.meta_delete(STATE_ENCRYPTION_KEY)  # else it is not there, or the node's own business
            await client.reset(graceful=graceful, reboot=True, wipe=volumes_to_wipe(version))

        self._call(True, work, CHANGE)

    def _call(self, secure: bool, work: Callable[[NodeClient], Awaitable[T]], timeout: float) -> T:
        credentials = self._target.credentials if secure else None
        target = self._target
        return nodes.call(target.address, credentials, work, target.uuid, target.fingerprint, timeout)

    async def _look(self, client: NodeClient, secure: bool) -> Live:
        version = await _version(client)
        stage, ready = await _status(client)
        system_disk = await _system_disk(client)
        return Live(
            mode="secure" if secure else "maintenance",
            version=version.removeprefix("v"),
            stage=stage,
            ready=ready,
            boot_id=await _boot_id(client),
            system_disk=system_disk,
            schematic=await _schematic(client),
            etcd_healthy=secure and self._target.role == "controlplane" and await _etcd_healthy(client),
            install_error=await _install_error(client) if secure and not system_disk else "",
        )


connect: Callable[[Target], Node] = TalosNode
"""How a machine is reached."""


def volumes_to_wipe(version: str) -> tuple[str, ...]:
    """Talos 1.14 moved the data of its services out of EPHEMERAL."""
    return WIPED + WIPED_SINCE_1_14 if semver.parse(version) >= semver.parse("1.14.0-beta.1") else WIPED


async def _version(client: NodeClient) -> str:
    """The running Talos. Before 1.13 maintenance mode answers the call to its administrator alone."""
    try:
        return (await client.version()).tag
    except (errors.Denied, errors.Unsupported):
        return str(((await client.get(types.VERSION)).spec or {}).get("version") or "")


async def _install_error(client: NodeClient) -> str:
    """Why the machine could not install itself as its config asks (Talos 1.14); empty where it does not say."""
    try:
        spec = (await client.get(types.UNATTENDED_INSTALL_STATUS)).spec or {}
    except (errors.NotFound, errors.Denied):
        return ""
    return str(spec.get("error") or "no reason given") if spec.get("phase") == "failed" else ""


async def _status(client: NodeClient) -> tuple[str, bool]:
    try:
        spec = (await client.get(types.MACHINE_STATUS)).spec or {}
    except errors.NotFound:
        return "", False
    return str(spec.get("stage", "")), bool((spec.get("status") or {}).get("ready"))


async def _boot_id(client: NodeClient) -> str:
    try:
        return await client.boot_id()
    except (errors.Denied, errors.Unsupported, errors.NotFound):
        return ""


async def _system_disk(client: NodeClient) -> str:
    try:
        return str(((await client.get(types.SYSTEM_DISK)).spec or {}).get("devPath") or "")
    except errors.NotFound:
        return ""


async def _schematic(client: NodeClient) -> str:
    for layer in await client.list(types.EXTENSION_STATUS):
        metadata = (layer.spec or {}).get("metadata") or {}
        if metadata.get("name") == "schematic":
            return str(metadata.get("version", ""))
    return ""


async def _etcd_runs(client: NodeClient) -> bool:
    """Ask before any call about etcd: as long as it does not run (before the bootstrap, say) Talos answers none of
    them, but waits for it until the call's deadline."""
    try:
        return bool(((await client.get(types.SERVICE, "etcd")).spec or {}).get("running"))
    except errors.NotFound:
        return False


async def _etcd_healthy(client: NodeClient) -> bool:
    """Whether the member on this very machine takes part: it answers, without errors, and is no learner."""
    try:
        if not await _etcd_runs(client):
            return False
        status = await client.etcd_status()
    except errors.Unreachable:
        raise
    except errors.NodeError:
        return False  # no answer in time included: etcd is starting, and the machine itself has just answered
    return not status.errors and not status.is_learner
