"""How the controllers of a machine depend on each other: who writes which resources, and from what."""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf.empty_pb2 import Empty

from nodeagent.simulator.calls import Call, Implementation
from nodeagent.simulator.resources import exists
from talos.gen import inspect_pb2
from talos.resources import ResourceType
from talos.resources import types as t

_Edge = inspect_pb2.ControllerDependencyEdge
_CONTROLLERS: Mapping[str, tuple[tuple[ResourceType, ...], tuple[ResourceType, ...]]] = {
    "block.DiscoveryController": ((t.BLOCK_DEVICE,), (t.DISCOVERED_VOLUME,)),
    "block.DisksController": ((t.BLOCK_DEVICE,), (t.DISK,)),
    "block.VolumeManagerController": ((t.DISCOVERED_VOLUME, t.DISK), (t.VOLUME_STATUS,)),
    "cluster.InfoController": ((t.MACHINE_CONFIG,), (t.INFO,)),
    "cluster.NodeIdentityController": ((t.VOLUME_STATUS,), (t.IDENTITY,)),
    "config.MachineTypeController": ((t.MACHINE_CONFIG,), (t.MACHINE_TYPE,)),
    "etcd.SpecController": ((t.MACHINE_CONFIG, t.NODE_ADDRESS, t.HOSTNAME_STATUS), (t.ETCD_SPEC,)),
    "etcd.MemberController": ((t.ETCD_SPEC, t.SERVICE), (t.ETCD_MEMBER,)),
    "k8s.NodeIPController": ((t.NODE_ADDRESS, t.MACHINE_CONFIG), (t.NODE_IP,)),
    "k8s.NodenameController": ((t.HOSTNAME_STATUS, t.MACHINE_CONFIG), (t.NODENAME,)),
    "k8s.NodeStatusController": ((t.NODENAME,), (t.NODE_STATUS,)),
    "network.AddressStatusController": ((t.LINK_STATUS,), (t.ADDRESS_STATUS,)),
    "network.NodeAddressController": ((t.ADDRESS_STATUS, t.LINK_STATUS), (t.NODE_ADDRESS,)),
    "network.StatusController": ((t.ADDRESS_STATUS, t.ROUTE_STATUS, t.HOSTNAME_STATUS), (t.NETWORK_STATUS,)),
    "runtime.MachineStatusController": (
        (t.SERVICE, t.TIME_STATUS, t.NETWORK_STATUS, t.STATIC_POD_STATUS, t.NODE_STATUS),
        (t.MACHINE_STATUS,),
    ),
    "secrets.RootController": ((t.MACHINE_CONFIG, t.MACHINE_TYPE), (t.OS_ROOT_SECRET,)),
    "siderolink.ManagerController": ((t.NETWORK_STATUS, t.UNIQUE_MACHINE_TOKEN), (t.LINK_STATUS,)),
    "time.SyncController": ((t.TIME_SERVER_STATUS, t.NETWORK_STATUS), (t.TIME_STATUS,)),
}
"""What each reads, and what it writes."""


async def dependencies(call: Call, request: Empty) -> inspect_pb2.ControllerRuntimeDependenciesResponse:
    """Of the controllers whose resources this machine has."""
    edges = []
    for name, (inputs, outputs) in _CONTROLLERS.items():
        for kind in inputs:
            edges.append(_edge(name, inspect_pb2.INPUT_WEAK, kind))
        for kind in outputs:
            shared = kind is t.LINK_STATUS
            edges.append(_edge(name, inspect_pb2.OUTPUT_SHARED if shared else inspect_pb2.OUTPUT_EXCLUSIVE, kind))
    known = [edge for edge in edges if exists(t.TYPES[edge.resource_type], call.boot.minor)]
    return inspect_pb2.ControllerRuntimeDependenciesResponse(
        messages=[inspect_pb2.ControllerRuntimeDependency(edges=known)]
    )


def _edge(controller: str, type_: inspect_pb2.DependencyEdgeType, kind: ResourceType) -> _Edge:
    return _Edge(
        controller_name=controller, edge_type=type_, resource_namespace=kind.namespace, resource_type=kind.name
    )


CALLS: Mapping[str, Implementation] = {"ControllerRuntimeDependencies": dependencies}
