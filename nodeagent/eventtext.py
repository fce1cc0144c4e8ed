"""A machine's events in words, and the machine status that one of them carries. Pure."""

from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from talos.gen.machine import machine_pb2 as pb

_STAGES = {number: name.lower().replace("_", " ") for name, number in pb.MachineStatusEvent.MachineStage.items()}


def describe(event: Message) -> tuple[str, str, dict[str, Any]]:
    """(kind, one line for people, JSON payload) of an event. Never raises, whatever a machine says."""
    kind = event.DESCRIPTOR.name
    return kind, _summary(event), _payload(event)


def _payload(event: Message) -> dict[str, Any]:
    try:
        return MessageToDict(event, preserving_proto_field_name=True)
    except Exception:  # details of an error in a message type that is unknown here, or that do not decode
        return {}


def _name(kind: Any, number: int) -> str:
    """An enumerator in lower case; the number of one that a newer Talos has."""
    value = kind.DESCRIPTOR.values_by_number.get(number)
    return value.name.lower() if value else str(number)


def _summary(event: Message) -> str:
    match event:
        case pb.MachineStatusEvent():
            text = f"machine is {_STAGES.get(event.stage, 'unknown')}"
            unmet = ", ".join(item.name for item in event.status.unmet_conditions)
            return f"{text}, ready" if event.status.ready else f"{text}, waiting for {unmet}" if unmet else text
        case pb.SequenceEvent():
            error = f": {event.error.message}" if event.HasField("error") else ""
            return f"sequence {event.sequence} {_name(pb.SequenceEvent.Action, event.action)}{error}"
        case pb.PhaseEvent():
            return f"phase {event.phase} {_name(pb.PhaseEvent.Action, event.action)}"
        case pb.TaskEvent():
            return f"task {event.task} {_name(pb.TaskEvent.Action, event.action)}"
        case pb.ServiceStateEvent():
            state = _name(pb.ServiceStateEvent.Action, event.action)
            return f"service {event.service} {state}" + (f": {event.message}" if event.message else "")
        case pb.ConfigLoadErrorEvent():
            return f"config does not load: {event.error}"
        case pb.ConfigValidationErrorEvent():
            return f"config is not valid: {event.error}"
        case pb.AddressEvent():
            return f"addresses of {event.hostname}: {', '.join(event.addresses)}"
        case pb.RestartEvent():
            return "restart"
    return event.DESCRIPTOR.name


def machine_status(event: Message) -> dict[str, Any] | None:
    """Stage, readiness and unmet conditions as inventory fields, from a MachineStatusEvent; None from any other."""
    if not isinstance(event, pb.MachineStatusEvent):
        return None
    return {
        "stage": _STAGES.get(event.stage, "unknown"),
        "ready": event.status.ready,
        "unmet": [{"name": item.name, "reason": item.reason} for item in event.status.unmet_conditions],
    }
