"""Reading and changing objects: where a path leads, selectors, patches."""

from __future__ import annotations

import copy
import secrets
from collections import Counter
from dataclasses import dataclass
from typing import Any

import yaml

from nodeagent.simulator.kube import catalog
from nodeagent.simulator.kube.catalog import RBAC, Kind
from nodeagent.simulator.kube.http import Failure, Request, not_found
from nodeagent.simulator.kube.rbac import Attributes
from nodeagent.simulator.objects import Key, KubernetesObjects, Object, timestamp

_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True)
class Place:
    """What a path leads to: all objects of a kind (in a namespace), one of them, or a part of one."""

    kind: Kind
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def key(self) -> Key:
        return self.namespace, self.name

    def attributes(self, request: Request) -> Attributes:
        """What somebody wants to do here."""
        verb = _VERBS.get(request.method, request.method.lower())
        if not self.name and verb == "get":
            verb = "watch" if request.is_asked("watch") else "list"
        if not self.name and verb == "delete":
            verb = "deletecollection"
        return Attributes(verb, self.kind.group, self.kind.plural, self.subresource, self.namespace, self.name)


def place(path: str) -> Place:
    """Raises Failure (404)."""
    parts = path.strip("/").split("/")
    match parts:
        case ["api", version, *rest]:
            group = ""
        case ["apis", group, version, *rest]:
            pass
        case _:
            raise not_found(path)
    namespace = ""
    if len(rest) > 2 and rest[0] == "namespaces" and (len(rest) > 3 or catalog.find(group, version, rest[2])):
        _, namespace, *rest = rest
    kind = catalog.find(group, version, rest[0]) if rest else None
    if (
        kind is None
        or len(rest) > 3
        or (namespace and not kind.namespaced)
        or (rest[1:] and kind.namespaced > bool(namespace))
    ):
        raise not_found(path)
    _, name, subresource = [*rest, "", ""][:3]
    if subresource and subresource not in {known for known, _, _ in kind.subresources}:
        raise not_found(path)
    return Place(kind, namespace, name, subresource)


def objects_list(objects: KubernetesObjects, where: Place, request: Request) -> Object:
    items = objects.list(where.kind.plural, where.namespace or None)
    return {
        "kind": f"{where.kind.name}List",
        "apiVersion": where.kind.group_version,
        "metadata": {"resourceVersion": str(objects.version)},
        "items": [item for item in items if selected(item, request)],
    }


def read(objects: KubernetesObjects, where: Place) -> Object:
    """Raises Failure (404)."""
    found = objects.get(where.kind.plural, where.key)
    if found is None:
        details = {"name": where.name, "group": where.kind.group, "kind": where.kind.plural}
        raise Failure(404, "NotFound", f'{where.kind.qualified} "{where.name}" not found', details)
    return found


def create(objects: KubernetesObjects, where: Place, value: Object, *, dry: bool) -> Object:
    """Raises Failure (400, 409)."""
    metadata = value.setdefault("metadata", {})
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = metadata["generateName"] + secrets.token_hex(3)[:5]
    if not metadata.get("name"):
        raise Failure(422, "Invalid", f"{where.kind.name} is invalid: metadata.name: Required value: name is required")
    name = metadata["name"]
    if objects.get(where.kind.plural, (where.namespace, name)) is not None:
        details = {"name": name, "group": where.kind.group, "kind": where.kind.plural}
        raise Failure(409, "AlreadyExists", f'{where.kind.qualified} "{name}" already exists', details)
    if where.namespace and objects.get("namespaces", ("", where.namespace)) is None:
        raise Failure(404, "NotFound", f'namespaces "{where.namespace}" not found')
    return _store(objects, where, name, value, dry=dry)


def replace(objects: KubernetesObjects, where: Place, value: Object, *, dry: bool) -> Object:
    """Raises Failure (404, 409)."""
    old = read(objects, where)
    version = value.get("metadata", {}).get("resourceVersion")
    if version not in (None, "", old["metadata"]["resourceVersion"]):
        message = (
            f'Operation cannot be fulfilled on {where.kind.qualified} "{where.name}": the object has been modified'
        )
        raise Failure(409, "Conflict", message)
    return _store(objects, where, where.name, value, dry=dry)


def patch(objects: KubernetesObjects, where: Place, request: Request) -> Object:
    """Strategic patches are taken for merge patches: nothing here has lists that merge. Raises Failure."""
    kind, dry = request.header("content-type").partition(";")[0], request.asked("dryRun") == "All"
    if kind == "application/apply-patch+yaml":
        if not request.asked("fieldManager"):
            raise Failure(400, "BadRequest", "PatchOptions is invalid: fieldManager: Required value")
        value = yaml.safe_load(request.body)
        if not isinstance(value, dict) or value.get("kind") != where.kind.name:
            raise Failure(400, "BadRequest", f"the body is no {where.kind.name}")
        old = objects.get(where.kind.plural, where.key)
        manager: Object = {"manager": request.asked("fieldManager"), "operation": "Apply", "time": timestamp()}
        value.setdefault("metadata", {})["managedFields"] = [{**manager, "apiVersion": where.kind.group_version}]
        merged = _merged(old, value) if old else value
        if old and _without_fields(merged) == _without_fields(old):
            return old
        return _store(objects, where, where.name, merged, dry=dry)
    old = read(objects, where)
    if kind in ("application/merge-patch+json", "application/strategic-merge-patch+json"):
        return _store(objects, where, where.name, _merged(old, request.object()), dry=dry)
    raise Failure(415, "UnsupportedMediaType", f"patches of type {kind} are not supported")


def delete(objects: KubernetesObjects, where: Place, request: Request) -> Object:
    """Raises Failure (404)."""
    found = read(objects, where)
    if request.asked("dryRun") != "All":
        objects.delete(where.kind.plural, where.key)
    if where.kind.plural == "pods":
        return found
    details = {"name": where.name, "group": where.kind.group, "kind": where.kind.plural}
    details["uid"] = found["metadata"]["uid"]
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def _store(objects: KubernetesObjects, where: Place, name: str, value: Object, *, dry: bool) -> Object:
    value = {**copy.deepcopy(value), "kind": where.kind.name, "apiVersion": where.kind.group_version}
    if where.kind.plural == "namespaces":
        value["status"] = {"phase": "Active"}
    if where.kind.plural == "pods":
        _schedule(value, objects)
        _run(value)
    if where.kind.group == RBAC:
        for subject in value.get("subjects") or ():
            subject.setdefault("apiGroup", "" if subject["kind"] == "ServiceAccount" else RBAC)
    if dry:
        return value
    return objects.put(where.kind.plural, (where.namespace, name), value)


def _schedule(pod: Object, objects: KubernetesObjects) -> None:
    """Put a pod on the ready node without taints that has the fewest; without such a node it is on none."""
    spec = pod.setdefault("spec", {})
    nodes = [
        node["metadata"]["name"]
        for node in objects.list("nodes")
        if _is_ready(node) and not node.get("spec", {}).get("taints") and not node.get("spec", {}).get("unschedulable")
    ]
    if nodes and not spec.get("nodeName"):
        taken = Counter(other.get("spec", {}).get("nodeName") for other in objects.list("pods"))
        spec["nodeName"] = min(nodes, key=lambda name: (taken[name], name))


def _is_ready(node: Object) -> bool:
    conditions = node.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _run(pod: Object) -> None:
    """A pod runs as soon as it is there."""
    now = timestamp()
    containers = pod.get("spec", {}).get("containers") or []
    status = pod.setdefault("status", {})
    status.setdefault("phase", "Running")
    status.setdefault("startTime", now)
    status.setdefault("conditions", [{"type": kind, "status": "True"} for kind in ("Ready", "ContainersReady")])
    status.setdefault(
        "containerStatuses",
        [
            {
                "name": container["name"],
                "image": container.get("image", ""),
                "ready": True,
                "restartCount": 0,
                "state": {"running": {"startedAt": now}},
            }
            for container in containers
        ],
    )


def _merged(left: Any, right: Any) -> Any:
    if not isinstance(right, dict):
        return right
    merged = dict(left) if isinstance(left, dict) else {}
    for name, value in right.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merged(merged.get(name), value)
    return merged


def _without_fields(value: Object) -> Object:
    return {**value, "metadata": {**value["metadata"], "managedFields": None}}


def selected(item: Object, request: Request) -> bool:
    """Field selectors of equality; label selectors of equality, or existence."""
    for term in filter(None, request.asked("fieldSelector").split(",")):
        equal = "!=" not in term
        path, _, wanted = term.replace("!=", "=").replace("==", "=").partition("=")
        value: Any = item
        for step in path.split("."):
            value = value.get(step, "") if isinstance(value, dict) else ""
        if (str(value) == wanted) is not equal:
            return False
    labels = item["metadata"].get("labels") or {}
    for term in filter(None, request.asked("labelSelector").split(",")):
        name, equals, wanted = term.replace("==", "=").partition("=")
        if name.startswith("!"):
            if name[1:] in labels:
                return False
        elif name.endswith("!"):
            if labels.get(name[:-1]) == wanted:
                return False
        elif name not in labels or (equals and labels[name] != wanted):
            return False
    return True
