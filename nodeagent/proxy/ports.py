"""What the talosctl proxy needs to know from above: who calls, where to, and whether they may."""

from dataclasses import dataclass
from typing import Protocol

import grpc

from nodeagent.caller import Caller
from nodeagent.ticket import Ticket
from nodeagent.tls import Credentials


@dataclass(frozen=True)
class Call:
    """A call as it came in. Nothing of its body is known, or needs to be."""

    method: str  # `/machine.MachineService/Version`
    metadata: tuple[tuple[str, str | bytes], ...]  # in order, keys in lower case
    caller: Caller  # with the client certificate's serial number, if one was proved


@dataclass(frozen=True)
class Target:
    """A machine that a call goes to."""

    name: str  # as the caller named it: answers to several nodes are marked with it
    uuid: str  # the machine itself says so on the connection, or the call is not made
    address: str  # for `dial`
    credentials: Credentials | None  # of its cluster, with the role os:impersonator; None: in maintenance mode
    fingerprint: str = ""  # that its hardware has to have besides, in maintenance mode
    away: str = ""  # why it is known that it cannot be reached; the other targets are called


@dataclass(frozen=True)
class Passage:
    """An admitted call."""

    targets: tuple[Target, ...]  # more than one only when `fan_out`
    fan_out: bool  # answers are marked with the node's name, as for calls that name their nodes in `nodes`
    talos_role: str  # the only role it has on the node
    ticket: Ticket
    closed: frozenset[str] = frozenset()  # types of resources that it may not read


class Refused(Exception):
    """The call is not made; `code` and the text go to the caller."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class Gate(Protocol):
    """Decides about calls."""

    async def admit(self, call: Call) -> Passage:
        """Prove who calls first, then find the machines, then see whether they may. Raises Refused."""
