"""Get, List and Watch as a State server answers them: requests, selected resources, watch events."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from talos import resources
from talos.gen.cosi import state_pb2
from talos.resources import query, schema
from tests.talos.vectors import unequal

REQUESTS = {"gets": state_pb2.GetRequest, "lists": state_pb2.ListRequest, "watches": state_pb2.WatchRequest}


def cases(data: dict, folder: Path) -> Iterator[tuple[str, dict]]:
    stored = json.loads((folder / "cosi_resources.json").read_text())["resources"]
    for part, records in data.items():
        for record in records:
            name = record.get("id") or json.dumps(record["request"])
            yield f"{part}/{name}", {"part": part, "stored": stored, **record}


def check(case: dict) -> str | None:
    request = REQUESTS[case["part"]].FromString(base64.b64decode(case["requestBase64"]))
    expected = json_format.ParseDict(case["request"], REQUESTS[case["part"]]())
    return unequal("request", request, expected) or _CHECKS[case["part"]](case, request)


def _check_get(case: dict, request: state_pb2.GetRequest) -> str | None:
    if case["code"] != "OK":
        return unequal("response of an error", case["responseBase64"], "")
    response = state_pb2.GetResponse.FromString(base64.b64decode(case["responseBase64"]))
    resource = resources.decode(response.resource)
    meta = resource.metadata
    return unequal("identity", (meta.namespace, meta.type, meta.id), (request.namespace, request.type, request.id)) or (
        unequal("spec", resource.spec, schema.from_yaml(response.resource.spec.yaml_spec))
    )


def _check_list(case: dict, request: state_pb2.ListRequest) -> str | None:
    """The resources of the other kind of vectors, selected by this request."""
    found, failed = [], False
    for record in case["stored"]:
        meta = record["metadata"]
        if (meta["namespace"], meta["type"]) != (request.namespace, request.type):
            continue
        try:
            if query.matches(meta.get("labels", {}), request.options.label_query) and query.matches_id(
                meta["id"], request.options.id_query
            ):
                found.append(f"{meta['namespace']}/{meta['id']}")
        except query.QueryError:
            failed = True
    return unequal("refused", failed, case.get("code", "OK") != "OK") or unequal("ids", sorted(found), case["ids"])


def _check_watch(case: dict, request: state_pb2.WatchRequest) -> str | None:
    for number, record in enumerate(case["responses"]):
        response = state_pb2.WatchResponse.FromString(base64.b64decode(record["base64"]))
        events = [resources.decode_event(event) for event in response.event]
        if different := unequal(f"response {number}", [_summary(event) for event in events], record["events"]):
            return different
        for message, event in zip(response.event, events, strict=True):
            for sent, resource in ((message.resource, event.resource), (message.old, event.old)):
                if resource and resource.spec is not None:
                    text = sent.spec.yaml_spec
                    if different := unequal(f"spec in response {number}", resource.spec, schema.from_yaml(text)):
                        return different
                    encoded = resources.encode(resource)
                    if different := unequal(f"encoded in response {number}", encoded, sent):
                        return different
    return None


def _summary(event: resources.Event) -> dict[str, Any]:
    """An event as the vectors list it; YAML of a service has one possible text."""
    meta = event.resource.metadata
    summary: dict[str, Any] = {
        "hasSpec": True,
        "id": meta.id,
        "phase": meta.phase,
        "type": event.type.name,
        "version": meta.version,
        "yamlSpec": _yaml(event.resource),
    }
    if event.bookmark:
        summary["bookmarkLength"] = len(event.bookmark)
    if event.old:
        summary |= {"oldVersion": event.old.metadata.version, "oldYamlSpec": _yaml(event.old)}
    return summary


def _yaml(resource: resources.Resource) -> str:
    return "" if resource.spec is None else schema.to_yaml(resource.spec)


_CHECKS = {"gets": _check_get, "lists": _check_list, "watches": _check_watch}
