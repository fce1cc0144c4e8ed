"""What a configured machine runs: kubelet, and on control planes etcd, trustd and the Kubernetes API."""

from __future__ import annotations

import asyncio
import base64
import logging
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from nodeagent.simulator import apiaccess, kubelet, kubernetes, virtualip
from nodeagent.simulator.configuration import Configuration, fingerprint
from nodeagent.simulator.disk import EtcdData
from nodeagent.simulator.etcd import EtcdError
from nodeagent.simulator.services import State
from talos.resources import types

if TYPE_CHECKING:
    from nodeagent.simulator.boot import Boot

log = logging.getLogger(__name__)


async def start(boot: Boot) -> None:
    """Start everything; returns when all required services are up. Before etcd is bootstrapped that may be never."""
    publish_identity(boot)
    boot.services.start("cri")
    boot.spawn(_kubelet(boot), "kubelet")
    if boot.config.machine_type.is_control_plane:
        boot.services.start("trustd")
        boot.spawn(boot.trustd.run(), "trustd")
        boot.spawn(_etcd(boot), "etcd")
    await boot.services_up()


async def stop(boot: Boot) -> None:
    """Stop pods and services; the API stays."""
    for competing in boot.competing.values():
        competing.cancel()
    await asyncio.gather(*boot.competing.values(), return_exceptions=True)
    boot.competing.clear()
    for service in ("kubelet", "etcd", "trustd", "cri"):
        if boot.services.get(service):
            boot.services.stop(service)
    if boot.kubernetes is not None:
        await boot.kubernetes.close()
    data = boot.machine.disk.contents.etcd
    if boot.member is not None and data is not None:
        await boot.machine.world.etcd.stop(data.cluster, boot.member.id)


def publish_identity(boot: Boot) -> None:
    """Resources that follow from the configuration."""
    config = boot.config
    boot.put(types.MACHINE_TYPE, str(config.machine_type))
    boot.put(types.IDENTITY, {"nodeId": boot.node_id})
    boot.put(types.NODENAME, {"nodename": boot.hostname, "hostnameVersion": "1"})
    boot.put(types.NODE_IP, {"addresses": [own] if (own := own_address(boot)) else []})
    os_ca = config.os_ca
    root: dict[str, Any] = {
        "token": config.machine_token,
        "acceptedCAs": [{"crt": _text(crt)} for crt in config.accepted_cas],
    }
    if os_ca is not None and os_ca.key:
        root["issuingCA"] = {"crt": _text(os_ca.crt), "key": _text(os_ca.key)}
    boot.put(types.OS_ROOT_SECRET, root)
    boot.put(
        types.MOUNT_STATUS,
        {"source": f"{boot.installation.disk}5", "target": "/var", "filesystemType": "xfs", "options": []}
        if boot.installation
        else {},
        "EPHEMERAL",
    )


def own_address(boot: Boot) -> str:
    """Where etcd and kubelet say that this node is; empty when Kubernetes' own networks hold all that it has."""
    address = boot.machine.hardware.address
    return "" if any(ip_address(address) in subnet for subnet in boot.config.kubernetes_subnets) else address


async def _wait_for_own_address(boot: Boot, service: str) -> None:
    if not own_address(boot):
        boot.services.set(service, State.WAITING, "Waiting for an address outside of the Kubernetes networks")
        await boot.until(lambda: bool(own_address(boot)))


def _text(pem: bytes) -> str:
    return base64.b64encode(pem).decode()


async def reconfigure(boot: Boot, old: Configuration) -> None:
    """Follow a change of a running machine's configuration: labels, the endpoint, and another Kubernetes."""
    config = boot.config
    if boot.kubernetes is not None and _api_names(config) != _api_names(old):
        boot.kubernetes.renew_certificate()
    if boot.services.up("etcd"):
        _compete(boot)
    if config.kubelet_image != old.kubelet_image:
        boot.services.set("kubelet", State.STOPPING, "Sending SIGTERM")
        boot.spawn(_kubelet(boot), "kubelet")
    elif boot.node_ready:
        authority = config.kubernetes_ca
        assert authority is not None, "the machine has a Kubernetes node"
        cluster = await boot.machine.world.kubernetes(fingerprint(authority.crt))
        kubelet.register_node(boot, cluster.objects, ready=True)


def _api_names(config: Configuration) -> list[str]:
    return [*config.api_server_sans, config.endpoint_host]


# --- etcd


def _compete(boot: Boot) -> None:
    """Compete for the virtual IPs that the configuration names, and for no others."""
    for address in boot.competing.keys() - set(boot.config.virtual_ips):
        boot.competing.pop(address).cancel()
    for address in boot.config.virtual_ips:
        if address not in boot.competing:
            boot.competing[address] = boot.spawn(virtualip.compete(boot, address), f"virtual IP {address}")


async def _etcd(boot: Boot) -> None:
    """Start the member that is on the disk, or wait to become one: by Bootstrap, or by joining others."""
    registry, disk, timings = boot.machine.world.etcd, boot.machine.disk, boot.machine.timings
    authority = boot.config.etcd_ca
    if authority is None:
        boot.services.set("etcd", State.FAILED, "no etcd authority in the configuration", healthy=False)
        return
    await _wait_for_own_address(boot, "etcd")
    # Talos advertises no overlay address.
    cluster, name, address = fingerprint(authority.crt), boot.hostname, boot.machine.hardware.address
    boot.put(types.ETCD_SPEC, {"name": name, "advertisedAddresses": [address], "image": boot.config.etcd_image})
    boot.services.set("etcd", State.PREPARING, "Running pre state")
    data = disk.contents.etcd
    if data is not None and data.cluster == cluster:
        try:
            boot.member = await registry.start(cluster, data.member)
        except EtcdError as error:
            boot.services.set("etcd", State.FAILED, f"Failed to start etcd: {error}", healthy=False)
            return
    else:
        joining = asyncio.create_task(registry.join(cluster, name, address))
        bootstrapping = asyncio.create_task(boot.bootstrap_requested.wait())
        try:
            await asyncio.wait((joining, bootstrapping), return_when=asyncio.FIRST_COMPLETED)
            if joining.done():
                boot.member = joining.result()
            else:
                boot.member = await registry.bootstrap(cluster, name, address)
                boot.bootstrap_requested.clear()
        finally:
            joining.cancel()
            bootstrapping.cancel()
        disk.set_etcd(EtcdData(cluster, boot.member.id, name, address))
    boot.services.set("etcd", State.RUNNING, "Started task etcd")
    await asyncio.sleep(timings.etcd)
    boot.put(types.ETCD_MEMBER, {"memberID": f"{boot.member.id:016x}"})
    boot.services.set("etcd", State.RUNNING, "Health check successful", healthy=True)
    _compete(boot)
    boot.spawn(_control_plane(boot), "control plane")


async def leave_etcd(boot: Boot) -> None:
    """Leave the cluster and empty the data directory. Raises EtcdError."""
    data = boot.machine.disk.contents.etcd
    if data is None or boot.member is None:
        return
    await boot.machine.world.etcd.remove(data.cluster, data.member)
    _without_etcd(boot)


async def lose_etcd(boot: Boot) -> None:
    """Wipe the data directory, as far as there is something in it, without asking anybody."""
    data = boot.machine.disk.contents.etcd
    if data is not None:
        await boot.machine.world.etcd.forget(data.cluster, data.member)
    _without_etcd(boot)


def _without_etcd(boot: Boot) -> None:
    boot.machine.disk.set_etcd(None)
    boot.member = None
    boot.store.remove(types.ETCD_MEMBER)
    if boot.services.get("etcd"):
        boot.services.stop("etcd")


# --- Kubernetes


async def _control_plane(boot: Boot) -> None:
    """The static pods of a control plane; the first of them is the Kubernetes API."""
    for pod in kubelet.STATIC_PODS:
        boot.set_static_pod(f"kube-system/{pod}-{boot.hostname}", ready=False)
    await asyncio.sleep(boot.machine.timings.static_pods)
    data, authority = boot.machine.disk.contents.etcd, boot.config.kubernetes_ca
    cluster = boot.machine.world.etcd.cluster(data.cluster) if data else None
    if cluster is None or authority is None:
        return
    boot.kubernetes = kubernetes.KubernetesApi(boot, cluster)
    await boot.kubernetes.open()
    for pod in kubelet.STATIC_PODS:
        boot.set_static_pod(f"kube-system/{pod}-{boot.hostname}", ready=True)
    await boot.machine.world.kubernetes_up(fingerprint(authority.crt), boot, cluster)


async def _kubelet(boot: Boot) -> None:
    """Run the kubelet, and register a node as soon as a Kubernetes API answers."""
    authority, timings = boot.config.kubernetes_ca, boot.machine.timings
    boot.services.set("kubelet", State.PREPARING, "Running pre state")
    await _wait_for_own_address(boot, "kubelet")
    await asyncio.sleep(timings.kubelet)
    boot.services.set("kubelet", State.RUNNING, "Started task kubelet")
    boot.put(types.KUBELET_STATUS, {"image": boot.config.kubelet_image})
    boot.services.set("kubelet", State.RUNNING, "Health check successful", healthy=True)
    if authority is None:
        return
    cluster = await boot.machine.world.kubernetes(fingerprint(authority.crt))
    await apiaccess.reach(boot)
    boot.cluster = cluster
    kubelet.register_node(boot, cluster.objects, ready=False)
    boot.discovery.wake()
    boot.set_node_ready(False)
    await asyncio.sleep(timings.node_ready)
    kubelet.register_node(boot, cluster.objects, ready=True)
    boot.set_node_ready(True)
