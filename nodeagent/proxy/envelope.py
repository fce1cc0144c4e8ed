"""How answers of several nodes become one, without knowing their messages (Talos: apid's answers to `nodes`).

Field 1 of every message of these services is its `common.Metadata`, and field 1 of every unary answer is the repeated
message: so a node's name is added to the bytes, and answers are joined by writing one after the other.
"""

from __future__ import annotations

import grpc
from google.protobuf.message import DecodeError

from nodeagent.proxy.upstream import DETAILS, Status
from talos.gen import common_pb2

_MESSAGES = 0x0A
"""Field 1, with a length: the only field of a unary answer."""

_GO_NAMES = {
    grpc.StatusCode.OK: "OK",
    grpc.StatusCode.CANCELLED: "Canceled",
}


class NotOneMessage(ValueError):
    """An answer is not exactly one message of its node: it cannot be marked."""


def marked_frame(node: str, frame: bytes) -> bytes:
    """A frame of a stream, marked with its node's name."""
    return frame + _name(node)


def marked_reply(node: str, reply: bytes) -> bytes:
    """A unary answer, its message marked with its node's name. Raises NotOneMessage."""
    if not reply or reply[0] != _MESSAGES:
        raise NotOneMessage("the answer holds no message")
    length, start = _varint(reply, 1)
    if start + length != len(reply):
        raise NotOneMessage("the answer holds more than one message")
    return _reply(reply[start:] + _name(node))


def failed_frame(node: str, status: Status) -> bytes:
    """The frame that takes the place of what a node would have said."""
    return common_pb2.Empty(metadata=_failure(node, status)).SerializeToString()


def failed_reply(node: str, status: Status) -> bytes:
    """The same in place of a unary answer."""
    return _reply(failed_frame(node, status))


def go_name(code: grpc.StatusCode) -> str:
    """A code as gRPC for Go prints it: `PermissionDenied`."""
    return _GO_NAMES.get(code) or "".join(word.capitalize() for word in code.name.split("_"))


def _name(node: str) -> bytes:
    return common_pb2.Empty(metadata=common_pb2.Metadata(hostname=node)).SerializeToString()


def _failure(node: str, status: Status) -> common_pb2.Metadata:
    said = common_pb2.Status(code=status.code.value[0], message=status.details)
    for key, value in status.trailing:
        if key == DETAILS and isinstance(value, bytes):
            try:
                said = common_pb2.Status.FromString(value)
            except DecodeError:
                continue
    error = f"rpc error: code = {go_name(status.code)} desc = {status.details}"
    return common_pb2.Metadata(hostname=node, error=error, status=said)


def _reply(message: bytes) -> bytes:
    length, out = len(message), bytearray([_MESSAGES])
    while length >= 0x80:
        out.append(length & 0x7F | 0x80)
        length >>= 7
    out.append(length)
    return bytes(out) + message


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number there, and where it ends. Raises NotOneMessage."""
    value = shift = 0
    for position in range(at, min(at + 10, len(data))):
        value |= (data[position] & 0x7F) << shift
        if data[position] < 0x80:
            return value, position + 1
        shift += 7
    raise NotOneMessage("the answer breaks off")
