"""What kubelets write into the Kubernetes API: nodes, and the mirrors of static pods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodeagent.simulator.image import KERNEL
from nodeagent.simulator.objects import KubernetesObjects, Object, timestamp

if TYPE_CHECKING:
    from nodeagent.simulator.boot import Boot

STATIC_PODS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
_COMPONENTS = {
    "kube-apiserver": ("apiServer", "KubeAPIServerConfig"),
    "kube-controller-manager": ("controllerManager", "KubeControllerManagerConfig"),
    "kube-scheduler": ("scheduler", "KubeSchedulerConfig"),
}

POD_NETWORK = {4: 24, 6: 64}
"""Prefix length of the network of one node's pods, by IP version."""


def register_node(boot: Boot, objects: KubernetesObjects, *, ready: bool) -> None:
    """Create or refresh this machine's node, and its static pods."""
    name, config, hardware = boot.hostname, boot.config, boot.machine.hardware
    old = objects.get("nodes", ("", name))
    labels = {
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        **config.node_labels,
    }
    if config.machine_type.is_control_plane:
        labels["node-role.kubernetes.io/control-plane"] = ""
    annotations = old["metadata"].get("annotations", {}) if old else {}
    taints = []
    for key, text in config.node_taints.items():
        value, _, effect = text.rpartition(":")
        taints.append({"key": key, "effect": effect, **({"value": value} if value else {})})
    spec: Object = dict(old["spec"]) if old else {}
    spec["taints"] = taints
    if "podCIDR" not in spec and (network := _free_pod_network(boot, objects)):
        spec |= {"podCIDR": network, "podCIDRs": [network]}
    capacity = {
        "cpu": str(hardware.cores),
        "memory": f"{hardware.memory * 1024}Ki",
        "pods": "110",
        "ephemeral-storage": f"{hardware.disks[0].size // 1024}Ki",
    }
    node: Object = {
        "kind": "Node",
        "apiVersion": "v1",
        "metadata": {
            "name": name,
            "labels": labels,
            "annotations": annotations,
        },
        "spec": spec,
        "status": {
            "conditions": _conditions(old, ready=ready),
            "addresses": [
                {"type": "InternalIP", "address": hardware.address},
                {"type": "Hostname", "address": name},
            ],
            "capacity": capacity,
            "allocatable": capacity,
            "nodeInfo": {
                "machineID": boot.machine.world.machine_id(boot.node_id),
                "systemUUID": boot.uuid,
                "bootID": boot.id,
                "kernelVersion": KERNEL,
                "osImage": f"Talos ({boot.version})",
                "containerRuntimeVersion": "containerd://2.1.4",
                "kubeletVersion": config.kubernetes_version,
                "kubeProxyVersion": "",
                "operatingSystem": "linux",
                "architecture": "amd64",
            },
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        },
    }
    objects.put("nodes", ("", name), node)
    for namespace in ("default", "kube-node-lease", "kube-public", "kube-system"):
        objects.put(
            "namespaces", ("", namespace), {"kind": "Namespace", "apiVersion": "v1", "status": {"phase": "Active"}}
        )
    if config.machine_type.is_control_plane:
        for pod in STATIC_PODS:
            objects.put("pods", ("kube-system", f"{pod}-{name}"), _mirror_pod(boot, pod, ready=ready))


def _free_pod_network(boot: Boot, objects: KubernetesObjects) -> str | None:
    """What the controller manager gives a node: the first network of pods that no other one has."""
    taken = {node.get("spec", {}).get("podCIDR") for node in objects.list("nodes")}
    for subnet in boot.config.pod_subnets:
        size = max(subnet.prefixlen, POD_NETWORK[subnet.version])
        for network in subnet.subnets(new_prefix=size):
            if str(network) not in taken:
                return str(network)
    return None


def lose_node(objects: KubernetesObjects, name: str) -> None:
    """A node's machine has been silent for too long."""
    old = objects.get("nodes", ("", name))
    if old is None:
        return
    conditions = [
        {**condition, "status": "Unknown", "reason": "NodeStatusUnknown", "lastTransitionTime": timestamp()}
        for condition in old["status"]["conditions"]
    ]
    objects.put("nodes", ("", name), {**old, "status": {**old["status"], "conditions": conditions}})


def _conditions(old: Object | None, *, ready: bool) -> list[Object]:
    wanted = {"MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False"}
    wanted["Ready"] = "True" if ready else "False"
    before = {condition["type"]: condition for condition in (old or {}).get("status", {}).get("conditions", [])}
    now, conditions = timestamp(), []
    for kind, status in wanted.items():
        same = kind in before and before[kind]["status"] == status
        since = before[kind]["lastTransitionTime"] if same else now
        reason = "KubeletReady" if ready or kind != "Ready" else "KubeletNotReady"
        conditions.append(
            {
                "type": kind,
                "status": status,
                "lastHeartbeatTime": now,
                "lastTransitionTime": since,
                "reason": reason,
                "message": "kubelet is posting ready status" if ready else "container runtime network not ready",
            }
        )
    return conditions


def _mirror_pod(boot: Boot, component: str, *, ready: bool) -> Object:
    legacy, kind = _COMPONENTS[component]
    image = boot.config.component_image(legacy, kind)
    status = "True" if ready else "False"
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "labels": {"k8s-app": component, "tier": "control-plane"},
            "annotations": {"kubernetes.io/config.mirror": boot.node_id},
        },
        "spec": {"nodeName": boot.hostname, "containers": [{"name": component, "image": image}]},
        "status": {
            "phase": "Running",
            "conditions": [{"type": name, "status": status} for name in ("Initialized", "Ready", "ContainersReady")],
            "containerStatuses": [{"name": component, "image": image, "ready": ready, "restartCount": 0}],
        },
    }
