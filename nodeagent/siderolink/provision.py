"""The `Provision` call: a machine asks for its overlay address.

Decoding and answering are here; whether the machine may join is the registry's to say.
"""

from __future__ import annotations

import base64
import logging
from typing import Any, NoReturn

import grpc
from google.protobuf.message import DecodeError

from nodeagent.caller import caller_of
from nodeagent.ports import Link, LinkRegistry, ProvisionRefused, ProvisionRequest
from nodeagent.quiet import Quiet
from nodeagent.siderolink.decide import valid_uuid
from nodeagent.siderolink.peers import Peers, key_bytes
from nodeagent.siderolink.tunnel import Tunnels
from nodeagent.siderolink.turns import Turns, origin
from talos import siderolink
from talos.gen.sidero import link_pb2

SERVICE = "sidero.link.ProvisionService"

AT_ONCE = 64
"""Calls that are decided at the same time; the others wait their turn, and sources take turns."""

MESSAGE_LIMIT = 64 * 1024
"""Bytes of a request that is looked at, many times what machines send."""

TOKEN_LIMIT = 8192
"""Characters of the longest token that is looked at."""
VERSION_LIMIT = 64

log = logging.getLogger(__name__)


class InvalidRequest(ValueError):
    """A `Provision` call that no machine makes; the text says which field."""


class Provisioner:
    """Answers `Provision`. `endpoint` is the `ip:port` at which the engine is reached over UDP from outside."""

    def __init__(
        self, registry: LinkRegistry, peers: Peers, tunnels: Tunnels, public_key: bytes, address: str, endpoint: str
    ) -> None:
        self._registry, self._peers, self._tunnels = registry, peers, tunnels
        self._public_key, self._address, self._endpoint = base64.b64encode(public_key).decode(), address, endpoint
        self._turns = Turns(AT_ONCE)
        self._refusals = Quiet()

    def handler(self) -> grpc.GenericRpcHandler:
        """The service for a grpcio server. It reads the message itself: grpcio calls a malformed one an internal
        error, which it is not."""
        method = grpc.unary_unary_rpc_method_handler(
            self.provision, response_serializer=link_pb2.ProvisionResponse.SerializeToString
        )
        return grpc.method_handlers_generic_handler(SERVICE, {"Provision": method})

    async def provision(self, data: bytes, context: Any) -> link_pb2.ProvisionResponse:
        """One call: decide, store, let the peer in, and only then answer."""
        caller = caller_of(context.peer())
        if len(data) > MESSAGE_LIMIT:
            await _refuse(context, grpc.StatusCode.RESOURCE_EXHAUSTED, f"a request of {len(data):,} bytes")
        try:
            request = read_request(data, caller.address if caller else "")
        except InvalidRequest as error:
            await _refuse(context, grpc.StatusCode.INVALID_ARGUMENT, str(error))
        try:
            async with self._turns.of(origin(request.source)):
                link = await self._registry.provision(request, self._tunnels.alive)
                await self._peers.apply(link)
        except ProvisionRefused as refusal:
            self._tell(request, refusal)
            await _refuse(context, grpc.StatusCode[refusal.code], refusal.text)
        except Exception:
            log.exception("Provision of %s failed", request.node_uuid)
            await _refuse(context, grpc.StatusCode.INTERNAL, "internal server error")
        return self.answer(link)

    def _tell(self, request: ProvisionRequest, refusal: ProvisionRefused) -> None:
        """Log a refusal, once a minute for each source and reason."""
        left_out = self._refusals.left_out(f"{origin(request.source)} {refusal.text}")
        if left_out is not None:
            more = f" ({left_out} more like it were not logged)" if left_out else ""
            log.info("Provision of %s from %s refused: %s%s", request.node_uuid, request.source, refusal.text, more)

    def answer(self, link: Link) -> link_pb2.ProvisionResponse:
        """What a machine with this link is told."""
        endpoints = [link.virtual_address] if link.virtual_address else siderolink.order_for_wire([self._endpoint])
        return link_pb2.ProvisionResponse(
            server_endpoint=endpoints,
            server_public_key=self._public_key,
            node_address_prefix=f"{link.address}/64",
            server_address=self._address,
            grpc_peer_addr_port=link.virtual_address or "",
        )


def read_request(data: bytes, source: str) -> ProvisionRequest:
    """Decode and check a call. Raises InvalidRequest."""
    try:
        message = link_pb2.ProvisionRequest.FromString(data)
    except DecodeError:
        raise InvalidRequest("the message is not a ProvisionRequest") from None
    if not valid_uuid(message.node_uuid):
        raise InvalidRequest(f"node_uuid {message.node_uuid[:64]!r} is not a UUID")
    try:
        key_bytes(message.node_public_key)
    except ValueError:
        raise InvalidRequest("node_public_key is not a WireGuard key: 32 bytes in 44 characters of base64") from None
    limits = {"join_token": TOKEN_LIMIT, "node_unique_token": TOKEN_LIMIT, "talos_version": VERSION_LIMIT}
    for name, limit in limits.items():
        if len(getattr(message, name)) > limit:
            raise InvalidRequest(f"{name} has more than {limit} characters")
    return ProvisionRequest(
        node_uuid=message.node_uuid.lower(),
        public_key=message.node_public_key,
        join_token=message.join_token or None,
        unique_token=message.node_unique_token or None,
        talos_version=message.talos_version or None,
        wants_tunnel=message.wireguard_over_grpc,
        source=source,
    )


async def _refuse(context: Any, code: grpc.StatusCode, text: str) -> NoReturn:
    await context.abort(code, text)
    raise AssertionError("abort does not return")
