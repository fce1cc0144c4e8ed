"""What both ends of the tunnel agree on: sizes, times, and what an agent may say of itself."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from nodeagent.ports import AgentHello
from talos.gen.omni import agent_pb2

API_PORT, KUBERNETES_PORT = 50_000, 6_443
PORTS = (API_PORT, KUBERNETES_PORT)
"""Ports that an agent connects to, on hosts it was told of: Talos' API and Kubernetes'. No others, whoever asks."""

CONNECTION_KEY = "omni-connection"
"""Metadata of `Carry`: which connection, in hexadecimal digits."""

PIECE = 32 * 1024
"""Bytes that one message carries."""

MESSAGE_LIMIT = 64 * 1024
"""Bytes of a message: a piece with what goes around it, or the longest list of addresses."""

NODES_LIMIT, NETWORKS_LIMIT = 512, 64
"""Hosts an agent is given by name, networks it scans; they fit into one message."""
ADDRESS_LIMIT = 4_096
"""Hosts that one agent looks at and offers, named and scanned together."""
CONNECTION_LIMIT = 1_024
"""Connections that one agent carries at once."""

NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
CREDENTIAL = re.compile(r"[A-Za-z0-9_-]{43}")
"""32 random bytes in base64url."""
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
HOST = re.compile(rf"{_LABEL}(\.{_LABEL})*")
ZONE = re.compile(r"[A-Za-z0-9._-]+")
"""Which link, after the % of a link-local address."""
TOKEN_LIMIT, VERSION_LIMIT = 8_192, 60
REASON_LIMIT = 500

Network = IPv4Network | IPv6Network


class InvalidHello(ValueError):
    """No agent of ours says that; the text says what is wrong."""


class Scope:
    """The hosts an agent may connect to: those named and those inside its networks. Raises ValueError for too many, or
    for one that is neither a host nor a network."""

    def __init__(self, nodes: Iterable[str], networks: Iterable[str]) -> None:
        self.nodes = tuple(dict.fromkeys(check_host(node) for node in nodes))
        self.networks = tuple(dict.fromkeys(check_network(network) for network in networks))
        if len(self.nodes) > NODES_LIMIT or len(self.networks) > NETWORKS_LIMIT:
            raise ValueError(f"at most {NODES_LIMIT} nodes and {NETWORKS_LIMIT} networks can be given to one agent")
        count = len(self.nodes) + sum(network.num_addresses for network in self.networks)
        if count > ADDRESS_LIMIT:
            raise ValueError(f"{count:,} addresses are too many for one agent; it looks at up to {ADDRESS_LIMIT:,}")

    def __contains__(self, address: str) -> bool:
        if address in self.nodes:
            return True
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return str(parsed) == address and "%" not in address and any(parsed in network for network in self.networks)


def check_host(text: str) -> str:
    """A host name or an IP address, as written. Raises ValueError."""
    try:
        ip_address(text)
        fits = ZONE.fullmatch(text.partition("%")[2] or "0")
    except ValueError:
        fits = HOST.fullmatch(text) if re.search(r"[^0-9.]", text) else None
    if not fits:
        raise ValueError(f"{text[:80]!r} is neither a host name nor an IP address")
    if len(text) > 64:
        raise ValueError(f"{text[:80]!r} has more than 64 characters")
    return text


def check_network(text: str) -> Network:
    """A network in CIDR form. Raises ValueError."""
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text[:80]!r} is not a network such as 10.5.0.0/24") from None


def plain(text: str) -> str:
    """What an agent says, for people and the database: no control characters, not too long."""
    return "".join(character if character.isprintable() else " " for character in text[:REASON_LIMIT])


def read_hello(message: agent_pb2.FromAgent, source: str) -> tuple[AgentHello, Scope]:
    """Check the first message of an agent. Raises InvalidHello."""
    if message.WhichOneof("message") != "hello":
        raise InvalidHello("the first message must be hello")
    hello = message.hello
    if not NAME.fullmatch(hello.name):
        raise InvalidHello("name must be 1 to 63 letters, digits, dots, dashes and underscores")
    if not CREDENTIAL.fullmatch(hello.credential):
        raise InvalidHello("credential must be 32 bytes in 43 characters of base64url")
    if len(hello.token) > TOKEN_LIMIT or len(hello.version) > VERSION_LIMIT:
        raise InvalidHello(f"token or version has more than {TOKEN_LIMIT:,} or {VERSION_LIMIT} characters")
    try:
        scope = Scope(hello.nodes, hello.networks)
    except ValueError as error:
        raise InvalidHello(str(error)) from None
    said = AgentHello(
        name=hello.name,
        credential=hello.credential,
        token=hello.token or None,
        version=plain(hello.version),
        nodes=scope.nodes,
        networks=tuple(map(str, scope.networks)),
        source=source,
    )
    return said, scope
