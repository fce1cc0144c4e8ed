"""Calls to one machine and how they fail: `rpc.Channel` with errors for people."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import aclosing
from typing import Any, Self

from nodeagent import errors
from nodeagent.rpc import Channel, Method, RpcError
from nodeagent.tls import Connect, Credentials, to_machine

__all__ = ["Connect", "Credentials", "NodeChannel"]


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
        self._channel = Channel(to_machine(connect, credentials, server_name))

    @classmethod
    def over(cls, channel: Channel, name: str) -> Self:
        """On a channel that somebody else uses, too."""
        client = cls.__new__(cls)
        client.name, client._channel = name, channel
        return client

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()

    async def connect(self) -> None:
        """Connect now instead of with the first call. Raises NodeError."""
        try:
            await self._channel.connect()
        except RpcError as error:
            raise self._failure("connecting", error) from error

    async def _call(self, operation: str, method: Method, request: Any, timeout: float) -> Any:
        try:
            return await self._channel.unary(method, request, timeout)
        except RpcError as error:
            raise self._failure(operation, error) from error

    async def _one(self, operation: str, method: Method, request: Any, timeout: float) -> Any:
        """The only message of an answer that could hold several nodes'; an empty one when there is none."""
        return _only(await self._call(operation, method, request, timeout))

    async def _upload(self, operation: str, method: Method, requests: AsyncIterable[Any]) -> Any:
        try:
            return _only(await self._channel.upload(method, requests, None))
        except RpcError as error:
            raise self._failure(operation, error) from error

    async def _stream(
        self, operation: str, method: Method, request: Any, timeout: float | None = None
    ) -> AsyncGenerator[Any]:
        try:
            async with aclosing(self._channel.stream(method, request, timeout)) as answers:
                async for answer in answers:
                    yield answer
        except RpcError as error:
            raise self._failure(operation, error) from error

    async def _bytes(
        self, operation: str, method: Method, request: Any, timeout: float | None = None
    ) -> AsyncGenerator[bytes]:
        async with aclosing(self._stream(operation, method, request, timeout)) as answers:
            async for data in answers:
                yield data.bytes

    async def _fan(self, operation: str, method: Method, requests: Iterable[Any]) -> AsyncGenerator[tuple[int, Any]]:
        """As `rpc.Channel.fan`, with NodeErrors."""
        try:
            async with aclosing(self._channel.fan(method, requests)) as answers:
                async for index, answer in answers:
                    yield index, self._failure(operation, answer) if isinstance(answer, RpcError) else answer
        except RpcError as error:
            raise self._failure(operation, error) from error

    def _failure(self, operation: str, error: RpcError) -> errors.NodeError:
        if error.cause is not None:
            return errors.from_connection(self.name, operation, error.cause)
        return errors.from_status(self.name, operation, error.code, error.details)


def _only(answer: Any) -> Any:
    return answer.messages[0] if answer.messages else answer.messages.add()
