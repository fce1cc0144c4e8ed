"""Objects as kubectl sends them for kinds that it knows: protobuf in an envelope. Answers are always JSON.

Only fields that matter here are read, by their numbers in the API's published definitions.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from nodeagent.simulator.objects import Object

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
MAGIC = b"k8s\0"


@dataclass(frozen=True)
class _Field:
    """`of` is a message's fields, or `str`, `int` or `bytes`, which JSON has in base64; `kept` how several are kept."""

    name: str
    of: dict[int, _Field] | type = str
    kept: str = "one"  # or list, or map


def _strings(*names: str) -> dict[int, _Field]:
    return {number: _Field(name) for number, name in enumerate(names, 1)}


_PAIR = {1: _Field("key"), 2: _Field("value")}
_METADATA = {
    1: _Field("name"),
    2: _Field("generateName"),
    3: _Field("namespace"),
    11: _Field("labels", _PAIR, "map"),
    12: _Field("annotations", _PAIR, "map"),
}
_RESOURCE = _strings("namespace", "verb", "group", "version", "resource", "subresource", "name")
_TOKEN = {1: _Field("audiences", str, "list"), 4: _Field("expirationSeconds", int)}
_RULE = {
    number: _Field(name, str, "list")
    for number, name in enumerate(("verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs"), 1)
}
_SUBJECT = _strings("kind", "apiGroup", "name", "namespace")
_BOUND = {2: _Field("subjects", _SUBJECT, "list"), 3: _Field("roleRef", _strings("apiGroup", "kind", "name"))}

_KINDS: dict[str, dict[int, _Field]] = {
    "SelfSubjectReview": {},
    "SelfSubjectAccessReview": {
        2: _Field(
            "spec",
            {
                1: _Field("resourceAttributes", _RESOURCE),
                2: _Field("nonResourceAttributes", _strings("path", "verb")),
            },
        )
    },
    "SelfSubjectRulesReview": {2: _Field("spec", _strings("namespace"))},
    "TokenRequest": {2: _Field("spec", _TOKEN)},
    "Eviction": {},
    "Namespace": {},
    "ServiceAccount": {},
    "Secret": {2: _Field("data", {1: _Field("key"), 2: _Field("value", bytes)}, "map"), 3: _Field("type")},
    "ConfigMap": {2: _Field("data", _PAIR, "map")},
    "ClusterRole": {2: _Field("rules", _RULE, "list")},
    "Role": {2: _Field("rules", _RULE, "list")},
    "ClusterRoleBinding": _BOUND,
    "RoleBinding": _BOUND,
}


def decode(data: bytes) -> Object:
    """Raises ValueError for anything but an object of a kind that is known here."""
    if not data.startswith(MAGIC):
        raise ValueError("this is no object in protobuf")
    envelope = dict(_contents(data[len(MAGIC) :]))
    about = _message(envelope.get(1, b""), _strings("apiVersion", "kind"))
    if (kind := about.get("kind", "")) not in _KINDS:
        raise ValueError(f"{kind} in protobuf is not understood")
    return about | _message(envelope.get(2, b""), {1: _Field("metadata", _METADATA), **_KINDS[kind]})


def _message(data: bytes | int, fields: dict[int, _Field]) -> Object:
    read: Object = {}
    for number, content in _contents(data) if isinstance(data, bytes) else ():
        if (field := fields.get(number)) is None:
            continue
        value = _value(content, field.of)
        if field.kept == "list":
            read.setdefault(field.name, []).append(value)
        elif field.kept == "map":
            read.setdefault(field.name, {})[value.get("key", "")] = value.get("value", "")
        elif value not in ("", {}):
            read[field.name] = value
    return read


def _value(content: bytes | int, of: dict[int, _Field] | type) -> Any:
    if isinstance(of, dict):
        return _message(content, of)
    if isinstance(content, bytes):
        return base64.b64encode(content).decode() if of is bytes else content.decode()
    return content


def _contents(data: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Numbers and contents of a message's fields. Raises ValueError."""
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        match tag & 7:
            case 0:
                value, place = _varint(data, place)
                yield tag >> 3, value
            case 2:
                length, place = _varint(data, place)
                yield tag >> 3, data[place : place + length]
                place += length
            case 1:
                place += 8
            case 5:
                place += 4
            case _:
                raise ValueError("this is no protobuf")


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(data):
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if not byte & 0x80:
            return value, place
    raise ValueError("this is no protobuf")
