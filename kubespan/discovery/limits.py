"""What a request may hold. Codes, texts and their order are those of Sidero's service, which clients know."""

from talos.gen.sidero import discovery_pb2 as pb

ID_BYTES = 256
"""Of a cluster's or an affiliate's id, in UTF-8."""

DATA_BYTES = 2048
ENDPOINT_BYTES = 32
TTL_SECONDS = 30 * 60
AFFILIATES = 1024
"""Of one cluster."""

ENDPOINTS = 64
"""Of one affiliate."""

REQUEST_BYTES = 256 * 1024
"""Of any request; the largest that is accepted has about 5,000."""

_NANOSECONDS = 10**9


class Refused(Exception):
    """A request is answered with an error: the name of a gRPC code, and a text for who reads logs of nodes."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


class TooManyAffiliates(Refused):
    def __init__(self) -> None:
        super().__init__("RESOURCE_EXHAUSTED", "too many affiliates in the cluster")


class TooManyEndpoints(Refused):
    def __init__(self) -> None:
        super().__init__("RESOURCE_EXHAUSTED", "too many endpoints in the affiliate")


def check_cluster_id(cluster_id: str) -> None:
    """Raises Refused."""
    if not cluster_id:
        raise _invalid("cluster ID can't be empty")
    if len(cluster_id.encode()) > ID_BYTES:
        raise _invalid("cluster ID is too long")


def check_ids(cluster_id: str, affiliate_id: str) -> None:
    """Raises Refused."""
    check_cluster_id(cluster_id)
    if not affiliate_id:
        raise _invalid("affiliate ID can't be empty")
    if len(affiliate_id.encode()) > ID_BYTES:
        raise _invalid("affiliate ID is too long")


def check_update(request: pb.AffiliateUpdateRequest) -> None:
    """Raises Refused.

    An endpoint of no bytes is refused, which Sidero's service relays: Talos' client cannot read it and up to Talos
    1.13 goes down with it. Other short ones are let through, for clients that are not Talos.
    """
    check_ids(request.cluster_id, request.affiliate_id)
    if len(request.affiliate_data) > DATA_BYTES:
        raise _invalid("affiliate data is too big")
    for endpoint in request.affiliate_endpoints:
        if len(endpoint) > ENDPOINT_BYTES:
            raise _invalid("affiliate endpoint is too big")
        if not endpoint:
            raise _invalid("affiliate endpoint is empty: nodes that read it would crash")
    if request.ttl.seconds * _NANOSECONDS + request.ttl.nanos > TTL_SECONDS * _NANOSECONDS:
        raise _invalid("ttl is too large")


def _invalid(text: str) -> Refused:
    return Refused("INVALID_ARGUMENT", text)
