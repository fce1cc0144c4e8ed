"""Services, and the stream of events."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping

import grpc
from google.protobuf.empty_pb2 import Empty

from nodeagent.simulator.calls import Call, Implementation, Refusal, unknown
from nodeagent.simulator.events import API_URL_PREFIX, Event
from nodeagent.simulator.services import State
from talos.gen.machine import events_pb2, services_pb2


async def list_(call: Call, request: Empty) -> services_pb2.ServiceListResponse:
    services = [service.info() for service in call.boot.services.all()]
    return services_pb2.ServiceListResponse(messages=[services_pb2.ServiceList(services=services)])


def _known(call: Call, id: str, operation: str, allowed: bool) -> None:
    if call.boot.services.get(id) is None:
        raise unknown(f'service "{id}" not defined')
    if not allowed:
        raise unknown(f'service "{id}" doesn\'t support {operation} operation via API')


async def start(call: Call, request: services_pb2.ServiceStartRequest) -> services_pb2.ServiceStartResponse:
    _known(call, request.id, "start", request.id == "kubelet")
    call.boot.services.start(request.id)
    text = f'Service "{request.id}" started'
    return services_pb2.ServiceStartResponse(messages=[services_pb2.ServiceStart(resp=text)])


async def stop(call: Call, request: services_pb2.ServiceStopRequest) -> services_pb2.ServiceStopResponse:
    _known(call, request.id, "stop", request.id.startswith("ext-"))
    call.boot.services.stop(request.id)
    text = f'Service "{request.id}" stopped'
    return services_pb2.ServiceStopResponse(messages=[services_pb2.ServiceStop(resp=text)])


async def restart(call: Call, request: services_pb2.ServiceRestartRequest) -> services_pb2.ServiceRestartResponse:
    _known(call, request.id, "restart", request.id == "kubelet")
    call.boot.services.set(request.id, State.STOPPING, "Sending SIGTERM")
    call.boot.services.start(request.id)
    text = f'Service "{request.id}" restarted'
    return services_pb2.ServiceRestartResponse(messages=[services_pb2.ServiceRestart(resp=text)])


async def events(call: Call, request: events_pb2.EventsRequest) -> AsyncIterator[events_pb2.Event]:
    options = [bool(request.tail_events), bool(request.tail_id), bool(request.tail_seconds)]
    if sum(options) > 1:
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "only one of tail_events, tail_id, tail_seconds can be set")
    yield events_pb2.Event()
    log = call.boot.events
    position = log.last
    for event in _tail(log.stored(), request):
        if not request.with_actor_id or event.actor_id == request.with_actor_id:
            yield _message(event)
    while True:
        for event in await log.after(position):
            position = event.number
            if not request.with_actor_id or event.actor_id == request.with_actor_id:
                yield _message(event)


def _tail(stored: list[Event], request: events_pb2.EventsRequest) -> list[Event]:
    if request.tail_events < 0:
        return stored
    if request.tail_events:
        return stored[-request.tail_events :]
    if request.tail_id:
        return [event for event in stored if event.id > request.tail_id]
    if request.tail_seconds:
        return [event for event in stored if event.at >= time.time() - request.tail_seconds]
    return []


def _message(event: Event) -> events_pb2.Event:
    return events_pb2.Event(data=event.packed(API_URL_PREFIX), id=event.id, actor_id=event.actor_id)


CALLS: Mapping[str, Implementation] = {
    "ServiceList": list_,
    "ServiceStart": start,
    "ServiceStop": stop,
    "ServiceRestart": restart,
    "Events": events,
}
