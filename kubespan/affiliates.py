"""What nodes tell each other, in plain: a node's description and its endpoints, to and from their protobuf bytes.

Writing gives the very bytes that Talos writes. Reading takes what can be used: an address or a network that is none is
left out, as Talos does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
)

from google.protobuf.message import DecodeError

from talos.gen.sidero import discovery_affiliate_pb2 as pb

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Prefix = IPv4Interface | IPv6Interface
"""A network as it is advertised: bits right of its prefix may be set."""

MAX_PORT = 65535


class Unreadable(ValueError):
    """Bytes that are no affiliate or endpoint: another key made them, or nobody's. Never says what is in them."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a node's WireGuard may be reached by UDP."""

    ip: Address
    port: int

    def __post_init__(self) -> None:
        if not 0 <= self.port <= MAX_PORT:
            raise ValueError(f"{self.port} is no port; give one from 0 to {MAX_PORT}")

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """From `IP:PORT` or `[IPV6]:PORT`; raises ValueError for anything else."""
        host, colon, port = text.rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        try:
            ip = ip_address(host[1:-1] if bracketed else host)
            if not colon or bracketed != (ip.version == 6) or not (port.isascii() and port.isdigit()):
                raise ValueError
            return cls(ip, int(port))
        except ValueError:
            raise ValueError(f"{text!r} is no endpoint; write IP:PORT, or [IP]:PORT for IPv6") from None

    def __str__(self) -> str:
        return f"[{self.ip}]:{self.port}" if self.ip.version == 6 else f"{self.ip}:{self.port}"


@dataclass(frozen=True, slots=True)
class KubeSpanPart:
    """A node's part in the mesh. `address` is None as long as it has none."""

    public_key: str
    address: Address | None
    additional_addresses: tuple[Prefix, ...] = ()
    exclude_advertised_addresses: tuple[Prefix, ...] = ()


@dataclass(frozen=True, slots=True)
class ControlPlanePart:
    """Of a control plane node with an API server."""

    api_server_port: int


@dataclass(frozen=True, slots=True)
class Affiliate:
    """A node as it describes itself. With a `nodename`, others take it for a member of the Kubernetes cluster."""

    node_id: str
    addresses: tuple[Address, ...] = ()
    hostname: str = ""
    nodename: str = ""
    machine_type: str = ""
    operating_system: str = ""
    kubespan: KubeSpanPart | None = None
    control_plane: ControlPlanePart | None = None


def encode(affiliate: Affiliate) -> bytes:
    """The protobuf bytes of an affiliate."""
    message = pb.Affiliate(
        node_id=affiliate.node_id,
        addresses=[address.packed for address in affiliate.addresses],
        hostname=affiliate.hostname,
        nodename=affiliate.nodename,
        machine_type=affiliate.machine_type,
        operating_system=affiliate.operating_system,
    )
    if (kubespan := affiliate.kubespan) is not None:
        message.kubespan.CopyFrom(
            pb.KubeSpan(
                public_key=kubespan.public_key,
                address=kubespan.address.packed if kubespan.address else b"",
                additional_addresses=map(_prefix_message, kubespan.additional_addresses),
                exclude_advertised_addresses=map(_prefix_message, kubespan.exclude_advertised_addresses),
            )
        )
    if affiliate.control_plane is not None:
        message.control_plane.CopyFrom(pb.ControlPlane(api_server_port=affiliate.control_plane.api_server_port))
    return message.SerializeToString(deterministic=True)


def decode(data: bytes) -> Affiliate:
    """The affiliate of protobuf bytes. Raises Unreadable."""
    try:
        message = pb.Affiliate.FromString(data)
    except DecodeError:
        raise Unreadable("the data of an affiliate is no protobuf message") from None
    kubespan = control_plane = None
    if message.HasField("kubespan"):
        part = message.kubespan
        kubespan = KubeSpanPart(
            part.public_key,
            _address(part.address),
            _prefixes(part.additional_addresses),
            _prefixes(part.exclude_advertised_addresses),
        )
    if message.HasField("control_plane"):
        control_plane = ControlPlanePart(message.control_plane.api_server_port)
    return Affiliate(
        message.node_id,
        tuple(address for packed in message.addresses if (address := _address(packed)) is not None),
        message.hostname,
        message.nodename,
        message.machine_type,
        message.operating_system,
        kubespan,
        control_plane,
    )


def encode_endpoint(endpoint: Endpoint) -> bytes:
    """The protobuf bytes of an endpoint, of which everybody has to make the same: the service compares them."""
    return pb.Endpoint(ip=endpoint.ip.packed, port=endpoint.port).SerializeToString(deterministic=True)


def decode_endpoint(data: bytes) -> Endpoint:
    """The endpoint of protobuf bytes. Raises Unreadable."""
    try:
        message = pb.Endpoint.FromString(data)
    except DecodeError:
        raise Unreadable("an endpoint is no protobuf message") from None
    ip = _address(message.ip)
    if ip is None or message.port > MAX_PORT:
        raise Unreadable("an endpoint is no address and port")
    return Endpoint(ip, message.port)


def _address(packed: bytes) -> Address | None:
    return ip_address(packed) if len(packed) in (4, 16) else None


def _prefix_message(prefix: Prefix) -> pb.IPPrefix:
    return pb.IPPrefix(ip=prefix.ip.packed, bits=prefix.network.prefixlen)


def _prefixes(messages: Iterable[pb.IPPrefix]) -> tuple[Prefix, ...]:
    return tuple(
        ip_interface((address, message.bits))
        for message in messages
        if (address := _address(message.ip)) is not None and message.bits <= address.max_prefixlen
    )
