"""What a call to the machine API is, apart from how it travels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import grpc

if TYPE_CHECKING:
    from nodeagent.simulator.boot import Boot


class Refusal(Exception):
    """A call ends with this status."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(f"{code.name}: {details}")
        self.code, self.details = code, details


def unknown(details: str) -> Refusal:
    """What an error without a code of its own becomes in Talos."""
    return Refusal(grpc.StatusCode.UNKNOWN, details)


@dataclass(frozen=True)
class Caller:
    """Who is on a connection. In maintenance mode nobody shows a certificate: the source address decides."""

    boot: Boot
    roles: frozenset[str]
    maintenance: bool
    trustd: bool = False


@dataclass(frozen=True)
class Call:
    """One call: on which machine it acts, who makes it, with which metadata."""

    boot: Boot
    caller: Caller
    metadata: Mapping[str, list[str]]

    @property
    def roles(self) -> frozenset[str]:
        return self.caller.roles

    def on(self, boot: Boot) -> Call:
        """The same call, forwarded to another machine."""
        return replace(self, boot=boot)


Implementation = Callable[[Call, Any], Any]
"""Takes the request (for client streams an iterator); a coroutine function, or an async generator for streams."""
