"""META keys."""

from __future__ import annotations

from collections.abc import Mapping

import grpc

from nodeagent.simulator.calls import Call, Implementation, Refusal
from talos.gen.machine import access_pb2

_RESERVED = {0x00, 0x06, 0x07, 0x08, 0x09, 0x11}
"""Not to be written by calls since Talos 1.14."""


def _check(call: Call, key: int) -> None:
    if key > 255:
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "key must be a uint8")
    if call.boot.minor >= (1, 14) and key in _RESERVED:
        raise Refusal(grpc.StatusCode.PERMISSION_DENIED, "meta key is not writeable via the API")


async def write(call: Call, request: access_pb2.MetaWriteRequest) -> access_pb2.MetaWriteResponse:
    _check(call, request.key)
    await call.boot.set_meta(request.key, request.value)
    return access_pb2.MetaWriteResponse(messages=[access_pb2.MetaWrite()])


async def delete(call: Call, request: access_pb2.MetaDeleteRequest) -> access_pb2.MetaDeleteResponse:
    _check(call, request.key)
    if request.key not in call.boot.meta:
        raise Refusal(grpc.StatusCode.NOT_FOUND, "meta key not found")
    await call.boot.set_meta(request.key, None)
    return access_pb2.MetaDeleteResponse(messages=[access_pb2.MetaDelete()])


CALLS: Mapping[str, Implementation] = {"MetaWrite": write, "MetaDelete": delete}
