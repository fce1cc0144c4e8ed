"""talosctl's login and its signed calls, made by the library that makes them in talosctl.

The keys in memory are ours, and so is the person, who accepts every key a moment after it was registered. The service
for keys and the verification are the gateway's.
"""

import asyncio
import json
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc

from nodeagent.authservice import AuthServer, KeyRefused, NewKey
from talos import serviceaccount, signing
from tests.peers.report import Report

UNARY, STREAM = "/machine.MachineService/Version", "/machine.MachineService/Dmesg"


class Keys:
    """Everybody's keys."""

    def __init__(self) -> None:
        self.server = AuthServer(self, "https://omni.example.com")
        self.known: dict[str, signing.PublicKey] = {}
        self.names: list[str] = []

    async def register(self, email: str, key: NewKey, source: str) -> str:
        self.names.append(f"{email} {key.name}")
        asyncio.get_running_loop().call_later(0.5, self._accept, key)
        return "https://omni.example.com/grant/1"

    def _accept(self, key: NewKey) -> None:
        self.known[key.fingerprint] = signing.parse_public(key.kind, key.public)
        self.server.wake(key.fingerprint)

    async def accepted(self, fingerprint: str) -> bool:
        return fingerprint in self.known

    async def revoke(self, metadata: Mapping[str, Sequence[str]], method: str, fingerprint: str, source: str) -> None:
        self.verify(metadata, method)
        self.known.pop(fingerprint)

    def verify(self, metadata: Mapping[str, Sequence[str]], method: str) -> None:
        """Raises KeyRefused."""
        try:
            signing.verify(metadata, method, datetime.now(UTC), self.known.get)
        except (signing.Unsigned, signing.BadSignature) as error:
            raise KeyRefused("UNAUTHENTICATED", str(error)) from None


class Machine(grpc.GenericRpcHandler):
    """Answers any signed call with nothing, once."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        if details.method not in (UNARY, STREAM):
            return None

        async def answer(request: Any, context: Any) -> Any:
            metadata: dict[str, list[str]] = {}
            for name, value in details.invocation_metadata:
                metadata.setdefault(name, []).append(value)
            try:
                self._keys.verify(metadata, details.method)
            except KeyRefused as refusal:
                await context.abort(grpc.StatusCode[refusal.code], refusal.text)
            yield b""

        async def once(request: Any, context: Any) -> Any:
            return await anext(answer(request, context))

        if details.method == UNARY:
            return grpc.unary_unary_rpc_method_handler(once)
        return grpc.unary_stream_rpc_method_handler(answer)


async def run(report: Report) -> None:
    """The service, and the program against it."""
    now = datetime.now(UTC)
    key = serviceaccount.new_key("ci", now, timedelta(days=365))
    call = {"runtime": ["Talos"], "context": ["prod"], "nodes": ["a", "<b>"]}
    plan = {
        "serviceAccount": serviceaccount.key_text("ci", key),
        "public": key.public.armored,
        "signed": call | signing.sign(key, "ci", UNARY, call, now),
        "method": UNARY,
    }
    keys = Keys()
    keys.known[key.public.fingerprint] = key.public
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "plan.json").write_text(json.dumps(plan))
        server = grpc.aio.server()
        keys.server.add_to(server)
        server.add_generic_rpc_handlers((Machine(keys),))
        server.add_insecure_port(f"unix:{folder}/server.sock")
        await server.start()
        try:
            await report.program("signing", folder)
        finally:
            await server.stop(None)
    report.equal("signing: keys that were registered", len(keys.names), 2)
    report.add(
        "signing: whose they are", None if keys.names[0].startswith("user@example.com Talos (") else keys.names[0]
    )
