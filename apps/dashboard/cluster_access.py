"""The page of one cluster that says how to get in: commands ready to copy, and what one may do there."""

from typing import Any

from django.http import HttpResponse
from django.utils import timezone

from apps.access.check import allowed, standing_of
from apps.accounts.models import AccessKey
from apps.accounts.states import access_key_state
from apps.clusters import queries
from apps.clusters.models import Cluster
from apps.dashboard.clusters import cluster_of
from apps.dashboard.page import PageRequest, page, show

KEYS = 20
"""One's own keys to the cluster that the page shows, the newest."""


@page("cluster.access")
def cluster_access(request: PageRequest, name: str) -> HttpResponse:
    """How to get into a cluster with talosctl, kubectl and what builds on them."""
    cluster = cluster_of(request, name)
    context = f"{request.organisation.slug}-{name}"
    standing = standing_of(request.actor, cluster)
    names = [row.machine.facts.name for row in queries.machines_of(cluster).filter(leaving_at=None)]
    node = names[0] if names else "NODE"
    shown: dict[str, Any] = {
        "cluster": cluster,
        "standing": standing,
        "context": context,
        "nodes": names,
        "kubectl": f"omni kubeconfig --cluster {name} --merge\nkubectl --context {context} get nodes",
        "kubelogin": f"omni kubeconfig --cluster {name} --oidc --merge",
        "others": f"k9s --context {context}\nhelm --kube-context {context} list --all-namespaces",
        "program": f"omni kubeconfig --cluster {name} --service-account NAME --lifetime 30d --to {name}.kubeconfig",
        "direct": f"omni kubeconfig --cluster {name} --endpoint {'own' if cluster.own_endpoint else 'node'}"
        f" --to {name}.kubeconfig",
        "talosctl": f"omni talosconfig --cluster {name} --merge\ntalosctl --context {context} --nodes {node} dashboard",
        "certificate": f"omni talosconfig --cluster {name} --certificate --lifetime 8h --merge",
        "examples": f"talosctl --nodes {node} logs --follow kubelet\ntalosctl --nodes {node} dmesg --follow\n"
        f"talosctl --nodes {','.join(names[:3]) or node} version",
        "keys": _keys(request, cluster),
        "can_explain": allowed(request.actor, "policy.write"),
        "can_service": allowed(request.actor, "service-account.write"),
    }
    return show(request, "clusters/access.html", shown, "clusters", "access-key,cluster")


def _keys(request: PageRequest, cluster: Cluster) -> list[Any]:
    """One's own living keys that lead to this cluster."""
    now = timezone.now()
    own = AccessKey.objects.filter(user_id=request.actor.id, revoked_at=None, expires_at__gt=now)
    rows = own.filter(cluster_id__in=[cluster.id]) | own.filter(cluster_id=None)
    return [(key, access_key_state(key, now)) for key in rows.order_by("-created_at")[:KEYS]]
