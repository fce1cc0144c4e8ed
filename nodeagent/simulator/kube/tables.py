"""Objects as rows with columns, which is how kubectl asks for them."""

from __future__ import annotations

from datetime import UTC, datetime

from nodeagent.simulator.objects import Object

_COLUMNS = {
    "Node": ("Name", "Status", "Roles", "Age", "Version"),
    "Pod": ("Name", "Ready", "Status", "Restarts", "Age"),
    "Namespace": ("Name", "Status", "Age"),
    "ClusterRoleBinding": ("Name", "Role", "Age"),
}
_ROLE = "node-role.kubernetes.io/"


def wanted(accept: str) -> bool:
    """Whether a client wants a table rather than objects."""
    first = accept.partition(",")[0].replace(" ", "")
    return "as=Table" in first and "json" in first


def table(kind: str, items: list[Object], version: str) -> Object:
    """What is told of some objects of one kind."""
    names = _COLUMNS.get(kind, ("Name", "Age"))
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": version},
        "columnDefinitions": [
            {
                "name": name,
                "type": "string",
                "format": "name" if name == "Name" else "",
                "description": "",
                "priority": 0,
            }
            for name in names
        ],
        "rows": [{"cells": [_cell(item, name) for name in names], "object": _partial(item)} for item in items],
    }


def _partial(item: Object) -> Object:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": item["metadata"]}


def _cell(item: Object, column: str) -> str:
    metadata, status = item["metadata"], item.get("status", {})
    match column:
        case "Name":
            return str(metadata["name"])
        case "Age":
            made = datetime.strptime(metadata["creationTimestamp"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
            return f"{int((datetime.now(UTC) - made).total_seconds())}s"
        case "Roles":
            roles = [label.removeprefix(_ROLE) for label in metadata.get("labels", {}) if label.startswith(_ROLE)]
            return ",".join(roles) or "<none>"
        case "Version":
            return str(status["nodeInfo"]["kubeletVersion"])
        case "Ready":
            states = status.get("containerStatuses", [])
            return f"{sum(state['ready'] for state in states)}/{len(states)}"
        case "Restarts":
            return str(sum(state["restartCount"] for state in status.get("containerStatuses", [])))
        case "Role":
            return f"{item['roleRef']['kind']}/{item['roleRef']['name']}"
        case _:
            return _status(item)


def _status(item: Object) -> str:
    status = item.get("status", {})
    if item["kind"] != "Node":
        return str(status.get("phase", ""))
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions", []))
    return ("Ready" if ready else "NotReady") + (",SchedulingDisabled" if item["spec"].get("unschedulable") else "")
