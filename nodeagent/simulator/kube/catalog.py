"""The kinds of objects that there are, and where they are found: what discovery and OpenAPI say."""

from __future__ import annotations

from dataclasses import dataclass

from nodeagent.simulator.objects import Object

ALL_VERBS = ("create", "delete", "get", "list", "patch", "update", "watch")
RBAC = "rbac.authorization.k8s.io"


@dataclass(frozen=True)
class Kind:
    """One kind, under the plural of its name."""

    plural: str
    name: str
    group: str = ""
    version: str = "v1"
    namespaced: bool = True
    short: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    """Name, kind (`group/version/Kind` where it is not of this group) and verbs."""

    @property
    def group_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def root(self) -> str:
        """Where its group's resources are."""
        return f"/apis/{self.group_version}" if self.group else f"/api/{self.version}"

    @property
    def qualified(self) -> str:
        """As messages name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


_STREAMS = ("create", "get")
KINDS = (
    Kind(
        "nodes", "Node", namespaced=False, short=("no",), subresources=(("status", "Node", ("get", "patch", "update")),)
    ),
    Kind("namespaces", "Namespace", namespaced=False, short=("ns",)),
    Kind(
        "pods",
        "Pod",
        short=("po",),
        categories=("all",),
        subresources=(
            ("attach", "PodAttachOptions", _STREAMS),
            ("eviction", "policy/v1/Eviction", ("create",)),
            ("exec", "PodExecOptions", _STREAMS),
            ("log", "Pod", ("get",)),
            ("portforward", "PodPortForwardOptions", _STREAMS),
            ("status", "Pod", ("get", "patch", "update")),
        ),
    ),
    Kind(
        "serviceaccounts",
        "ServiceAccount",
        short=("sa",),
        subresources=(("token", "authentication.k8s.io/v1/TokenRequest", ("create",)),),
    ),
    Kind("configmaps", "ConfigMap", short=("cm",)),
    Kind("secrets", "Secret"),
    Kind("services", "Service", short=("svc",), categories=("all",)),
    Kind("events", "Event", short=("ev",)),
    Kind("leases", "Lease", group="coordination.k8s.io"),
    Kind("clusterroles", "ClusterRole", group=RBAC, namespaced=False),
    Kind("clusterrolebindings", "ClusterRoleBinding", group=RBAC, namespaced=False),
    Kind("roles", "Role", group=RBAC),
    Kind("rolebindings", "RoleBinding", group=RBAC),
)

REVIEWS = (
    Kind("selfsubjectreviews", "SelfSubjectReview", group="authentication.k8s.io", namespaced=False),
    Kind("selfsubjectaccessreviews", "SelfSubjectAccessReview", group="authorization.k8s.io", namespaced=False),
    Kind("selfsubjectrulesreviews", "SelfSubjectRulesReview", group="authorization.k8s.io", namespaced=False),
)
"""Kinds that answer when they are created, and are kept nowhere."""

_BY_PLURAL = {(kind.group, kind.version, kind.plural): kind for kind in (*KINDS, *REVIEWS)}
GROUPS = tuple(dict.fromkeys((kind.group, kind.version) for kind in (*KINDS, *REVIEWS) if kind.group))


def find(group: str, version: str, plural: str) -> Kind | None:
    return _BY_PLURAL.get((group, version, plural))


def discovery(path: str) -> Object | None:
    """What is said at an address of discovery or OpenAPI; None at others."""
    path = path.rstrip("/")
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
    if path == "/apis":
        groups = [_group(group, version) for group, version in GROUPS]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    roots = {"/api/v1": ("", "v1")} | {f"/apis/{group}/{version}": (group, version) for group, version in GROUPS}
    if path in roots:
        return _resources(*roots[path])
    for group, version in GROUPS:
        if path == f"/apis/{group}":
            return {"kind": "APIGroup", "apiVersion": "v1"} | _group(group, version)
    if path == "/openapi/v3":
        return {"paths": {root[1:]: {"serverRelativeURL": f"/openapi/v3{root}"} for root in roots}}
    if path.removeprefix("/openapi/v3") in roots:
        return _openapi(*roots[path.removeprefix("/openapi/v3")])
    return None


def _group(group: str, version: str) -> Object:
    served = {"groupVersion": f"{group}/{version}", "version": version}
    return {"name": group, "versions": [served], "preferredVersion": served}


def _resources(group: str, version: str) -> Object:
    listed: list[Object] = []
    for kind in (*KINDS, *REVIEWS):
        if (kind.group, kind.version) != (group, version):
            continue
        verbs = ["create"] if kind in REVIEWS else list(ALL_VERBS)
        common = {"singularName": kind.name.lower(), "namespaced": kind.namespaced}
        listed.append(
            {
                "name": kind.plural,
                **common,
                "kind": kind.name,
                "verbs": verbs,
                "shortNames": list(kind.short),
                "categories": list(kind.categories),
            }
        )
        for name, of, allowed in kind.subresources:
            *where, short = of.rsplit("/", 1)
            entry: Object = {"name": f"{kind.plural}/{name}", **common, "kind": short, "verbs": list(allowed)}
            if where:
                entry["group"], entry["version"] = where[0].split("/")
            listed.append(entry)
    group_version = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": listed}


def _openapi(group: str, version: str) -> Object:
    """Only what tells kubectl that the server checks the fields of what is applied."""
    paths: Object = {}
    for kind in KINDS:
        if (kind.group, kind.version) == (group, version):
            place = f"{kind.root}/namespaces/{{namespace}}/" if kind.namespaced else f"{kind.root}/"
            patch = {
                "parameters": [{"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}],
                "responses": {"200": {"description": "OK"}},
                "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind.name},
            }
            paths[f"{place}{kind.plural}/{{name}}"] = {"patch": patch}
    return {"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": version}, "paths": paths}
