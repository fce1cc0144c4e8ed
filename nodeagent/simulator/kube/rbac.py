"""Who may do what: rules of cluster roles and roles, bound to users and groups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from nodeagent.simulator.kube.catalog import RBAC
from nodeagent.simulator.kube.http import Failure
from nodeagent.simulator.kube.identity import AUTHENTICATED, MASTERS, User
from nodeagent.simulator.objects import KubernetesObjects, Object

READ = ["get", "list", "watch"]
WRITE = ["create", "delete", "deletecollection", "patch", "update"]

_PLAIN = ["configmaps", "pods", "pods/status", "services", "serviceaccounts", "events", "leases"]


@dataclass(frozen=True)
class Attributes:
    """What somebody wants to do: with a resource, or, where `path` is, with an address."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


def _rule(groups: list[str], resources: list[str], verbs: list[str]) -> Object:
    return {"apiGroups": groups, "resources": resources, "verbs": verbs}


_VIEW = [_rule(["", "coordination.k8s.io"], [*_PLAIN, "pods/log", "namespaces"], READ)]
_EDIT = [
    *_VIEW,
    _rule([""], [*_PLAIN, "secrets", "pods/attach", "pods/exec", "pods/portforward", "pods/eviction"], WRITE),
    _rule([""], ["secrets", "pods/attach", "pods/exec", "pods/portforward"], READ),
    _rule([""], ["serviceaccounts"], ["impersonate"]),
    _rule([""], ["serviceaccounts/token"], ["create"]),
]
_ADMIN = [*_EDIT, _rule([RBAC], ["roles", "rolebindings"], [*READ, *WRITE])]
_EVERYTHING = [_rule(["*"], ["*"], ["*"]), {"nonResourceURLs": ["*"], "verbs": ["*"]}]
_EVERYBODY = [
    {"nonResourceURLs": ["/api*", "/openapi*", "/version*", "/healthz*", "/livez*", "/readyz*"], "verbs": ["get"]},
    _rule(["authentication.k8s.io", "authorization.k8s.io"], ["*"], ["create"]),
]

_ROLES = {
    "cluster-admin": _EVERYTHING,
    "admin": _ADMIN,
    "edit": _EDIT,
    "view": _VIEW,
    "system:basic-user": _EVERYBODY,
}
_BINDINGS = {"cluster-admin": MASTERS, "system:basic-user": AUTHENTICATED}


def prepare(objects: KubernetesObjects) -> None:
    """Make the roles that every cluster has."""
    for name, rules in _ROLES.items():
        role = {"kind": "ClusterRole", "apiVersion": f"{RBAC}/v1", "rules": rules}
        objects.put("clusterroles", ("", name), role)
    for name, group in _BINDINGS.items():
        binding = {
            "kind": "ClusterRoleBinding",
            "apiVersion": f"{RBAC}/v1",
            "subjects": [{"kind": "Group", "apiGroup": RBAC, "name": group}],
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": name},
        }
        objects.put("clusterrolebindings", ("", name), binding)


def allowed(user: User, asked: Attributes, objects: KubernetesObjects) -> bool:
    """Whether any rule bound to the user allows it."""
    if MASTERS in user.groups:
        return True
    return any(_allows(rule, asked) for rule in rules_of(user, asked.namespace, objects))


def demand(user: User, asked: Attributes, objects: KubernetesObjects) -> None:
    """Raises Failure (403)."""
    if allowed(user, asked, objects):
        return
    what = f'User "{user.name}" cannot {asked.verb}'
    if asked.path:
        raise Failure(403, "Forbidden", f'forbidden: {what} path "{asked.path}"')
    full = asked.resource + (f"/{asked.subresource}" if asked.subresource else "")
    where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    subject = full + (f".{asked.group}" if asked.group else "") + (f' "{asked.name}"' if asked.name else "")
    message = f'{subject} is forbidden: {what} resource "{full}" in API group "{asked.group}" {where}'
    details = {"name": asked.name, "group": asked.group, "kind": asked.resource}
    raise Failure(403, "Forbidden", message, details)


def rules_of(user: User, namespace: str, objects: KubernetesObjects) -> Iterator[Object]:
    """All rules that count for the user, in a namespace."""
    for binding in objects.list("clusterrolebindings"):
        if _binds(binding, user):
            yield from _rules(objects.get("clusterroles", ("", binding["roleRef"]["name"])))
    for binding in objects.list("rolebindings", namespace) if namespace else ():
        if _binds(binding, user):
            role = binding["roleRef"]
            place = "" if role["kind"] == "ClusterRole" else namespace
            yield from _rules(objects.get("roles" if place else "clusterroles", (place, role["name"])))


def _rules(role: Object | None) -> list[Object]:
    return (role or {}).get("rules") or []


def _binds(binding: Object, user: User) -> bool:
    for subject in binding.get("subjects") or ():
        name = subject["name"]
        match subject["kind"]:
            case "Group":
                bound = name in user.groups
            case "User":
                bound = name == user.name
            case _:
                bound = user.name == f"system:serviceaccount:{subject.get('namespace', '')}:{name}"
        if bound:
            return True
    return False


def _allows(rule: dict[str, Any], asked: Attributes) -> bool:
    if not {asked.verb, "*"} & set(rule.get("verbs") or ()):
        return False
    if asked.path:
        paths = rule.get("nonResourceURLs") or ()
        return any(asked.path == path or (path[-1] == "*" and asked.path.startswith(path[:-1])) for path in paths)
    full = asked.resource + (f"/{asked.subresource}" if asked.subresource else "")
    names = rule.get("resourceNames")
    return (
        bool({asked.group, "*"} & set(rule.get("apiGroups") or ()))
        and bool({full, "*", f"*/{asked.subresource}"} & set(rule.get("resources") or ()))
        and (not names or asked.name in names)
    )
