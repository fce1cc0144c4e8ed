"""What the server side of links needs from the rooms above, declared here and implemented there.

A machine's link is known by its `id` (a string that means nothing here). Everything is asyncio; implementations may
take a database round trip each and raise `ProvisionRefused` or `LookupError`, nothing else.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from google.protobuf.message import Message


@dataclass(frozen=True)
class ProvisionRequest:
    """A decoded and checked `Provision` call (joining: fields 1 to 6 of ProvisionRequest). Empty strings are None."""

    node_uuid: str
    public_key: str  # WireGuard, standard base64, 44 characters
    join_token: str | None
    unique_token: str | None
    talos_version: str | None
    wants_tunnel: bool
    source: str  # address of the caller, for the audit


@dataclass(frozen=True)
class Link:
    """One machine's way in, as stored.

    `virtual_address` (`[addr]:port`, the name of its gRPC stream) is set for tunnel links only, `last_endpoint` for UDP
    links that were seen.
    """

    id: str
    public_key: str  # empty when an agent carries it
    address: str  # overlay, without prefix length
    virtual_address: str | None
    last_endpoint: str | None
    pending: bool

    @property
    def transport(self) -> str:
        """`agent`, `grpc` or `udp`."""
        if not self.public_key:
            return "agent"
        return "grpc" if self.virtual_address else "udp"


class ProvisionRefused(Exception):
    """The call is refused with a gRPC status code name (`PERMISSION_DENIED`, ...) and a text for the machine's log."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


class LinkRegistry(Protocol):
    """Who may join, and under which address."""

    async def provision(self, request: ProvisionRequest, stream_alive: Callable[[str], bool]) -> Link:
        """Decide and store. `stream_alive(virtual_address)` tells whether a tunnel stream is open under that name.

        The same UUID and key get the same addresses again, except that a tunnel whose stream is gone gets a new virtual
        address (that alone makes Talos up to 1.14.0 build a new relay). Raises `ProvisionRefused`.
        """
        ...

    async def links(self) -> list[Link]:
        """Every stored link over WireGuard, to restore peers at start; one with a `last_endpoint` is called there."""
        ...

    async def tunnelled(self, virtual_address: str) -> Link | None:
        """The stored link with this virtual address, spelt in any way; it may be new here."""
        ...


class EventSink(Protocol):
    """Takes the events that a machine pushes."""

    async def event(self, address: str, event_id: str, actor_id: str, payload: Message | None, type_url: str) -> None:
        """`payload` is None for a type we do not know. Raises LookupError when no machine has this address."""
        ...


class LogSink(Protocol):
    """Takes kernel log lines."""

    async def known(self, address: str) -> bool:
        """Whether lines from this address are wanted; the receiver closes other connections at once."""
        ...

    async def lines(self, address: str, lines: list[bytes]) -> None:
        """Raw lines without their line end, in order."""
        ...


class TrustAuthority(Protocol):
    """Signs the API certificate of a cluster's workers."""

    async def server_certificate(self, address: str) -> tuple[bytes, bytes]:
        """PEM certificate and key that trustd shows to the machine at `address`: issued by its cluster's Talos CA."""
        ...

    async def sign(self, address: str, token: str, csr_pem: bytes) -> tuple[bytes, bytes]:
        """PEM (CA, certificate) for a worker's request. Raises PermissionError for a wrong token or machine."""
        ...


@dataclass(frozen=True)
class AgentHello:
    """What an agent says of itself when it connects; sizes and forms are checked."""

    name: str  # 1 to 63 characters, chosen by its operator
    credential: str = field(repr=False)  # 43 characters of base64url that the agent made for itself: who it is
    token: str | None = field(repr=False)  # join token; needed while its credential is unknown
    version: str
    nodes: tuple[str, ...]  # host names or addresses, as the operator wrote them
    networks: tuple[str, ...]  # that it scans, each as CIDR
    source: str  # address of the caller, for the audit


class AgentRefused(Exception):
    """An agent is not let in: a gRPC status code name (`PERMISSION_DENIED`, ...) and a text that tells its operator
    what to do. The agent shows the text and asks again a minute later."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


class AgentRegistry(Protocol):
    """Which agents may connect, and what is known of them.

    `enrol` may take database round trips and raise `AgentRefused`, nothing else. The others are told in order as things
    happen, inside the event loop: they must not block and must not raise. Addresses are hosts without a port, written
    as the agent dials them: one of `hello.nodes`, or an IP address inside `hello.networks`.
    """

    async def enrol(self, hello: AgentHello) -> str:
        """The id of the agent with this credential, a new one if the token lets it in. Repeating it changes nothing:
        the agent keeps its credential before it first calls. Raises `AgentRefused`."""
        ...

    def connected(self, agent_id: str, hello: AgentHello) -> None:
        """Its control stream is open, it can be dialled through. Nothing is found yet. An agent that comes again before
        its old stream was missed is told so twice, without `disconnected` between."""
        ...

    def disconnected(self, agent_id: str, reason: str) -> None:
        """It cannot be dialled through any more, and every carried connection is broken."""
        ...

    def found(self, agent_id: str, address: str) -> None:
        """Port 50000 of this host accepts connections."""
        ...

    def lost(self, agent_id: str, address: str, reason: str) -> None:
        """It does not, or does not any more. A named host that never answered is lost too."""
        ...
