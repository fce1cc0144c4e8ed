"""COSI resources: the typed, versioned objects in which a Talos node says everything about itself.

    resource = decode(response.resource)      # cosi.resource.Resource -> Resource
    resource.spec["stage"]                    # "running"
    encode(resource)                          # and back, in both spec encodings

Types and their singleton ids are constants of `talos.resources.types`, label and id queries are in
`talos.resources.query`.
"""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from google.protobuf.message import DecodeError

from talos.gen.cosi import resource_pb2, state_pb2
from talos.resources import schema
from talos.resources.schema import SpecError
from talos.resources.types import TYPES, ResourceType

__all__ = [
    "Event",
    "EventType",
    "Metadata",
    "Resource",
    "ResourceType",
    "SpecError",
    "decode",
    "decode_event",
    "encode",
]

NO_VERSION = "undefined"
"""The version of a tombstone: a resource that does not exist."""


@dataclass(frozen=True)
class Metadata:
    """Identity (namespace, type, id) and bookkeeping of a resource. Times are nanoseconds since 1970, 0 if unknown."""

    namespace: str
    type: str
    id: str
    version: str = NO_VERSION
    phase: str = "running"
    owner: str = ""
    created: int = 0
    updated: int = 0
    finalizers: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Resource:
    """A resource. `spec` has the shape of the YAML form; None on a tombstone."""

    metadata: Metadata
    spec: Any = None

    @property
    def id(self) -> str:
        return self.metadata.id


class EventType(IntEnum):
    """What happened to a watched resource, or to the watch."""

    CREATED = state_pb2.CREATED
    UPDATED = state_pb2.UPDATED
    DESTROYED = state_pb2.DESTROYED
    BOOTSTRAPPED = state_pb2.BOOTSTRAPPED
    """All that existed when the watch began has been sent."""
    ERRORED = state_pb2.ERRORED
    """The watch is dead: list and watch again."""
    NOOP = state_pb2.NOOP
    """Only a bookmark."""


@dataclass(frozen=True)
class Event:
    """One event of a watch. `bookmark` is where a new watch can continue, until the node reboots."""

    type: EventType
    resource: Resource
    old: Resource | None = None
    error: str = ""
    bookmark: bytes = b""


def decode(message: resource_pb2.Resource) -> Resource:
    """Read a resource; protobuf is preferred to YAML because its types are exact. Raises SpecError."""
    meta = message.metadata
    return Resource(
        Metadata(
            namespace=meta.namespace,
            type=meta.type,
            id=meta.id,
            version=meta.version,
            phase=meta.phase,
            owner=meta.owner,
            created=meta.created.ToNanoseconds(),
            updated=meta.updated.ToNanoseconds(),
            finalizers=tuple(meta.finalizers),
            labels=dict(meta.labels),
            annotations=dict(meta.annotations),
        ),
        _decode_spec(meta.type, message.spec),
    )


def _decode_spec(type_name: str, spec: resource_pb2.Spec) -> Any:
    if not spec.proto_spec and not spec.yaml_spec:
        return None
    known = TYPES.get(type_name)
    if known is None or known.message is None:
        return schema.from_yaml(spec.yaml_spec)
    try:
        return schema.to_spec(known.message.FromString(spec.proto_spec))
    except (DecodeError, ValueError) as error:
        raise SpecError(f"a {known.display_type} cannot be read: {error}") from error


def encode(resource: Resource) -> resource_pb2.Resource:
    """Write a resource with its spec in both encodings; unknown types get YAML only. Raises SpecError."""
    meta = resource.metadata
    message = resource_pb2.Resource(
        metadata=resource_pb2.Metadata(
            namespace=meta.namespace,
            type=meta.type,
            id=meta.id,
            version=meta.version,
            phase=meta.phase,
            owner=meta.owner,
            finalizers=meta.finalizers,
            labels=meta.labels,
            annotations=meta.annotations,
        ),
        spec=resource_pb2.Spec(),
    )
    message.metadata.created.FromNanoseconds(meta.created)
    message.metadata.updated.FromNanoseconds(meta.updated)
    if resource.spec is None:
        return message
    message.spec.yaml_spec = schema.to_yaml(resource.spec)
    known = TYPES.get(meta.type)
    if known is not None and known.message is not None:
        spec = known.message()
        schema.fill(resource.spec, spec)
        message.spec.proto_spec = spec.SerializeToString(deterministic=True)
    return message


def decode_event(message: state_pb2.Event) -> Event:
    """Read an event of a watch. Raises SpecError; an event type from the future counts as NOOP."""
    known = {int(kind) for kind in EventType}
    return Event(
        type=EventType(message.event_type) if message.event_type in known else EventType.NOOP,
        resource=decode(message.resource),
        old=decode(message.old) if message.HasField("old") else None,
        error=message.error,
        bookmark=message.bookmark,
    )
