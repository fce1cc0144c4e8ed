"""What we keep in a cluster's Kubernetes API so that people may work there, and what of it has to change. Pure.

The proxy lets people act as members of `omni:ROLE`; a ClusterRoleBinding for each gives the group the rights of one of
Kubernetes' own roles. These leave out what belongs to no namespace, nodes among it: a role of ours lets people look at
that, too. Whoever has a kubeconfig that goes past us is a ServiceAccount in one namespace, with bindings of its own.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from apps.access.actor import ROLES
from apps.access.policy import group_of
from apps.clusters.kubernetes import Call

NAMESPACE = "omni-access"
CLUSTER_ROLES = dict(zip(ROLES, ("view", "edit", "admin", "cluster-admin"), strict=True))
"""What a role of ours is in Kubernetes."""

Object = dict[str, Any]

LOOKING = "omni:look"
"""A ClusterRole of ours: to look at what belongs to no namespace and holds no secrets."""

_MANAGED = {"app.kubernetes.io/managed-by": "omni"}
_RBAC = "rbac.authorization.k8s.io"
_ROLES = f"/apis/{_RBAC}/v1/clusterroles"
_BINDINGS = f"/apis/{_RBAC}/v1/clusterrolebindings"
_ACCOUNTS = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
_ACCOUNT, _BINDING = "key-", "omni-access:"
_OURS = ("omni:", _BINDING)
_APPLY = "?fieldManager=omni&force=true"

_NO_NAMESPACE = {
    "": ["namespaces", "nodes", "persistentvolumes"],
    "apiextensions.k8s.io": ["customresourcedefinitions"],
    "apiregistration.k8s.io": ["apiservices"],
    "metrics.k8s.io": ["nodes", "pods"],
    "networking.k8s.io": ["ingressclasses"],
    "node.k8s.io": ["runtimeclasses"],
    "scheduling.k8s.io": ["priorityclasses"],
    "storage.k8s.io": ["csidrivers", "csinodes", "storageclasses", "volumeattachments"],
}
_LOOKING: Object = {
    "apiVersion": f"{_RBAC}/v1",
    "kind": "ClusterRole",
    "metadata": {"name": LOOKING, "labels": _MANAGED},
    "rules": [
        {"apiGroups": [group], "resources": resources, "verbs": ["get", "list", "watch"]}
        for group, resources in _NO_NAMESPACE.items()
    ],
}

LOOK = (
    Call("GET", _BINDINGS),
    Call("GET", _ACCOUNTS),
    Call("GET", f"{_ROLES}?labelSelector={quote('app.kubernetes.io/managed-by=omni', safe='')}"),
)
"""What is asked to know what is there; see `seen`."""


@dataclass(frozen=True)
class Seen:
    """What is there of ours: bindings by name as (role, subjects), the names of accounts, rules of roles by name."""

    bindings: Mapping[str, tuple[str, tuple[tuple[str, str, str], ...]]]
    accounts: frozenset[str]
    roles: Mapping[str, list[Object]]


def account_of(fingerprint: str) -> str:
    """The ServiceAccount of an access key."""
    return f"{_ACCOUNT}{fingerprint}"


def seen(bindings: Any, accounts: Any, roles: Any) -> Seen:
    """The answers to `LOOK`."""
    ours = [item for item in (bindings or {}).get("items") or [] if item["metadata"]["name"].startswith(_OURS)]
    found = {item["metadata"]["name"]: _said(item) for item in ours}
    names = [item["metadata"]["name"] for item in (accounts or {}).get("items") or []]
    rules = {item["metadata"]["name"]: item.get("rules") or [] for item in (roles or {}).get("items") or []}
    return Seen(found, frozenset(name for name in names if name.startswith(_ACCOUNT)), rules)


def wanted_bindings(direct: Mapping[str, str]) -> dict[str, Object]:
    """Every binding that shall be, by name; `direct` is account -> Kubernetes role."""
    groups = [_binding(group_of(role), CLUSTER_ROLES[role], _group(role)) for role in ROLES]
    looking = _binding(LOOKING, LOOKING, *(_group(role) for role in ROLES if _has_to_be_shown(CLUSTER_ROLES[role])))
    accounts = [
        _binding(f"{_BINDING}{name}{end}", bound, {"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE})
        for name, role in direct.items()
        for end, bound in (("", role), (":look", LOOKING))
        if bound != LOOKING or _has_to_be_shown(role)
    ]
    return {item["metadata"]["name"]: item for item in (*groups, looking, *accounts)}


def _has_to_be_shown(cluster_role: str) -> bool:
    """Whether a role of Kubernetes leaves out what belongs to no namespace."""
    return cluster_role != CLUSTER_ROLES[ROLES[-1]]


def _group(role: str) -> Object:
    return {"kind": "Group", "apiGroup": _RBAC, "name": group_of(role)}


def changes(there: Seen, direct: Mapping[str, str]) -> list[Call]:
    """The requests that make what is there what shall be. Accounts that nobody shall have go first.

    A binding keeps its role for life in Kubernetes: to change that it is made anew.
    """
    wanted = wanted_bindings(direct)
    calls = [Call("DELETE", f"{_ACCOUNTS}/{quote(name)}") for name in sorted(there.accounts - set(direct))]
    for name, (role, _) in sorted(there.bindings.items()):
        unwanted = name.startswith(_BINDING) and name not in wanted
        if unwanted or (name in wanted and role != wanted[name]["roleRef"]["name"]):
            calls.append(Call("DELETE", f"{_BINDINGS}/{quote(name, safe='')}"))
    if there.roles.get(LOOKING) != _LOOKING["rules"]:
        calls.append(_apply(f"{_ROLES}/{quote(LOOKING, safe='')}", _LOOKING))
    for name, item in wanted.items():
        if there.bindings.get(name) != _said(item):
            calls.append(_apply(f"{_BINDINGS}/{quote(name, safe='')}", item))
    return calls


def new_account(name: str, role: str, holder: str, seconds: int) -> list[Call]:
    """The requests that make somebody's account; the last one is answered with their token."""
    labels = {"labels": _MANAGED}
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": NAMESPACE, **labels, "annotations": {"omni/holder": holder}},
        "automountServiceAccountToken": False,
    }
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, **labels}}
    bindings = [item for named, item in wanted_bindings({name: role}).items() if named.startswith(_BINDING)]
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": seconds},
    }
    return [
        _apply(f"/api/v1/namespaces/{NAMESPACE}", namespace),
        _apply(f"{_ACCOUNTS}/{name}", account),
        *(_apply(f"{_BINDINGS}/{quote(item['metadata']['name'], safe='')}", item) for item in bindings),
        Call("POST", f"{_ACCOUNTS}/{name}/token", request),
    ]


def _apply(path: str, item: Object) -> Call:
    """Server-side apply. JSON is YAML too."""
    return Call("PATCH", path + _APPLY, item, "application/apply-patch+yaml")


def _binding(name: str, role: str, *subjects: Object) -> Object:
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name, "labels": _MANAGED},
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role},
        "subjects": list(subjects),
    }


def _said(item: Object) -> tuple[str, tuple[tuple[str, str, str], ...]]:
    subjects: Iterable[Object] = item.get("subjects") or []
    named = sorted((one.get("kind", ""), one.get("namespace", ""), one.get("name", "")) for one in subjects)
    ref = item.get("roleRef") or {}
    return (ref.get("name", "") if ref.get("kind") == "ClusterRole" else ""), tuple(named)
