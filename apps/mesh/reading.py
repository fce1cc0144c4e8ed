"""What nodes say of themselves and of their peers, as the facts that a mesh is made of. Pure: resources to facts."""

import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from kubespan.affiliates import Unreadable
from kubespan.crypto import ClusterKey
from kubespan.mesh import STATES, Peer, Peers, Side
from talos.gen.sidero import discovery_pb2
from talos.resources import Resource

PASS = 30.0
"""Seconds between two looks of a node at its peers: what it says is as old as half of that, on average."""

LONGEST_NAME = 253
MOST_ENDPOINTS = 64
"""Of one node that are kept; nodes announce a handful."""


@dataclass(frozen=True)
class Announced:
    """A node as it describes itself to the others. `key` is empty for one without KubeSpan."""

    node_id: str
    name: str
    key: str = ""
    address: str = ""
    role: str = "worker"
    endpoints: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()


def announced(spec: Any) -> Announced:
    """From the spec of an Affiliate."""
    part = spec.get("kubespan") or {}
    name = str(spec.get("nodename") or spec.get("hostname") or spec.get("nodeId") or "")
    return Announced(
        node_id=str(spec.get("nodeId") or ""),
        name=name[:LONGEST_NAME],
        key=str(part.get("publicKey") or ""),
        address=str(part.get("address") or ""),
        role=str(spec.get("machineType") or "worker"),
        endpoints=tuple(str(item) for item in part.get("endpoints") or ())[:MOST_ENDPOINTS],
        addresses=tuple(str(item) for item in spec.get("addresses") or ())[:MOST_ENDPOINTS],
    )


def opened(secret: str, affiliates: Iterable[discovery_pb2.Affiliate]) -> list[Announced]:
    """From what a discovery service keeps, with the cluster's secret (base64). What it does not open is left out."""
    try:
        key = ClusterKey(base64.b64decode(secret, validate=True))
    except (ValueError, binascii.Error):
        return []
    found = []
    for message in affiliates:
        try:
            plain = key.open(message.data)
            endpoints = tuple(str(key.open_endpoint(sealed)) for sealed in message.endpoints[:MOST_ENDPOINTS])
        except Unreadable:
            continue
        part = plain.kubespan
        found.append(
            Announced(
                node_id=message.id,
                name=(plain.nodename or plain.hostname or message.id)[:LONGEST_NAME],
                key=part.public_key if part else "",
                address=str(part.address or "") if part else "",
                role=plain.machine_type or "worker",
                endpoints=endpoints if part else (),
                addresses=tuple(map(str, plain.addresses[:MOST_ENDPOINTS])),
            )
        )
    return found


def peers_of(statuses: Sequence[Resource], words: dict[str, str]) -> Peers:
    """What a node says of its peers, from its KubeSpanPeerStatuses."""
    table = Peers(words)
    for status in statuses:
        spec = status.spec or {}
        table.add(
            status.id,
            Peer(
                STATES.get(str(spec.get("state")), Side.IDLE),
                str(spec.get("endpoint") or ""),
                str(spec.get("lastUsedEndpoint") or ""),
                int(spec.get("receiveBytes") or 0),
                int(spec.get("transmitBytes") or 0),
                seconds(spec.get("lastHandshakeTime")),
                seconds(spec.get("lastEndpointChange")),
            ),
        )
    return table


def clock_of(statuses: Sequence[Resource], now: float) -> float | None:
    """How many seconds a node's clock is ahead of `now`, to half a pass; None if it does not show.

    Bytes sent to a peer with an endpoint change with every pass, and with them the time of its status.
    """
    called = [status.metadata.updated for status in statuses if (status.spec or {}).get("endpoint")]
    latest = max(called, default=0) / 1e9
    return latest + PASS / 2 - now if latest else None


@lru_cache(maxsize=1 << 14)
def seconds(text: str | None) -> int:
    """A time as seconds since 1970; 0 for Go's time of nothing, and for what is none."""
    try:
        moment = datetime.fromisoformat(text or "")
        return max(0, int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()))
    except (ValueError, OverflowError):
        return 0
