"""Heads of requests and answers between HTTP/2 and HTTP/1.1. Pure.

h2 has looked at pseudo-headers, the case of names, and line breaks in values before; h11 refuses what is no token, no
value or no target of HTTP/1.1. What is left is here: the framing of bodies, hosts, and what belongs to a connection.
"""

import re
from collections.abc import Iterable

import h11

Field = tuple[bytes, bytes]

_FORBIDDEN = {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
"""Headers that HTTP/2 does not know."""

_CONNECTION = _FORBIDDEN | {b"te", b"trailer"}
"""Headers that belong to one connection."""

_OURS = {b"host", b"cookie", b"content-length"}
"""Headers that are put together anew."""

_WITH_BODY = {b"POST", b"PUT", b"PATCH"}
"""Methods whose requests say that they have no body."""

_PATH = re.compile(rb"/[!-~]*")
_HOST = re.compile(rb"[0-9A-Za-z._:\[\]-]+")
_LENGTH = re.compile(rb"[0-9]{1,18}")


class Refused(Exception):
    """A request that no upstream gets to see; the client gets the status and the sentence."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


def request(fields: Iterable[Field], ended: bool) -> h11.Request:
    """The request of a header block; `ended` when no body follows. Raises Refused."""
    pseudo = {name: value for name, value in fields if name.startswith(b":")}
    plain = [(name, value) for name, value in fields if not name.startswith(b":")]
    method, target = pseudo.get(b":method", b""), pseudo.get(b":path", b"")
    if method == b"CONNECT":
        raise Refused(501, "No tunnels and no websockets here: open them over HTTP/1.1.")
    if not _PATH.fullmatch(target) and (method, target) != (b"OPTIONS", b"*"):
        raise Refused(400, "The path is no path.")
    if any(name == b"content-type" and value.lower().startswith(b"application/grpc") for name, value in plain):
        raise Refused(415, "gRPC is answered on connections whose TLS offers the protocol h2 alone (ALPN).")
    host = pseudo.get(b":authority") or _first(plain, b"host")
    if not _HOST.fullmatch(host):
        raise Refused(400, "The host is no host.")
    if any(name in _FORBIDDEN for name, _ in plain):
        raise Refused(400, "A header that belongs to a connection of HTTP/1.1.")
    headers = [(b"host", host), *((name, value) for name, value in plain if name not in _CONNECTION | _OURS)]
    if cookies := [value for name, value in plain if name == b"cookie"]:
        headers.append((b"cookie", b"; ".join(cookies)))
    headers += _framing(method, [value for name, value in plain if name == b"content-length"], ended)
    try:
        return h11.Request(method=method, target=target, headers=headers)
    except h11.LocalProtocolError as error:
        raise Refused(400, "The request cannot be said in HTTP/1.1.") from error


def answer(head: h11.Response | h11.InformationalResponse) -> list[Field]:
    """The header block of an answer."""
    named = {
        word.strip().lower() for name, value in head.headers if name == b"connection" for word in value.split(b",")
    }
    fields = [(bytes(name), bytes(value)) for name, value in head.headers if name not in _CONNECTION | named]
    return [(b":status", b"%d" % head.status_code), *fields]


def _framing(method: bytes, lengths: list[bytes], ended: bool) -> list[Field]:
    """How the end of a body is known."""
    if lengths and (len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0])):
        raise Refused(400, "The content length is no number, or there are several.")
    if lengths:
        if ended and int(lengths[0]):
            raise Refused(400, "A content length, but no content.")
        return [(b"content-length", lengths[0])]
    if not ended:
        return [(b"transfer-encoding", b"chunked")]
    return [(b"content-length", b"0")] if method in _WITH_BODY else []


def _first(fields: Iterable[Field], wanted: bytes) -> bytes:
    return next((value for name, value in fields if name == wanted), b"")
