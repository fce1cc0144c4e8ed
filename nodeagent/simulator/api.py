"""The machine API of every machine in the process: one plaintext gRPC server behind each machine's own TLS.

A connection is accepted with the machine's certificate, its caller identified, and its bytes go to the server over a
unix socket whose name tells the server whose connection it is.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import logging
import socket
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from nodeagent.simulator import access, routing
from nodeagent.simulator.calls import Call, Caller, Implementation, Refusal
from nodeagent.tls import TlsStream, relay
from talos.roles import IMPERSONATOR

log = logging.getLogger(__name__)

MESSAGE_LIMIT = 32 * 1024 * 1024
"""Largest message, bytes."""
SERVICE_PREFIX_TRUSTD = "/securityapi.SecurityService/"


Services = Mapping[ServiceDescriptor, Mapping[str, Implementation]]


class ApiServer:
    """The gRPC server; an async context manager."""

    def __init__(self, services: Services) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="talos-simulator-")
        self._socket = str(Path(self._folder.name) / "api.sock")
        self._numbers = itertools.count()
        self._callers: dict[str, Caller] = {}
        self._methods = {
            f"/{service.full_name}/{method.name}": (method, calls.get(method.name))
            for service, calls in services.items()
            for method in service.methods
        }
        self._known_services = {service.full_name for service in services}
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", MESSAGE_LIMIT),
                ("grpc.max_send_message_length", MESSAGE_LIMIT),
                # clients decide about keepalive, as with a real machine
                ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
            ]
        )
        self._server.add_generic_rpc_handlers((_Dispatcher(self),))
        self._server.add_insecure_port(f"unix:{self._socket}")

    async def __aenter__(self) -> Self:
        await self._server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.stop(grace=None)
        self._folder.cleanup()

    async def carry(self, stream: TlsStream, caller: Caller) -> None:
        """Serve one established connection until either end closes it."""
        name = f"talos-simulator-{id(self):x}-{next(self._numbers)}"
        carrier = socket.socket(socket.AF_UNIX)
        carrier.bind(f"\0{name}")
        carrier.setblocking(False)
        self._callers[f"unix-abstract:{name}"] = caller
        try:
            await asyncio.get_running_loop().sock_connect(carrier, self._socket)
            await relay(await asyncio.open_unix_connection(sock=carrier), stream)
        except OSError as error:  # TLS errors included
            log.debug("connection of %s: %s", name, error)
        finally:
            carrier.close()
            self._callers.pop(f"unix-abstract:{name}", None)

    def caller(self, peer: str) -> Caller | None:
        return self._callers.get(peer)

    def method(self, path: str) -> tuple[MethodDescriptor, Implementation | None] | None:
        return self._methods.get(path)

    def has_service(self, path: str) -> bool:
        return path.split("/")[1] in self._known_services


class _Dispatcher(grpc.GenericRpcHandler):
    """Finds the implementation of a call and wraps it in what all calls have in common."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        path = details.method
        metadata: dict[str, list[str]] = {}
        for key, value in details.invocation_metadata or ():
            metadata.setdefault(key, []).append(str(value))
        found = self._server.method(path)
        if found is None:
            return _refusing(self._missing(path))
        method, found_implementation = found
        output = GetMessageClass(method.output_type)

        def admit(context: grpc.aio.ServicerContext) -> tuple[Call, Implementation]:
            caller = self._server.caller(context.peer())
            if caller is None or caller.boot.over:
                raise Refusal(grpc.StatusCode.UNAVAILABLE, "the machine is rebooting")
            caller = _impersonating(caller, metadata.get("talos-role", []))
            _admit(path, caller)
            if found_implementation is None:
                raise self._missing(path)
            return Call(caller.boot, caller, metadata), found_implementation

        async def unary(request: Any, context: grpc.aio.ServicerContext) -> Message:
            try:
                call, implementation = admit(context)
                answered = call.boot.answering()
                context.add_done_callback(lambda _: answered())  # type: ignore[arg-type]  # stubs lack this type
                return await routing.unary(call, path, request, implementation, output)
            except Refusal as refusal:
                await context.abort(refusal.code, refusal.details)
            raise AssertionError("abort does not return")

        async def streaming(request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Message]:
            try:
                call, implementation = admit(context)
                async for response in routing.stream(call, path, request, implementation, output):
                    yield response
            except Refusal as refusal:
                await context.abort(refusal.code, refusal.details)

        streams = method.client_streaming, method.server_streaming
        kind = "_".join("stream" if one else "unary" for one in streams)
        return getattr(grpc, f"{kind}_rpc_method_handler")(
            streaming if method.server_streaming else unary,
            request_deserializer=GetMessageClass(method.input_type).FromString,
            response_serializer=output.SerializeToString,
        )

    def _missing(self, path: str) -> Refusal:
        _, service, method = [*path.split("/"), "", ""][:3]
        if self._server.has_service(path):
            return Refusal(grpc.StatusCode.UNIMPLEMENTED, f"unknown method {method} for service {service}")
        return Refusal(grpc.StatusCode.UNIMPLEMENTED, f"unknown service {service}")


def _impersonating(caller: Caller, named: Sequence[str]) -> Caller:
    """With the roles that it names instead of its own, if it may name any."""
    if caller.maintenance or not named or IMPERSONATOR not in caller.roles:
        return caller
    return replace(caller, roles=frozenset(named))


def _admit(path: str, caller: Caller) -> None:
    """Raises Refusal unless this caller may call this method on this machine now."""
    version = caller.boot.minor
    if caller.trustd != path.startswith(SERVICE_PREFIX_TRUSTD) or not access.exists(path, version):
        raise Refusal(grpc.StatusCode.UNIMPLEMENTED, f"unknown service {path.split('/')[1]}")
    if caller.trustd:
        return
    if caller.maintenance and version < access.SEPARATE_MAINTENANCE_UNTIL:
        if not access.in_old_maintenance(path, caller.roles):
            raise Refusal(grpc.StatusCode.UNIMPLEMENTED, "API is not implemented in maintenance mode")
    elif not access.allowed(path, caller.roles, maintenance=caller.maintenance):
        raise Refusal(grpc.StatusCode.PERMISSION_DENIED, "not authorized")


def _refusing(refusal: Refusal) -> grpc.RpcMethodHandler:
    async def refuse(request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
        await context.abort(refusal.code, refusal.details)
        yield b""

    return grpc.stream_stream_rpc_method_handler(refuse)


def services(*tables: tuple[ServiceDescriptor, Mapping[str, Implementation]]) -> Services:
    """Join tables of implementations by service. Raises ValueError for a name the service does not have."""
    joined: dict[ServiceDescriptor, dict[str, Implementation]] = {}
    for service, calls in tables:
        for name, implementation in calls.items():
            method = service.methods_by_name.get(name)
            if method is None or method.server_streaming != inspect.isasyncgenfunction(implementation):
                raise ValueError(f"{service.full_name} has no method {name} of that kind")
        joined.setdefault(service, {}).update(calls)
    return joined
