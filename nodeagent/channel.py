"""A gRPC channel to one machine: how it is made, how calls on it fail."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from typing import Any, Self

import grpc

from nodeagent import errors
from nodeagent.tls import Credentials
from nodeagent.tlsbridge import Connect, TlsBridge

__all__ = ["MESSAGE_LIMIT", "Connect", "Credentials", "NodeChannel"]

MESSAGE_LIMIT = 32 << 20
"""Bytes of the largest message that Talos sends (its own limit)."""

_OPTIONS = [
    ("grpc.max_receive_message_length", MESSAGE_LIMIT),
    ("grpc.max_send_message_length", MESSAGE_LIMIT),
    ("grpc.keepalive_time_ms", 320_000),
    ("grpc.keepalive_timeout_ms", 60_000),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.default_authority", "machine"),
]


class NodeChannel:
    """A connection to one machine, made at the first call and again when it breaks. Use as an async context manager.

    `credentials` None speaks to a machine in maintenance mode. `server_name` is compared with the machine's
    certificate; without it the cluster's CA alone decides. `name` is how errors call the machine.
    """

    def __init__(
        self,
        connect: Connect,
        credentials: Credentials | None,
        *,
        name: str = "the machine",
        server_name: str | None = None,
    ) -> None:
        self.name = name
        self._bridge = TlsBridge(connect, credentials, server_name)
        self.channel = grpc.aio.insecure_channel(f"unix:{self._bridge.path}", options=_OPTIONS)

    async def __aenter__(self) -> Self:
        await self._bridge.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.channel.close(grace=None)
        await self._bridge.close()

    async def _call(self, operation: str, call: Awaitable[Any]) -> Any:
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            raise self._failure(operation, error) from error

    async def _one(self, operation: str, call: Awaitable[Any]) -> Any:
        """The only message of an answer that could hold several nodes'; an empty one when there is none."""
        answer = await self._call(operation, call)
        if answer.messages:
            return answer.messages[0]
        return answer.messages.add()

    async def _stream(self, operation: str, call: Any) -> AsyncGenerator[Any]:
        try:
            async for message in call:
                yield message
        except grpc.aio.AioRpcError as error:
            raise self._failure(operation, error) from error
        finally:
            call.cancel()

    async def _bytes(self, operation: str, call: Any) -> AsyncGenerator[bytes]:
        async with aclosing(self._stream(operation, call)) as answers:
            async for data in answers:
                yield data.bytes

    def _failure(self, operation: str, error: grpc.aio.AioRpcError) -> errors.NodeError:
        cause = self._bridge.last_error
        if error.code() is grpc.StatusCode.UNAVAILABLE and cause is not None:
            return errors.from_connection(self.name, operation, cause)
        return errors.from_status(self.name, operation, error.code(), error.details() or "")
