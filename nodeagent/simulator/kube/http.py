"""Requests and answers of the Kubernetes API on one connection."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qs, unquote, urlsplit

import h11

from nodeagent.simulator.kube import protobuf
from nodeagent.simulator.objects import Object
from nodeagent.tls import TlsStream

HEAD_LIMIT = 64 * 1024
BODY_LIMIT = 3 * 1024 * 1024


class Failure(Exception):
    """An answer other than success, as a Status object."""

    def __init__(self, code: int, reason: str, message: str, details: Object | None = None) -> None:
        super().__init__(message)
        self.code, self.reason, self.message, self.details = code, reason, message, details

    def body(self) -> Object:
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        return status | ({"details": self.details} if self.details else {})


def not_found(path: str = "") -> Failure:
    """Nothing is served at this address."""
    return Failure(404, "NotFound", "the server could not find the requested resource" + (f" ({path})" if path else ""))


@dataclass(frozen=True)
class Request:
    """One request. Names of `headers` are lower case; both they and `query` may have several values."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, list[str]]
    body: bytes = field(repr=False)

    def asked(self, name: str, default: str = "") -> str:
        """A query parameter."""
        return self.query.get(name, [default])[-1]

    def is_asked(self, name: str) -> bool:
        """A query parameter that is true or false."""
        return self.asked(name).lower() in ("true", "1")

    def header(self, name: str) -> str:
        return ", ".join(self.headers.get(name, ()))

    @property
    def upgrade(self) -> str:
        """The protocol that the client wants to switch to, lower case."""
        return self.header("upgrade").lower() if "upgrade" in self.header("connection").lower() else ""

    def object(self) -> Object:
        """The body. Raises Failure."""
        try:
            value = (
                protobuf.decode(self.body)
                if protobuf.MEDIA_TYPE in self.header("content-type")
                else json.loads(self.body)
            )
        except ValueError as error:
            raise Failure(400, "BadRequest", f"the body cannot be read: {error}") from None
        if not isinstance(value, dict):
            raise Failure(400, "BadRequest", "the body is not an object")
        return value


class Connection:
    """HTTP/1.1 as a server."""

    def __init__(self, stream: TlsStream) -> None:
        self.stream = stream
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT)

    async def request(self) -> Request | None:
        """The next one, with its body; None at the end. Raises h11.RemoteProtocolError."""
        head = await self._event()
        if not isinstance(head, h11.Request):
            return None
        if self._http.they_are_waiting_for_100_continue:
            await self._send(h11.InformationalResponse(status_code=100, headers=[]))
        body = bytearray()
        while isinstance(event := await self._event(), h11.Data):
            body += event.data
            if len(body) > BODY_LIMIT:
                return None
        url = urlsplit(head.target.decode())
        headers: dict[str, list[str]] = {}
        for name, value in head.headers:
            headers.setdefault(name.decode(), []).append(value.decode())
        query = parse_qs(url.query, keep_blank_values=True)
        return Request(head.method.decode(), unquote(url.path), query, headers, bytes(body))

    async def answer(self, code: int, body: Object | str) -> None:
        """All of it at once."""
        text = isinstance(body, str)
        content = body.encode() if isinstance(body, str) else json.dumps(body, separators=(",", ":")).encode()
        length = ("Content-Length", str(len(content)))
        response = self._response(code, "text/plain; charset=utf-8" if text else "application/json", length)
        await self._send(response, h11.Data(data=content), h11.EndOfMessage())

    async def begin(self, kind: str = "application/json") -> None:
        """A stream of pieces."""
        await self._send(self._response(200, kind))

    async def piece(self, data: bytes) -> None:
        await self._send(h11.Data(data=data))

    async def line(self, value: Object) -> None:
        """A piece that is one line of JSON."""
        await self.piece(json.dumps(value, separators=(",", ":")).encode() + b"\n")

    async def end(self) -> None:
        await self._send(h11.EndOfMessage())

    async def left(self) -> None:
        """Wait until the client closes the connection. Raises OSError."""
        while await self.stream.read():
            pass

    async def switch(self, headers: Iterable[tuple[str, str]]) -> bytes:
        """Switch protocols; what the client has sent in the new one already."""
        response = h11.InformationalResponse(status_code=101, headers=list(headers), reason="Switching Protocols")
        await self._send(response)
        return self._http.trailing_data[0]

    def again(self) -> bool:
        """Whether another request may come."""
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            return True
        return False

    def _response(self, code: int, kind: str, *more: tuple[str, str]) -> h11.Response:
        headers = [("Content-Type", kind), ("Cache-Control", "no-cache, private"), *more]
        return h11.Response(status_code=code, headers=headers, reason=HTTPStatus(code).phrase)

    async def _event(self) -> h11.Event | type[h11.PAUSED]:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self.stream.read())
        return event  # type: ignore[return-value]

    async def _send(self, *events: h11.Event) -> None:
        await self.stream.write(b"".join(self._http.send(event) or b"" for event in events))
