"""The COSI State service of a machine: Get, List and Watch for those who may, no writes for anybody."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import grpc

from nodeagent.simulator.calls import Call, Implementation, Refusal
from nodeagent.simulator.store import Collection, Overrun, Store
from talos.gen.cosi import resource_pb2, state_pb2
from talos.resources import EventType, Metadata, Resource, encode, query, types
from talos.resources.query import QueryError
from talos.roles import ADMIN


def _readable(call: Call, namespace: str, type_name: str) -> Collection:
    """All of this type in the namespace, if the caller may read them."""
    kind = types.TYPES.get(type_name)
    store = call.boot.store
    if kind is None or store.get(types.RESOURCE_DEFINITION, type_name.lower()) is None:
        raise _denied(f'resource type "{type_name}" is not supported')
    if store.get(types.NAMESPACE, namespace) is None:
        raise _denied(f'namespace "{namespace}" is not supported')
    if kind.sensitive and ADMIN not in call.roles:
        raise _denied("not authorized")
    return store.collection(kind, namespace)


def _denied(details: str) -> Refusal:
    return Refusal(grpc.StatusCode.PERMISSION_DENIED, details)


async def get(call: Call, request: state_pb2.GetRequest) -> state_pb2.GetResponse:
    found = _readable(call, request.namespace, request.type).items.get(request.id)
    if found is None:
        raise Refusal(
            grpc.StatusCode.NOT_FOUND, f"resource {request.type}({request.namespace}/{request.id}) doesn't exist"
        )
    return state_pb2.GetResponse(resource=encode(found))


async def list_(call: Call, request: state_pb2.ListRequest) -> AsyncIterator[state_pb2.ListResponse]:
    for resource in _select(_readable(call, request.namespace, request.type), request.options):
        yield state_pb2.ListResponse(resource=encode(resource))


async def watch(call: Call, request: state_pb2.WatchRequest) -> AsyncIterator[state_pb2.WatchResponse]:
    collection = _readable(call, request.namespace, request.type)
    store, options = call.boot.store, request.options
    by_id = request.HasField("id")
    if by_id and (options.bootstrap_contents or options.label_query):
        raise Refusal(grpc.StatusCode.UNIMPLEMENTED, "not supported for a watch of a single resource")
    if options.HasField("start_from_bookmark") and options.tail_events:
        raise Refusal(grpc.StatusCode.UNIMPLEMENTED, "a bookmark and tail events exclude each other")

    contents = _select(collection, options) if options.bootstrap_contents else []
    present = collection.items.get(request.id)
    position = collection.position
    if options.HasField("start_from_bookmark"):
        try:
            position = store.position(collection, options.start_from_bookmark)
        except Overrun as overrun:
            raise Refusal(grpc.StatusCode.FAILED_PRECONDITION, str(overrun)) from None
    yield state_pb2.WatchResponse()
    try:
        if options.HasField("start_from_bookmark"):
            pass
        elif options.tail_events:
            position -= min(options.tail_events, len(collection.history))
        elif by_id:
            yield _event(
                store,
                EventType.CREATED if present else EventType.DESTROYED,
                present or Resource(Metadata(request.namespace, request.type, request.id)),
                position,
            )
        elif options.bootstrap_contents:
            for resource in contents:
                yield _event(store, EventType.CREATED, resource, position)
            if request.api_version:
                yield _event(store, EventType.BOOTSTRAPPED, _tombstone(request), position)
        if options.bootstrap_bookmark:
            yield _event(store, EventType.NOOP, _tombstone(request), position)
        while True:
            change = await collection.after(position)
            position = change.position
            if by_id and change.resource.id != request.id:
                continue
            seen = _seen(change.event, change.resource, change.old, options)
            if seen is not None:
                old = change.old if seen is EventType.UPDATED else None
                yield _event(store, seen, change.resource, position, old)
    except Overrun as overrun:
        if request.api_version:
            yield state_pb2.WatchResponse(event=[state_pb2.Event(event_type=state_pb2.ERRORED, error=str(overrun))])


def _select(collection: Collection, options: state_pb2.ListOptions | state_pb2.WatchOptions) -> list[Resource]:
    items = collection.items
    return [items[id] for id in sorted(items) if _matches(items[id], options)]


def _matches(resource: Resource, options: state_pb2.ListOptions | state_pb2.WatchOptions) -> bool:
    try:
        return query.matches(resource.metadata.labels, options.label_query) and query.matches_id(
            resource.id, options.id_query
        )
    except QueryError as error:
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from None


def _seen(
    event: EventType, resource: Resource, old: Resource | None, options: state_pb2.WatchOptions
) -> EventType | None:
    """What a change is to somebody who sees only what matches: it may appear, or vanish."""
    now = event is not EventType.DESTROYED and _matches(resource, options)
    before = _matches(old or resource, options) if event is not EventType.CREATED else False
    if now:
        return EventType.UPDATED if before else EventType.CREATED
    return EventType.DESTROYED if before else None


def _tombstone(request: state_pb2.WatchRequest) -> Resource:
    return Resource(Metadata(request.namespace, request.type, ""))


def _event(
    store: Store, event: EventType, resource: Resource, position: int, old: Resource | None = None
) -> state_pb2.WatchResponse:
    message = state_pb2.Event(event_type=event.value, resource=encode(resource), bookmark=store.bookmark(position))
    if old is not None:
        message.old.CopyFrom(encode(old))
    return state_pb2.WatchResponse(event=[message])


async def _refuse_write(call: Call, request: object) -> resource_pb2.Resource:
    raise _denied("write access is not allowed")


CALLS: Mapping[str, Implementation] = {
    "Get": get,
    "List": list_,
    "Watch": watch,
    **dict.fromkeys(("Create", "Update", "Destroy", "Teardown", "TeardownAndDestroy"), _refuse_write),
}
