"""Resources as the State server sends them: both encodings of the spec read and written, and resource definitions."""

import base64
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from talos import resources
from talos.gen.cosi import meta_pb2, state_pb2
from talos.resources import schema
from talos.resources.types import TYPES
from tests.talos.vectors import unequal

ALWAYS_HIDDEN = {"AddressStatuses.net.talos.dev": ("local", "broadcast", "anycast", "multicast")}
"""Keys that Talos' YAML encoder takes for empty whatever they hold; only protobuf carries them."""

ENUMERATED = re.compile("[A-Z][A-Z0-9]*(_[A-Z0-9]+)+")


def cases(data: dict, folder: Path) -> Iterator[tuple[str, dict]]:
    for record in data["resources"]:
        yield f"{record['input']['type']}/{record['input']['id']}", record
    for record in data["resourceDefinitions"]:
        yield f"definition/{record['type']}", {"definition": True, **record}


def check(case: dict) -> str | None:
    return _check_definition(case) if case.get("definition") else _check_resource(case)


def _check_resource(case: dict) -> str | None:
    name = case["input"]["type"]
    message = state_pb2.GetResponse.FromString(base64.b64decode(case["getResponseBase64"])).resource
    resource = resources.decode(message)
    from_yaml = schema.from_yaml(case["yamlSpec"])
    visible = resource.spec
    if name in ALWAYS_HIDDEN:
        visible = {key: value for key, value in resource.spec.items() if key not in ALWAYS_HIDDEN[name]}
    again = resources.encode(resource)
    return (
        unequal("metadata", _metadata(resource), _expected_metadata(case["metadata"]))
        or unequal("spec bytes", message.spec.proto_spec, base64.b64decode(case["protoSpecBase64"]))
        or unequal("spec against its YAML form", visible, from_yaml)
        or unequal("YAML read back", schema.from_yaml(again.spec.yaml_spec), resource.spec)
        or unequal("encoded metadata", again.metadata, message.metadata)
        or _check_bytes(case, again.spec.proto_spec)
        or _check_names(case, again.spec.proto_spec)
        or _check_input(case, resource)
        or _check_list(case, resource)
    )


def _check_bytes(case: dict, encoded: bytes) -> str | None:
    """Written from the Python value, the same content must come out (in number order)."""
    expected = (case["protoSpec"] or {}).get("reencodedBase64") or case["protoSpecBase64"]
    return unequal("encoded spec", encoded, base64.b64decode(expected))


def _check_names(case: dict, encoded: bytes) -> str | None:
    """Names of message and fields; words of enumerations are our own, so only that there is one."""
    expected = case["protoSpec"]
    if expected is None:
        return None
    message = _message(case["input"]["type"], encoded)
    got = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return unequal("message", message.DESCRIPTOR.full_name, expected["message"]) or unequal(
        "fields", _shape(got), _shape(expected["json"])
    )


def _check_input(case: dict, resource: resources.Resource) -> str | None:
    """What a user wrote, with all keys spelt out, has the same protobuf form."""
    spec = case["input"]["spec"]
    if case["input"]["type"] != "MachineConfigs.config.talos.dev":
        spec = schema.from_yaml(spec)
    return unequal(
        "encoded input",
        resources.encode(replace(resource, spec=spec)).spec.proto_spec,
        resources.encode(resource).spec.proto_spec,
    )


def _check_list(case: dict, resource: resources.Resource) -> str | None:
    if "listResponseBase64" not in case:
        return None
    listed = state_pb2.ListResponse.FromString(base64.b64decode(case["listResponseBase64"])).resource
    return unequal("list response", resources.decode(listed), resource)


def _check_definition(case: dict) -> str | None:
    known = TYPES[case["type"]]
    definition = known.definition()
    message = meta_pb2.ResourceDefinitionSpec.FromString(base64.b64decode(case["protoSpecBase64"]))
    written = meta_pb2.ResourceDefinitionSpec()
    schema.fill(definition, written)
    return (
        unequal("id", known.name.lower(), case["id"])
        or unequal("definition", definition, schema.from_yaml(case["yamlSpec"]))
        or unequal("YAML read back", schema.from_yaml(schema.to_yaml(definition)), definition)
        or unequal("protobuf", written, message)
    )


def _message(name: str, encoded: bytes) -> Message:
    message = TYPES[name].message
    assert message is not None, f"{name} has no message"
    return message.FromString(encoded)


def _metadata(resource: resources.Resource) -> dict[str, Any]:
    return dict(vars(resource.metadata))


def _expected_metadata(record: dict) -> dict[str, Any]:
    return {
        "namespace": record["namespace"],
        "type": record["type"],
        "id": record["id"],
        "version": record["version"],
        "phase": record["phase"],
        "owner": record.get("owner", ""),
        "created": _nanoseconds(record["created"]),
        "updated": _nanoseconds(record["updated"]),
        "finalizers": tuple(record.get("finalizers", ())),
        "labels": record.get("labels", {}),
        "annotations": record.get("annotations", {}),
    }


def _nanoseconds(text: str) -> int:
    stamp = Timestamp()
    stamp.FromJsonString(text)
    return stamp.ToNanoseconds()


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shape(item) for item in value]
    if isinstance(value, str) and (ENUMERATED.fullmatch(value) or value in ("FULL", "OTHER", "UNKNOWN")):
        return "an enumerated value"
    return value
