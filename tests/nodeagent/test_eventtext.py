"""Events in words; no event, however strange, is an error."""

import json

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.eventtext import describe, machine_status
from nodeagent.siderolink.events import read_payload
from talos.gen import common_pb2
from talos.gen.machine import machine_pb2 as pb

READY = pb.MachineStatusEvent.MachineStatus(ready=True)
WAITING = pb.MachineStatusEvent.MachineStatus(
    unmet_conditions=[{"name": "time", "reason": "no sync"}, {"name": "network", "reason": ""}]
)


@pytest.mark.parametrize(
    ("event", "kind", "summary"),
    [
        (pb.MachineStatusEvent(stage=4, status=READY), "MachineStatusEvent", "machine is running, ready"),
        (pb.MachineStatusEvent(stage=1, status=WAITING), "MachineStatusEvent",
         "machine is booting, waiting for time, network"),
        (pb.MachineStatusEvent(stage=6), "MachineStatusEvent", "machine is shutting down"),
        (pb.MachineStatusEvent(stage=77), "MachineStatusEvent", "machine is unknown"),
        (pb.SequenceEvent(sequence="boot", action=1), "SequenceEvent", "sequence boot start"),
        (pb.SequenceEvent(sequence="install", error=common_pb2.Error(message="no disk")), "SequenceEvent",
         "sequence install noop: no disk"),
        (pb.SequenceEvent(sequence="new", action=9), "SequenceEvent", "sequence new 9"),
        (pb.PhaseEvent(phase="etcd", action=1), "PhaseEvent", "phase etcd stop"),
        (pb.TaskEvent(task="start", action=0), "TaskEvent", "task start start"),
        (pb.ServiceStateEvent(service="apid", action=pb.ServiceStateEvent.RUNNING, message="up"), "ServiceStateEvent",
         "service apid running: up"),
        (pb.ServiceStateEvent(service="apid", action=99), "ServiceStateEvent", "service apid 99"),
        (pb.ConfigLoadErrorEvent(error="bad"), "ConfigLoadErrorEvent", "config does not load: bad"),
        (pb.ConfigValidationErrorEvent(error="bad"), "ConfigValidationErrorEvent", "config is not valid: bad"),
        (pb.AddressEvent(hostname="w1", addresses=["10.0.0.1", "::1"]), "AddressEvent",
         "addresses of w1: 10.0.0.1, ::1"),
        (pb.RestartEvent(cmd=1), "RestartEvent", "restart"),
    ],
)  # fmt: skip
def test_in_words(event: Message, kind: str, summary: str) -> None:
    assert describe(event)[:2] == (kind, summary)


def test_an_event_as_json() -> None:
    assert describe(pb.ServiceStateEvent(service="apid", action=pb.ServiceStateEvent.RUNNING))[2] == {
        "service": "apid",
        "action": "RUNNING",
    }


def test_details_of_an_unknown_type_cost_the_json_only() -> None:
    error = common_pb2.Error(message="no", details=[AnyMessage(type_url="type.googleapis.com/x.Y", value=b"\xff")])
    assert describe(pb.SequenceEvent(sequence="boot", error=error)) == ("SequenceEvent", "sequence boot noop: no", {})


def test_the_status_that_an_event_carries() -> None:
    assert machine_status(pb.MachineStatusEvent(stage=1, status=WAITING)) == {
        "stage": "booting",
        "ready": False,
        "unmet": [{"name": "time", "reason": "no sync"}, {"name": "network", "reason": ""}],
    }
    assert machine_status(pb.PhaseEvent(phase="x")) is None


TYPES = ["MachineStatusEvent", "SequenceEvent", "PhaseEvent", "TaskEvent", "ServiceStateEvent", "AddressEvent"]


@given(st.sampled_from(TYPES), st.binary(max_size=200))
def test_whatever_is_sent_is_described(kind: str, data: bytes) -> None:
    event = read_payload(AnyMessage(type_url=f"type.googleapis.com/machine.{kind}", value=data))
    if event is not None:
        name, summary, payload = describe(event)
        assert name == kind
        assert isinstance(summary, str)
        json.dumps(payload)
        machine_status(event)
