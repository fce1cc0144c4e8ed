"""One call to one machine, as bytes with everything that goes around them."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import dataclass

import grpc

from nodeagent.rpc import Call, Link, Method, RpcError

MESSAGE_LIMIT = 32 * 1024 * 1024
"""Bytes of the largest message, as Talos has it."""

ROOM_OF_ONE, ROOM = 2 * MESSAGE_LIMIT, 16 * MESSAGE_LIMIT
"""Bytes of messages that are held while their receivers are slow: of one machine's calls, and of all."""

SMALL = 64 * 1024
"""Bytes that a call may always hold."""

DETAILS = "grpc-status-details-bin"

Fields = tuple[tuple[str, str | bytes], ...]

_HOP_BY_HOP = frozenset(
    {
        "connection",
        "content-length",
        "content-type",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    }
)
_NOT_FORWARDED = _HOP_BY_HOP | {"authorization", "cookie", "node", "nodes", "proxyfrom", "talos-role"}
_KEY, _TEXT = re.compile(r"[0-9a-z_.-]+"), re.compile(r"[ -~]*")
_PREFIXES = (":", "grpc-", "proxy-", "x-sidero-")


@dataclass(frozen=True)
class Status:
    """How a call ended, with its trailing metadata."""

    code: grpc.StatusCode = grpc.StatusCode.OK
    details: str = ""
    trailing: Fields = ()


class Unanswered(Exception):
    """The machine was not called, or its answer broke off: our own words about it."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(f"{code.name}: {details}")
        self.code, self.details = code, details

    @property
    def status(self) -> Status:
        return Status(self.code, self.details)


class Held:
    """Bytes of messages that are held, and how many may be; also `within` a larger room."""

    def __init__(self, room: int, within: Held | None = None) -> None:
        self.bytes, self._room, self._within = 0, room, within

    def add(self, count: int) -> None:
        """So many more, or less."""
        self.bytes += count
        if self._within is not None:
            self._within.add(count)

    @property
    def full(self) -> bool:
        """There are more than may be."""
        return self.bytes > self._room or (self._within is not None and self._within.full)


class NodeCall(Call):
    """A call whose metadata is kept, too. Its messages are bytes, counted in `held` until the next is asked for."""

    __slots__ = ("_all", "_leading", "_mine", "_sending", "_taken", "_trailing")

    def __init__(self, link: Link, method: Method, held: Held) -> None:
        super().__init__(link, method)
        self._leading: list[tuple[bytes, bytes]] | None = None
        self._trailing: list[tuple[bytes, bytes]] = []
        self._all, self._mine, self._sending, self._taken = held, 0, 0, 0

    async def send(self, message: bytes, end: bool) -> None:
        self._sending = len(message)
        self._count()
        await super().send(message, end)
        self._sending = 0
        self._count()

    async def receive(self) -> bytes | None:
        self._taken = 0
        self._count()
        message: bytes | None = await super().receive()
        self._taken = len(message or b"")
        self._count()
        return message

    def data(self, data: bytes) -> None:
        super().data(data)
        self._count()

    def close(self) -> None:
        super().close()
        self._all.add(-self._mine)
        self._mine = 0

    def _count(self) -> None:
        """Note what it holds. A call that holds much ends when there is no room, so that others go on."""
        mine = self._sending + self._taken + len(self._assembling or b"") + sum(map(len, self.messages))
        self._all.add(mine - self._mine)
        self._mine = mine
        if mine > SMALL and self._all.full:
            text = "more is on its way than fits in memory here, and is not read; try again with fewer calls at once"
            self._finish(RpcError(grpc.StatusCode.RESOURCE_EXHAUSTED, text), reset=True)

    async def leading(self) -> Fields:
        """The initial metadata, as soon as it is here; none of a call that failed without."""
        while self._leading is None and not self.ready:
            await self._wait()
        return received(self._leading or ())

    def ending(self, node: str) -> Status:
        """How the call ended, when `receive` has said that it did."""
        failed = self.status
        if failed is None:
            return Status(trailing=received(self._trailing))
        if self._trailing:  # the machine said so
            return Status(failed.code, failed.details, received(self._trailing))
        return broken_off(node, failed)

    def headers(self, fields: list[tuple[bytes, bytes]]) -> None:
        if any(name == b"grpc-status" for name, _ in fields):
            self._trailing = fields
        elif self._leading is None:
            self._leading = fields
        super().headers(fields)
        self.notify()


def raw(method: str) -> Method:
    """`/package.Service/Method` with messages as they are."""
    return Method(method.encode(), bytes, bytes)


def forwarded(metadata: Iterable[tuple[str, str | bytes]], talos_role: str) -> list[tuple[bytes, bytes]]:
    """What a machine gets of a caller's metadata. Nothing of it routes the call, proves the caller, or gives a role:
    the role is ours to say."""
    passed = [
        (
            key.encode(),
            b64encode(value).rstrip(b"=") if isinstance(value, bytes) else value.encode("latin-1", "replace"),
        )
        for key, value in metadata
        if key not in _NOT_FORWARDED and not key.startswith(_PREFIXES)
    ]
    return [*passed, (b"talos-role", talos_role.encode())]


def _written(value: str | bytes) -> bytes:
    """A value as it is on the wire; bytes are those of a key that ends in `-bin`."""
    return b64encode(value).rstrip(b"=") if isinstance(value, bytes) else value.encode("latin-1", "replace")


def received(fields: Iterable[tuple[bytes, bytes]]) -> Fields:
    """What a caller gets of a machine's metadata, the details of its status included."""
    passed: list[tuple[str, str | bytes]] = []
    for name, value in fields:
        key = name.decode("latin-1")
        if key in _HOP_BY_HOP or (key.startswith(_PREFIXES) and key != DETAILS):
            continue
        if not key.endswith("-bin"):
            text = value.decode("latin-1")
            if _KEY.fullmatch(key) and _TEXT.fullmatch(text):  # else it could not be sent on
                passed.append((key, text))
            continue
        for part in value.split(b","):
            try:
                passed.append((key, b64decode(part + b"=" * (-len(part) % 4))))
            except binascii.Error:
                continue  # whatever it is, it is not what its name says
    return tuple(passed)


def broken_off(node: str, failed: RpcError) -> Status:
    """The status of a call that its machine has not ended itself."""
    if failed.code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return Status(failed.code, f"node {node} has not answered in the time that the caller gave it")
    if failed.cause is None:
        return Status(failed.code, f"the call to node {node} broke off: {failed.details}")
    return Status(
        grpc.StatusCode.UNAVAILABLE,
        f"the connection to node {node} broke: {failed.details}. Whether the call took effect is not known; see "
        "whether the node runs and is connected, then try again",
    )
