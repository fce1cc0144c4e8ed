"""A cluster said in fields, as the template that says the same. Pure."""

from collections.abc import Mapping
from typing import Any

import yaml

from talos.decode import camel


def template_of(wanted: Mapping[str, Any]) -> str:
    """The template of a cluster given by `NewClusterSerializer`'s fields; whether it makes sense is not judged here."""
    cluster: dict[str, Any] = {
        "kind": "Cluster",
        "name": wanted["name"],
        "kubernetes": {"version": f"v{str(wanted['kubernetes_version']).removeprefix('v')}"},
        "talos": {"version": f"v{str(wanted['talos_version']).removeprefix('v')}"},
    }
    if endpoint := {key: value for key, value in (wanted.get("endpoint") or {}).items() if value}:
        keys = {"address": "address", "virtual_ip": "virtualIP"}
        cluster["endpoint"] = {keys[name]: value for name, value in endpoint.items()}
    if features := {camel(name): True for name, value in (wanted.get("features") or {}).items() if value}:
        cluster["features"] = features
    if wanted.get("labels"):
        cluster["labels"] = dict(wanted["labels"])
    if wanted.get("patches"):
        cluster["patches"] = [{"name": item["name"], "inline": item["patch"]} for item in wanted["patches"]]
    documents = [cluster, {"kind": "ControlPlane", **_machines(wanted["control_planes"])}]
    for workers in wanted.get("workers", ()):
        named = {"name": workers["name"]} if workers.get("name") else {}
        documents.append({"kind": "Workers", **named, **_machines(workers)})
    return str(yaml.safe_dump_all(documents, sort_keys=False))


def _machines(machine_set: Mapping[str, Any]) -> dict[str, Any]:
    if machine_set.get("machine_class"):
        count = machine_set.get("machine_count")
        return {"machineClass": {"name": machine_set["machine_class"], "size": "unlimited" if count is None else count}}
    return {"machines": list(machine_set.get("machines", ()))}
