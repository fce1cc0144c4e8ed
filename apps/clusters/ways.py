"""Ways to a cluster that files with credentials can name: its own endpoint, a node itself, or this installation."""

from django.core.exceptions import ValidationError

from apps.clusters import queries
from apps.clusters.models import Cluster
from apps.clusters.observe_machine import balancer
from talos.template.endpoint import API_PORT, bracketed

OWN, NODE, OMNI = "own", "node", "omni"

WAYS = {
    OWN: "the cluster\u2019s own endpoint: works while this installation is away",
    NODE: "a control plane\u2019s own address: works while that machine is up",
    OMNI: "this installation\u2019s balancer: for what runs on the cluster\u2019s own machines",
}
"""For a kubeconfig; what each means."""

TALOS_WAYS = {
    NODE: "the nodes\u2019 own addresses",
    OWN: "the host of the cluster\u2019s own endpoint, where it passes port 50000 on to the nodes",
}
"""For a talosconfig, the better one first: a virtual IP is away when etcd is, and then machines are most needed."""


def open_to(cluster: Cluster) -> list[str]:
    """Ways in which a kubeconfig of this cluster can be had, the default one first."""
    ours = [OMNI] if queries.reached_by_machines(cluster) else []
    return [OWN, NODE, *ours] if cluster.own_endpoint else [NODE, *ours]


def kubernetes_url(cluster: Cluster, way: str) -> str:
    """Where a kubeconfig points; empty `way` takes the default. Raises ValidationError for one that is not there."""
    way = _checked(cluster, way or open_to(cluster)[0], WAYS)
    if way == OWN:
        return cluster.own_endpoint.url
    if way == OMNI:
        if not queries.reached_by_machines(cluster):
            raise ValidationError(f"No machine of {cluster.name} reaches this installation: take another endpoint.")
        return balancer(cluster)
    return f"https://{bracketed(_control_planes(cluster)[0])}:{API_PORT}"


def talos_endpoints(cluster: Cluster, way: str) -> tuple[list[str], list[str]]:
    """Endpoints and nodes of a talosconfig. Raises ValidationError for a way that is not there."""
    way = _checked(cluster, way or NODE, TALOS_WAYS)
    control_planes, nodes = queries.node_addresses(cluster)
    return ([cluster.own_endpoint.host] if way == OWN else control_planes), nodes


def _checked(cluster: Cluster, way: str, known: dict[str, str]) -> str:
    if way not in known:
        raise ValidationError(f"There is no endpoint {way!r} to choose: take {' or '.join(known)}.")
    if way == OWN and not cluster.own_endpoint:
        raise ValidationError(f"{cluster.name} has no endpoint of its own; its template can give it one.")
    return way


def _control_planes(cluster: Cluster) -> list[str]:
    addresses, _ = queries.node_addresses(cluster)
    if not addresses:
        raise ValidationError(f"No control plane of {cluster.name} has reported an address yet.")
    return addresses
