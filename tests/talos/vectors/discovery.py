"""What a node says to a discovery service, and what it makes of the answers."""

from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

from google.protobuf import json_format

from kubespan import affiliates
from kubespan.affiliates import Affiliate, Endpoint, Unreadable
from kubespan.client import Publication
from kubespan.crypto import NONCE_SIZE, ClusterKey
from kubespan.known import Known
from talos.gen.sidero import discovery_affiliate_pb2, discovery_pb2
from tests.talos.vectors import unequal

CRASHING = bytes(16)
"""The endpoint that crashed the reference."""


def cases(data: list, folder: Path) -> Iterator[tuple[str, dict]]:
    for record in data:
        yield record["input"]["id"], record


def check(case: dict) -> str | None:
    given, want = case["input"], case["expected"]
    key = ClusterKey(bytes.fromhex(given["keyHex"]))
    if "clientPanic" in want:
        return check_crash(key, given)
    return (
        check_affiliate(key, affiliate_of(given["affiliate"]), want)
        or check_endpoints(key, want["endpoints"])
        or check_requests(key, given, want)
        or check_incoming(key, given, want)
    )


def affiliate_of(record: dict) -> Affiliate:
    message = json_format.ParseDict(record, discovery_affiliate_pb2.Affiliate())
    return affiliates.decode(message.SerializeToString())


def check_affiliate(key: ClusterKey, affiliate: Affiliate, want: dict) -> str | None:
    data = bytes.fromhex(want["affiliateDataHex"])
    return (
        unequal("protobuf", affiliates.encode(affiliate).hex(), want["affiliateProtobufHex"])
        or unequal("sealed", key.seal(affiliate, data[:NONCE_SIZE]).hex(), data.hex())
        or unequal("opened", key.open(data), affiliate)
    )


def check_endpoints(key: ClusterKey, want: list[dict]) -> str | None:
    for record in want:
        endpoint, data = Endpoint.parse(record["endpoint"]), bytes.fromhex(record["encryptedHex"])
        found = (
            unequal("text", str(endpoint), record["endpoint"])
            or unequal("protobuf", affiliates.encode_endpoint(endpoint).hex(), record["protobufHex"])
            or unequal("sealed", key.seal_endpoint(endpoint).hex(), data.hex())
            or unequal("opened", key.open_endpoint(data), endpoint)
        )
        if found:
            return found
    return None


def check_requests(key: ClusterKey, given: dict, want: dict) -> str | None:
    cluster, node = given["clusterId"], given["affiliateId"]
    publication = Publication.seal(
        key,
        affiliate_of(given["affiliate"]),
        [Endpoint.parse(text) for text in given["endpoints"]],
        {
            other["affiliateId"]: [Endpoint.parse(text) for text in other["endpoints"]]
            for other in given["otherEndpoints"]
        },
        bytes.fromhex(want["nonceHex"]),
    )
    requests = [
        discovery_pb2.HelloRequest(cluster_id=cluster, client_version=given["clientVersion"]),
        discovery_pb2.WatchRequest(cluster_id=cluster),
        *publication.updates(cluster, node, seconds(given["ttl"])),
    ]
    if given["delete"]:
        requests.append(discovery_pb2.AffiliateDeleteRequest(cluster_id=cluster, affiliate_id=node))
    got = sorted((request.DESCRIPTOR.full_name, request.SerializeToString().hex()) for request in requests)
    return unequal("requests", got, sorted((record["message"], record["hex"]) for record in want["requests"]))


def check_incoming(key: ClusterKey, given: dict, want: dict) -> str | None:
    known = Known(key, given["affiliateId"])
    address, first = None, True
    for record in want["responses"]:
        message = getattr(discovery_pb2, record["message"].rpartition(".")[2]).FromString(bytes.fromhex(record["hex"]))
        if isinstance(message, discovery_pb2.HelloResponse):
            address = str(ip_address(message.client_ip))
        elif isinstance(message, discovery_pb2.WatchResponse):
            known.apply(message, first=first)
            first = False
    return unequal("address", address, want["clientPublicIP"]) or unequal("seen", seen(known), expected(want))


def check_crash(key: ClusterKey, given: dict) -> str | None:
    """The endpoint that is none is left out, the others stay."""
    (incoming,) = given["incoming"]
    good = [Endpoint.parse(text) for text in incoming["endpoints"][1:]]
    affiliate = affiliate_of(incoming["affiliate"])
    record = discovery_pb2.Affiliate(
        id=incoming["id"], data=key.seal(affiliate), endpoints=[CRASHING, *map(key.seal_endpoint, good)]
    )
    try:
        return f"an endpoint of zeros was read as {key.open_endpoint(CRASHING)}"
    except Unreadable:
        pass
    known = Known(key, given["affiliateId"])
    known.apply(discovery_pb2.WatchResponse(affiliates=[record]), first=True)
    return unequal("seen", seen(known), [(affiliate, tuple(good))])


def seen(known: Known) -> list:
    return [(other.affiliate, other.endpoints) for other in known.affiliates.values()]


def expected(want: dict) -> list:
    return [
        (affiliate_of(record["affiliate"]), tuple(map(Endpoint.parse, record["endpoints"])))
        for record in want["clientSees"]
    ]


def seconds(text: str) -> float:
    """Of a duration as Go writes it, in minutes and seconds."""
    minutes, _, rest = text.rpartition("m")
    return float(minutes or 0) * 60 + float(rest.rstrip("s"))
