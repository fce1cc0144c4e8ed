"""The page of one cluster that says how to get in: commands ready to copy, and what one may do there."""

from typing import Any, cast

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils import timezone

from apps.access.check import allowed, standing_of
from apps.accounts.authority import DEFAULT_LIFETIME
from apps.accounts.identity import Identity
from apps.accounts.models import AccessKey, User
from apps.accounts.states import access_key_state
from apps.clusters import queries
from apps.clusters.models import Cluster
from apps.dashboard.clusters import cluster_of
from apps.dashboard.page import PageRequest, page, show
from apps.proxies import actions, kubeconfigs, talosconfigs
from apps.proxies.models import ClusterAccess
from apps.reconcile.conditions import Shown

KEYS = 20
"""One's own keys to the cluster that the page shows, the newest."""

WORDS = {"groups": "Groups", "direct": "Accounts past us"}
"""What the conditions of `proxies.ClusterAccess` are called."""


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
        "in_cluster": _in_cluster(cluster),
        "can_explain": allowed(request.actor, "policy.write"),
        "can_service": allowed(request.actor, "service-account.write"),
    }
    return show(request, "clusters/access.html", shown, "clusters", "access-key,cluster")


def _keys(request: PageRequest, cluster: Cluster) -> list[Any]:
    """One's own living keys that lead to this cluster."""
    now = timezone.now()
    own = AccessKey.objects.filter(user_id=request.actor.id, revoked_at=None, expires_at__gt=now)
    rows = own.filter(cluster_id__in=[cluster.id]) | own.filter(cluster_id=None)
    rows = rows.select_related("direct").order_by("-created_at")
    return [(key, access_key_state(key, now)) for key in rows[:KEYS]]


def _in_cluster(cluster: Cluster) -> list[Shown]:
    """What the cluster itself knows of people."""
    access = ClusterAccess.objects.filter(cluster=cluster).first()
    return [Shown(item["state"], WORDS[item["name"]], item["message"]) for item in access.conditions] if access else []


@page("cluster.access")
def cluster_access_file(request: PageRequest, name: str, form: str) -> HttpResponse:
    """One's own kubeconfig or talosconfig through this installation; `form` says how one proves oneself in it."""
    cluster = cluster_of(request, name)
    if request.method != "POST":
        return redirect("cluster-access", request.organisation.slug, name)
    identity = Identity(cast(User, request.user), session=request.session.session_key or "")
    try:
        kind, text = _file(request, identity, cluster, form)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("cluster-access", request.organisation.slug, name)
    headers = {"Content-Disposition": f'attachment; filename="{name}.{kind}"'}
    return HttpResponse(text, content_type="application/yaml", headers=headers)


def _file(request: PageRequest, identity: Identity, cluster: Cluster, form: str) -> tuple[str, str]:
    """The kind of the file, and the file. Raises Denied, ValidationError."""
    if form in kubeconfigs.PROOFS:
        return "kubeconfig", actions.person_kubeconfig(request.actor, identity, cluster, form)
    if form not in talosconfigs.PROOFS:
        raise ValidationError(f"There is no file {form!r} to download.")
    session = identity.session or ""
    made, _ = talosconfigs.give(request.actor, identity, cluster, form, DEFAULT_LIFETIME, session)
    return "talosconfig", made.to_yaml()
