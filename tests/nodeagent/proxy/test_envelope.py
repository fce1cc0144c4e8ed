"""Answers of several nodes as one: for any message of the fan-out services, not knowing which."""

import grpc
import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.proxy import envelope
from nodeagent.proxy.upstream import DETAILS, Status
from talos.gen import common_pb2
from talos.gen.machine import events_pb2, files_pb2, services_pb2, system_pb2

names = st.text(max_size=40)
texts = st.text(max_size=300)
codes = st.sampled_from([code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])

services = st.lists(st.builds(services_pb2.ServiceInfo, id=texts, state=texts), max_size=20)
unary = st.one_of(
    st.builds(
        lambda some: services_pb2.ServiceListResponse(messages=[services_pb2.ServiceList(services=some)]), services
    ),
    texts.map(lambda text: system_pb2.HostnameResponse(messages=[system_pb2.Hostname(hostname=text)])),
    st.just(common_pb2.EmptyResponse(messages=[common_pb2.Empty()])),
)
frames = st.one_of(
    st.builds(common_pb2.Data, bytes=st.binary(max_size=300)),
    st.builds(files_pb2.FileInfo, name=texts, size=st.integers(0, 2**62)),
    st.builds(events_pb2.Event, id=texts, actor_id=texts),
)


@given(st.lists(st.tuples(names, unary), min_size=1, max_size=5))
def test_replies_are_marked_and_joined(answers: list[tuple[str, Message]]) -> None:
    kind = type(answers[0][1])
    of_kind = [(name, answer) for name, answer in answers if type(answer) is kind]
    joined = kind.FromString(
        b"".join(envelope.marked_reply(name, answer.SerializeToString()) for name, answer in of_kind)
    )
    for (name, answer), message in zip(of_kind, joined.messages, strict=True):
        assert message.metadata.hostname == name
        message.ClearField("metadata")
        assert message == answer.messages[0]


@given(names, frames)
def test_frames_are_marked(name: str, frame: Message) -> None:
    data = frame.SerializeToString()
    marked = envelope.marked_frame(name, data)
    assert marked == data + common_pb2.Empty(metadata=common_pb2.Metadata(hostname=name)).SerializeToString()
    read = type(frame).FromString(marked)
    assert read.metadata.hostname == name
    read.ClearField("metadata")
    assert read == frame


@given(names, codes, texts)
def test_failures_take_the_place_of_any_answer(name: str, code: grpc.StatusCode, text: str) -> None:
    status = Status(code, text)
    frame = common_pb2.Data.FromString(envelope.failed_frame(name, status))
    reply = services_pb2.ServiceListResponse.FromString(envelope.failed_reply(name, status))
    assert frame.metadata == reply.messages[0].metadata
    assert len(reply.messages) == 1
    assert frame.metadata.hostname == name
    assert frame.metadata.error == f"rpc error: code = {envelope.go_name(code)} desc = {text}"
    assert (frame.metadata.status.code, frame.metadata.status.message) == (code.value[0], text)


def test_a_failure_keeps_its_details() -> None:
    rich = common_pb2.Status(code=9, message="not yet")
    rich.details.add(type_url="type.googleapis.com/x", value=b"why")
    status = Status(grpc.StatusCode.FAILED_PRECONDITION, "not yet", ((DETAILS, rich.SerializeToString()),))
    assert common_pb2.Empty.FromString(envelope.failed_frame("a", status)).metadata.status == rich
    spoilt = Status(grpc.StatusCode.FAILED_PRECONDITION, "not yet", ((DETAILS, b"\xff"),))
    assert common_pb2.Empty.FromString(envelope.failed_frame("a", spoilt)).metadata.status.message == "not yet"


def test_the_bytes() -> None:
    """As apid writes them: the name after what the node said, in a message that is as much longer."""
    assert envelope.marked_frame("n1", b"\x12\x01x") == b"\x12\x01x" + b"\x0a\x04\x0a\x02n1"
    assert envelope.marked_reply("n1", b"\x0a\x03\x12\x01x") == b"\x0a\x09\x12\x01x" + b"\x0a\x04\x0a\x02n1"
    long = b"\x12\x7d" + b"x" * 125
    assert envelope.marked_reply("n1", b"\x0a\x7f" + long) == b"\x0a\x85\x01" + long + b"\x0a\x04\x0a\x02n1"
    failed = envelope.failed_reply("n1", Status(grpc.StatusCode.CANCELLED, "no"))
    error = b"rpc error: code = Canceled desc = no"
    metadata = b"\x0a\x02n1\x12" + bytes([len(error)]) + error + b"\x1a\x06\x08\x01\x12\x02no"
    inner = b"\x0a" + bytes([len(metadata)]) + metadata
    assert failed == b"\x0a" + bytes([len(inner)]) + inner


@pytest.mark.parametrize(
    "reply", [b"", b"\x12\x01x", b"\x0a", b"\x0a\x02x", b"\x0a\x01xy", b"\x0a\x00\x0a\x00", b"\x0a" + b"\xff" * 11]
)
def test_what_is_not_one_message_is_not_marked(reply: bytes) -> None:
    with pytest.raises(envelope.NotOneMessage):
        envelope.marked_reply("n1", reply)


@given(st.binary(max_size=40))
def test_whatever_is_marked_stays_readable(reply: bytes) -> None:
    try:
        marked = envelope.marked_reply("n1", reply)
    except envelope.NotOneMessage:
        return
    length = len(reply[2:]) if len(reply) >= 2 else 0
    assert marked.endswith(b"\x0a\x04\x0a\x02n1")
    assert len(marked) >= length + 6
