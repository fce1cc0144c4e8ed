"""One boot of a machine: everything that is in memory and gone after a reboot."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
import uuid
from collections.abc import Callable, Coroutine
from contextlib import suppress
from enum import StrEnum
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from nodeagent.ending import end
from nodeagent.simulator import resources
from nodeagent.simulator.apid import Apid
from nodeagent.simulator.configuration import Configuration
from nodeagent.simulator.discovery import Discovery
from nodeagent.simulator.disk import Installation
from nodeagent.simulator.events import EventLog
from nodeagent.simulator.kmsg import KernelLog
from nodeagent.simulator.kubespan import KubeSpanNode
from nodeagent.simulator.link import SideroLink
from nodeagent.simulator.ports import Ports
from nodeagent.simulator.sequencer import Sequencer
from nodeagent.simulator.services import Services
from nodeagent.simulator.store import Store
from nodeagent.simulator.trustd import Trustd
from talos import kernelargs
from talos.gen.machine import events_pb2
from talos.kernelargs import JoinConfig
from talos.meta import Key
from talos.resources import ResourceType, types

if TYPE_CHECKING:
    from nodeagent.simulator.etcd import EtcdCluster, Member
    from nodeagent.simulator.kubernetes import KubernetesApi
    from nodeagent.simulator.machine import Machine

log = logging.getLogger(__name__)


LAST_WORDS = 0.1
"""Seconds between the end of a sequence and the end of the boot."""
PATIENCE = 2.0
"""Seconds that an answer may take to get out."""


class Stage(StrEnum):
    """Where a machine is in its life, in the words of its MachineStatus."""

    BOOTING = "booting"
    INSTALLING = "installing"
    MAINTENANCE = "maintenance"
    RUNNING = "running"
    REBOOTING = "rebooting"
    SHUTTING_DOWN = "shutting down"
    RESETTING = "resetting"
    UPGRADING = "upgrading"


class Next(StrEnum):
    """What follows a boot."""

    REBOOT = "reboot"
    POWER_OFF = "power off"


class Boot:
    """State of one boot. `config` is the live configuration; what is on disk may differ until the next boot."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.id = str(uuid.uuid4())
        self.started = time.time()
        self.image = machine.image
        self.store = Store(resources.definitions(self.minor), self.now)
        self.events = EventLog()
        self.kernel_log = KernelLog()
        self.services = Services(self.store, self.events, self.kernel_log, self.refresh_status)
        self.meta: dict[int, bytes] = dict(machine.disk.contents.meta)
        self.config = Configuration.parse(machine.disk.contents.config)
        self.node_id = machine.disk.contents.node_id or machine.world.new_node_id()
        self.images: dict[str, str] = {}
        """Pulled images: reference to digest."""
        self.member: Member | None = None
        self.bootstrap_requested = asyncio.Event()
        self.overlay: str | None = None
        self.carried: list[str] = []
        """Virtual IPs that this machine has now."""
        self.competing: dict[str, asyncio.Task[Any]] = {}
        """Virtual IPs that it would take."""
        self.stage = Stage.BOOTING
        self.ready = False
        """Running, with nothing left to wait for."""
        self.node_ready: bool | None = None
        """Of the Kubernetes node; None while the machine has none."""
        self.static_pods: dict[str, bool] = {}
        self._unanswered = 0
        self._answered = asyncio.Event()
        self.applying = asyncio.Lock()
        self.installing = asyncio.Lock()
        self._trial: asyncio.Task[Any] | None = None
        self._config_changed = asyncio.Condition()
        self._changed = asyncio.Event()
        self._end: asyncio.Future[Next] = asyncio.get_running_loop().create_future()
        self._tasks: set[asyncio.Task[Any]] = set()
        self.sequencer = Sequencer(self)
        self.apid = Apid(self)
        self.ports = Ports(machine.listen_address)
        self.trustd = Trustd(self)
        self.link = SideroLink(self)
        self.discovery = Discovery(self)
        self.kubespan = KubeSpanNode(self)
        self.kubernetes: KubernetesApi | None = None
        self.cluster: EtcdCluster | None = None
        """Where the Kubernetes node of this machine is kept, once there is one."""

    # --- what the machine is

    def now(self) -> float:
        """By this machine's clock, seconds since 1970."""
        return self.machine.world.underlay.time_of(self.machine.hardware.uuid)

    @property
    def version(self) -> str:
        """Running Talos, tag with `v`."""
        return self.image.version

    @property
    def minor(self) -> tuple[int, int]:
        return self.image.minor

    @property
    def uuid(self) -> str:
        override = self.meta.get(Key.UUID_OVERRIDE, b"").decode(errors="replace")
        return override or self.machine.hardware.uuid

    @property
    def unique_token(self) -> str:
        """META's beats the configuration's."""
        return self.meta.get(Key.UNIQUE_TOKEN, b"").decode(errors="replace") or self.config.unique_token

    @property
    def installation(self) -> Installation | None:
        return self.machine.disk.installation

    @property
    def hostname(self) -> str:
        if self.config.hostname:
            return self.config.hostname
        digest = hashlib.sha256(self.machine.hardware.uuid.encode()).digest()
        letters = "".join("0123456789abcdefghijklmnopqrstuvwxyz"[byte % 36] for byte in digest)
        return f"talos-{letters[:3]}-{letters[3:6]}"

    @property
    def addresses(self) -> list[str]:
        """Everything this machine can be reached at, the best first."""
        candidates = (self.overlay, self.machine.listen_address, self.machine.hardware.address, *self.carried)
        return list(dict.fromkeys(address for address in candidates if address))

    @property
    def own_addresses(self) -> list[str]:
        """Of its own network, virtual IPs included."""
        return [self.machine.hardware.address, *self.carried]

    @property
    def routed_addresses(self) -> list[str]:
        """What it tells other nodes: no virtual IPs and nothing of Kubernetes' networks, but its place in the mesh."""
        subnets = self.config.kubernetes_subnets
        found = (self.machine.hardware.address, self.kubespan.address)
        return [one for one in found if one and not any(ip_address(one) in subnet for subnet in subnets)]

    @property
    def pod_networks(self) -> list[str]:
        """Networks of the pods of this machine's Kubernetes node."""
        node = self.cluster.objects.get("nodes", ("", self.hostname)) if self.cluster else None
        return list(node["spec"].get("podCIDRs") or ()) if node else []

    @property
    def join(self) -> JoinConfig:
        """Where SideroLink, events and logs go: documents beat kernel arguments."""
        told = kernelargs.parse_kernel_arguments(self.machine.kernel_arguments)
        documents = self.config.join
        return JoinConfig(
            api=documents.api or told.api, events=documents.events or told.events, logs=documents.logs or told.logs
        )

    @property
    def maintenance(self) -> bool:
        return not self.config.complete

    @property
    def over(self) -> bool:
        return self._end.done()

    # --- tasks

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run something until it ends or the boot does. An error in it ends the boot with that error."""
        task = asyncio.create_task(work, name=f"{self.machine.hardware.uuid} {name}")
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) and not self._end.done():
            self._end.set_exception(error)

    def finish(self, then: Next) -> None:
        """End the boot now. Nothing of it runs on, not even the caller's own task for long."""
        if not self._end.done():
            self._end.set_result(then)

    def answering(self) -> Callable[[], None]:
        """An API call began; call the result when its answer is out."""
        self._unanswered += 1

        def done() -> None:
            self._unanswered -= 1
            self._answered.set()
            self._answered = asyncio.Event()

        return done

    async def last_words(self) -> None:
        """Let out what was said last: answers of calls, events, log lines."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while self._unanswered:
                    await self._answered.wait()
        await asyncio.sleep(LAST_WORDS)

    async def run_until_end(self) -> Next:
        """Wait for the end, then stop every task."""
        try:
            return await asyncio.shield(self._end)
        finally:
            self._end.cancel()
            self._changed.set()
            await end(self._tasks)

    # --- resources

    def put(self, kind: ResourceType, spec: Any, id: str = "") -> None:
        if resources.exists(kind, self.minor):
            self.store.put(kind, spec, id)

    def publish(self, content: resources.Content) -> None:
        for kind, id, spec in content:
            self.put(kind, spec, id)

    def publish_facts(self) -> None:
        """Everything that follows from hardware, image and network."""
        hardware, image = self.machine.hardware, self.image
        self.publish(resources.hardware(hardware, self.uuid))
        self.publish(resources.image(image.version, image.schematic, self.machine.factory, self.minor))
        self.publish(resources.boot(self.id, self.machine.kernel_arguments, self.minor))
        self.publish(resources.network(hardware))
        self.publish_volumes()
        self.publish_addresses()
        for key in self.meta:
            self.publish_meta(key)
        self.put(types.META_LOADED, {"done": True})
        self.publish_token()

    def publish_volumes(self) -> None:
        self.publish(
            resources.volumes(self.machine.hardware, self.machine.disk.installation, configured=self.config.complete)
        )

    def publish_addresses(self) -> None:
        configured = self.config.complete
        mesh, hardware = self.kubespan.address, self.machine.hardware
        self.publish(resources.addresses(hardware, self.overlay, self.carried, mesh, configured=configured))
        self.put(types.HOSTNAME_STATUS, {"hostname": self.hostname})
        self.events.publish(events_pb2.AddressEvent(hostname=self.hostname, addresses=self.addresses))
        self.discovery.wake()

    def carry(self, virtual_ip: str) -> None:
        """Have a virtual IP."""
        self.carried.append(virtual_ip)
        self.publish_addresses()

    def drop(self, virtual_ip: str) -> None:
        """Have it no more."""
        if virtual_ip in self.carried:
            self.carried.remove(virtual_ip)
            self.store.remove(types.ADDRESS_STATUS, resources.virtual_address(virtual_ip))
            self.publish_addresses()

    def publish_meta(self, key: int) -> None:
        name = f"0x{key:02x}"
        if key in self.meta:
            self.put(types.META_KEY, {"value": self.meta[key].decode(errors="replace")}, name)
        else:
            self.store.remove(types.META_KEY, name)

    def publish_token(self) -> None:
        self.put(types.UNIQUE_MACHINE_TOKEN, {"token": self.unique_token})
        info = self.store.get(types.SYSTEM_INFORMATION)
        if info is not None:
            self.put(types.SYSTEM_INFORMATION, {**info.spec, "uuid": self.uuid})

    # --- configuration

    async def set_config(self, config: Configuration, *, persist: bool) -> None:
        """Make a configuration live, and keep it on the disk if the machine is installed."""
        if persist:
            self.machine.disk.update(config=config.text, node_id=self.node_id)
            self.publish_config("persistent", config)
        self.config = config
        self.publish_config("v1alpha1", config)
        self.discovery.wake()
        async with self._config_changed:
            self._config_changed.notify_all()

    def try_until(self, seconds: float) -> None:
        """Go back to the configuration on the disk after a while, unless `stop_trying` comes first."""
        self.stop_trying()

        async def revert() -> None:
            await asyncio.sleep(seconds)
            self._trial = None
            await self.set_config(Configuration.parse(self.machine.disk.contents.config), persist=False)

        self._trial = self.spawn(revert(), "trial of a configuration")

    def stop_trying(self) -> None:
        """What is live stays."""
        if self._trial is not None:
            self._trial.cancel()
            self._trial = None

    def publish_config(self, id: str, config: Configuration) -> None:
        self.put(types.MACHINE_CONFIG, config.text.decode(), id)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait for something that follows from the live configuration or META."""
        async with self._config_changed:
            await self._config_changed.wait_for(holds)

    async def set_meta(self, key: int, value: bytes | None) -> None:
        """Write or (None) delete a key."""
        if value is None:
            self.meta.pop(key, None)
        else:
            self.meta[key] = value
        self.machine.disk.update(meta=self.meta)
        self.publish_meta(key)
        if key in (Key.UNIQUE_TOKEN, Key.UUID_OVERRIDE):
            self.publish_token()
        async with self._config_changed:
            self._config_changed.notify_all()

    # --- status

    def enter(self, stage: Stage) -> None:
        self.stage = stage
        log.info("%s: %s", self.uuid, stage)
        self.kernel_log.talos(f"machine is {stage}")
        self.refresh_status()

    def refresh_status(self) -> None:
        """Compute MachineStatus anew; a change is an event too."""
        self._changed.set()
        self._changed = asyncio.Event()
        unmet = self._unmet() if self.stage in (Stage.BOOTING, Stage.RUNNING) else []
        self.ready = self.stage is Stage.RUNNING and not unmet
        before = self.store.get(types.MACHINE_STATUS)
        spec = {
            "stage": str(self.stage),
            "status": {
                "ready": not unmet,
                "unmetConditions": [{"name": name, "reason": reason} for name, reason in unmet],
            },
        }
        self.put(types.MACHINE_STATUS, spec)
        if self.store.get(types.MACHINE_STATUS) is before:
            return
        status = events_pb2.MachineStatusEvent.MachineStatus(ready=not unmet)
        for name, reason in unmet:
            status.unmet_conditions.add(name=name, reason=reason)
        stage = getattr(events_pb2.MachineStatusEvent, self.stage.name)
        self.events.publish(events_pb2.MachineStatusEvent(stage=stage, status=status))

    def set_static_pod(self, name: str, *, ready: bool) -> None:
        """`name` is `namespace/pod`."""
        self.static_pods[name] = ready
        word = "True" if ready else "False"
        conditions = [{"type": kind, "status": word} for kind in ("Ready", "ContainersReady")]
        self.put(types.STATIC_POD_STATUS, {"phase": "Running", "conditions": conditions}, name)
        self.refresh_status()

    def set_node_ready(self, ready: bool) -> None:
        """Of this machine's Kubernetes node."""
        self.node_ready = ready
        self.put(
            types.NODE_STATUS,
            {"nodename": self.hostname, "nodeReady": ready, "labels": self.config.node_labels},
            self.hostname,
        )
        self.refresh_status()

    async def services_up(self) -> None:
        """Wait until every service that this machine needs is up."""
        while not all(self.services.up(id) for id in self.required_services()):
            await self.next_status()

    async def next_status(self) -> None:
        """Wait for whatever may change MachineStatus, the end of this boot included."""
        changed = self._changed
        await asyncio.sleep(0)  # after the end there is nothing to wait for, but others have work to do
        await changed.wait()

    def required_services(self) -> list[str]:
        required = ["apid", "machined", "kubelet"]
        if self.config.machine_type.is_control_plane:
            required += ["etcd", "trustd"]
        return required

    def _unmet(self) -> list[tuple[str, str]]:
        unmet = []
        if self.store.get(types.TIME_STATUS) is None:
            unmet.append(("time", "waiting for initial time sync"))
        if self.store.get(types.NETWORK_STATUS) is None:
            unmet.append(("network", "waiting on: address, connectivity, etc-files, hostname"))
        missing = [id for id in self.required_services() if self.store.get(types.SERVICE, id) is None]
        sick = [service.id for service in self.services.all() if service.healthy is False]
        reasons = [f"{id} not running" for id in missing] + [f"{id} not healthy" for id in sick if id not in missing]
        if reasons:
            unmet.append(("services", ", ".join(reasons)))
        if waiting := sorted(name for name, ready in self.static_pods.items() if not ready):
            unmet.append(("staticPods", ", ".join(f"{name} not ready" for name in waiting)))
        if self.config.kubelet_image and not self.node_ready:
            unmet.append(("nodeReady", f'node "{self.hostname}" status is not available yet'))
        return unmet
