"""The event sink: machines push what happens to them, one event after the answer to the last."""

from __future__ import annotations

import logging
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError, Message

from nodeagent.ports import EventSink
from nodeagent.siderolink.overlay import machine_address
from talos.gen.machine import machine_pb2
from talos.gen.sidero import events_pb2, events_pb2_grpc

MESSAGE_LIMIT = 1 << 20
"""Bytes of the largest event that is taken."""

_PAYLOADS: dict[str, type[Message]] = {
    kind.DESCRIPTOR.full_name: kind
    for kind in (
        machine_pb2.SequenceEvent,
        machine_pb2.PhaseEvent,
        machine_pb2.TaskEvent,
        machine_pb2.ServiceStateEvent,
        machine_pb2.RestartEvent,
        machine_pb2.ConfigLoadErrorEvent,
        machine_pb2.ConfigValidationErrorEvent,
        machine_pb2.AddressEvent,
        machine_pb2.MachineStatusEvent,
    )
}

log = logging.getLogger(__name__)


class EventReceiver(events_pb2_grpc.EventSinkServiceServicer):
    """Hands events to a sink. What we do not know or cannot read is acknowledged: an error would block all later
    events of the machine."""

    def __init__(self, sink: EventSink) -> None:
        self._sink = sink

    async def Publish(self, request: events_pb2.EventRequest, context: Any) -> events_pb2.EventResponse:
        """Take one event. A machine that nobody knows yet is told to try again."""
        address = machine_address(context)
        payload = read_payload(request.data)
        try:
            await self._sink.event(address, request.id, request.actor_id, payload, request.data.type_url)
        except LookupError:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no machine is registered at {address}")
        return events_pb2.EventResponse()


def read_payload(data: AnyMessage) -> Message | None:
    """The event inside an envelope, whatever stands before the last slash of its type; None if it cannot be read."""
    kind = _PAYLOADS.get(data.type_url.rpartition("/")[2])
    if kind is None:
        return None
    try:
        return kind.FromString(data.value)
    except DecodeError:
        log.info("an event of type %s cannot be read", data.type_url)
        return None
