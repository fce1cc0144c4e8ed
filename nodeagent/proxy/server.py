"""The talosctl proxy: calls to machines, taken as bytes on a gRPC server and carried to the machines they are for."""

from __future__ import annotations

import grpc

from nodeagent.dial import Dial
from nodeagent.proxy import methods
from nodeagent.proxy.ports import Gate


class TalosProxy(grpc.GenericRpcHandler):
    """Takes every call to machines on a gRPC server, asks the gate, and carries it.

    `dial` opens connections to (a target's address, port).
    """

    def __init__(self, gate: Gate, dial: Dial) -> None:
        self._gate, self._dial = gate, dial

    def add_to(self, server: grpc.aio.Server) -> None:
        """Answer on this server, which takes and gives messages of up to `MESSAGE_LIMIT` bytes."""
        server.add_generic_rpc_handlers((self,))

    async def close(self) -> None:
        """End calls under way, and connections to machines."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """How a call is handled; None for those that are not for machines."""
        if not methods.for_machines(details.method, details.invocation_metadata or ()):
            return None
        return None
