"""Affiliates as they are kept and handed on: messages `ClusterSnapshot`, each in a stream behind tag and length.

One form serves three uses. A *snapshot* is a stream with one message for each cluster, which together are a
`StateSnapshot` as Sidero's service writes it. A *journal* is a stream of messages with one affiliate each, as it is
after a change. Between processes the same goes over a connection. An affiliate without a time to live is one that was
deleted. Times are relative, so that records do not age while nobody serves them, and no two clocks are compared.
"""

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from google.protobuf.message import DecodeError

from kubespan.discovery import limits
from kubespan.discovery.entries import field, size
from talos.gen.sidero import discovery_snapshot_pb2 as pb

CLUSTER_BYTES = 137_912_579
"""Of the largest cluster message."""

_CLUSTER, _ID, _AFFILIATE = b"\x0a", b"\x0a", b"\x12"
_DATA, _TTL = b"\x1a", b"\x2a"
_ENDPOINT_TTL = b"\x1a"


class Damaged(Exception):
    """A stream ends in the middle of a message, or holds what is no message. `at` is where the last whole one ends."""

    def __init__(self, at: int, reason: str) -> None:
        super().__init__(f"{reason}, after {at} bytes that are whole")
        self.at = at


@dataclass(frozen=True, slots=True)
class Record:
    """An affiliate of a cluster. Times to live are seconds; without one the affiliate is deleted."""

    cluster_id: str
    affiliate_id: str
    data: bytes = b""
    endpoints: tuple[tuple[bytes, float], ...] = ()
    ttl: float | None = None


# Writing.


def affiliate(affiliate_id: str, data: bytes, endpoints: Iterable[tuple[bytes, float]], ttl: float | None) -> bytes:
    """An `AffiliateSnapshot`, to be given to `cluster`. Endpoints are of at most 100 bytes."""
    parts = [field(_ID, affiliate_id.encode())]
    if data:
        parts.append(field(_DATA, data))
    known, known_field = math.nan, b""  # endpoints mostly live equally long
    for endpoint, left in endpoints:
        if left != known:
            known, known_field = left, field(_ENDPOINT_TTL, _duration(left))
        length = len(endpoint)
        parts.append(b"\x22%c\x12%c%b%b" % (length + len(known_field) + 2, length, endpoint, known_field))
    if ttl is not None:
        parts.append(field(_TTL, _duration(ttl)))
    return b"".join(parts)


def cluster(cluster_id: str, affiliates: Iterable[bytes]) -> bytes:
    """A message of the stream, with tag and length."""
    parts = [field(_ID, cluster_id.encode())]
    parts.extend(field(_AFFILIATE, one) for one in affiliates)
    return field(_CLUSTER, b"".join(parts))


def encode(record: Record) -> bytes:
    """A message of the stream with one affiliate."""
    return cluster(record.cluster_id, [affiliate(record.affiliate_id, record.data, record.endpoints, record.ttl)])


def _duration(seconds: float) -> bytes:
    """What is left of a time to live, to the microsecond; what has run out is written as nothing left."""
    micros = int(seconds * 1e6) if seconds > 0 else 0
    whole, rest = divmod(micros, 1_000_000)
    return (b"\x08" + size(whole) if whole else b"") + (b"\x10" + size(rest * 1000) if rest else b"")


# Reading.


def messages(stream: BinaryIO, *, most: int = CLUSTER_BYTES) -> Iterator[bytes]:
    """The cluster messages of a stream, without tag and length, until its end.

    Raises Damaged, and OSError of the stream.
    """
    at = 0
    while True:
        head = stream.read(1)
        if not head:
            return
        if head != _CLUSTER:
            raise Damaged(at, f"there is byte 0x{head[0]:02x} where a cluster should begin")
        length, shift, taken = 0, 0, 1
        while True:
            byte = stream.read(1)
            if not byte:
                raise Damaged(at, "the length of a cluster is cut off")
            taken += 1
            length |= (byte[0] & 0x7F) << shift
            shift += 7
            if byte[0] < 0x80:
                break
            if shift > 28:
                raise Damaged(at, "the length of a cluster is no number")
        if length > most:
            raise Damaged(at, f"a cluster has {length} bytes, and {most} is the most")
        body = stream.read(length)
        if len(body) < length:
            raise Damaged(at, f"a cluster is cut off at {len(body)} of {length} bytes")
        yield body
        at += taken + length


def decode(message: bytes) -> Iterator[Record]:
    """The affiliates of one cluster message.

    What no request could have brought in is left out, as it would hurt nodes: ids, data and endpoints of a wrong
    length, and what is too much. Raises ValueError when it is no message.
    """
    snapshot = pb.ClusterSnapshot()
    try:
        snapshot.ParseFromString(message)
    except DecodeError:
        raise ValueError("it is no cluster of a snapshot") from None
    cluster_id = snapshot.id
    if not _fits(cluster_id):
        return
    for one in snapshot.affiliates:
        affiliate_id, data = one.id, one.data
        if _fits(affiliate_id) and len(data) <= limits.DATA_BYTES:
            endpoints = [
                (endpoint.data, _left(endpoint) or 0.0)
                for endpoint in one.endpoints
                if 0 < len(endpoint.data) <= limits.ENDPOINT_BYTES
            ]
            yield Record(cluster_id, affiliate_id, data, tuple(endpoints[: limits.ENDPOINTS]), _left(one))


def _fits(text: str) -> bool:
    return 0 < len(text.encode()) <= limits.ID_BYTES


def _left(message: pb.AffiliateSnapshot | pb.EndpointSnapshot) -> float | None:
    """Seconds left, within what a request may ask for; None where nothing is said."""
    if message.HasField("ttl"):
        left = message.ttl.seconds + message.ttl.nanos / 1e9
    elif message.HasField("expiration"):
        left = message.expiration.seconds + message.expiration.nanos / 1e9 - time.time()
    else:
        return None
    return min(left, limits.TTL_SECONDS)
