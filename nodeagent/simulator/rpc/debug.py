"""Looking into a running machine: its network's packets, and a shell in a container."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc

from nodeagent.simulator.calls import Call, Implementation, Refusal
from talos.gen import common_pb2
from talos.gen.machine import access_pb2, debug_pb2
from talos.resources import types

_MAGIC, _SNAP_LENGTH, _ETHERNET = 0xA1B23C4D, 65_536, 1
_PACKET = bytes.fromhex("ffffffffffff0200000000010806") + bytes(46)
"""An ARP request: what every network is full of."""
_EVERY = 0.05
_BAD_PROFILE = "unsupported debug container profile"


async def packet_capture(call: Call, request: access_pb2.PacketCaptureRequest) -> AsyncIterator[common_pb2.Data]:
    """A pcap file that grows until the caller has seen enough."""
    if call.boot.store.get(types.LINK_STATUS, request.interface) is None:
        raise Refusal(grpc.StatusCode.NOT_FOUND, f"interface {request.interface!r} not found")
    length = min(request.snap_len or _SNAP_LENGTH, len(_PACKET))
    yield common_pb2.Data(
        bytes=struct.pack("<IHHiIII", _MAGIC, 2, 4, 0, 0, request.snap_len or _SNAP_LENGTH, _ETHERNET)
    )
    while True:
        seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
        header = struct.pack("<IIII", seconds, nanoseconds, length, len(_PACKET))
        yield common_pb2.Data(bytes=header + _PACKET[:length])
        await asyncio.sleep(_EVERY)


async def container_run(
    call: Call, requests: AsyncIterator[debug_pb2.DebugContainerRunRequest]
) -> AsyncIterator[debug_pb2.DebugContainerRunResponse]:
    """A container whose only program writes back what it reads, and ends with its input or a signal."""
    spec: Any = None
    exit_code = 0
    async for request in requests:
        kind = request.WhichOneof("request")
        if spec is None:
            if kind != "spec":
                raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "the first message must be the container spec")
            spec = request.spec
            if spec.profile == debug_pb2.DebugContainerRunRequestSpec.PROFILE_UNSPECIFIED:
                raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, _BAD_PROFILE)
        elif kind == "stdin_data":
            yield debug_pb2.DebugContainerRunResponse(stdout_data=request.stdin_data)
        elif kind == "signal":
            exit_code = 128 + request.signal
            break
    yield debug_pb2.DebugContainerRunResponse(exit_code=exit_code)


MACHINE_CALLS: Mapping[str, Implementation] = {"PacketCapture": packet_capture}
CALLS: Mapping[str, Implementation] = {"ContainerRun": container_run}
