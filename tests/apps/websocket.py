"""A websocket client for tests that speaks ASGI to an application, without a server between."""

import json
from typing import Any

from asgiref.testing import ApplicationCommunicator


class WebSocket(ApplicationCommunicator):
    """`accepted` is known after `connect`; `receive_json` waits for one message."""

    accepted = False

    def __init__(self, application: Any, path: str, headers: list[tuple[bytes, bytes]]) -> None:
        path, _, query = path.partition("?")
        scope = {
            "type": "websocket",
            "path": path,
            "query_string": query.encode(),
            "headers": headers,
            "subprotocols": [],
            "client": ["192.0.2.7", 4000],
        }
        super().__init__(application, scope)

    async def connect(self) -> None:
        await self.send_input({"type": "websocket.connect"})
        self.accepted = (await self.receive_output(10))["type"] == "websocket.accept"

    async def receive_json(self) -> Any:
        return json.loads((await self.receive_output(10))["text"])

    async def refusal(self) -> tuple[int, str]:
        """Close code and reason of a watch that ends."""
        message = await self.receive_json()
        assert message["type"] == "closed"
        return (await self.receive_output(10))["code"], message["reason"]

    async def disconnect(self) -> None:
        await self.send_input({"type": "websocket.disconnect", "code": 1000})
        await self.wait(5)
