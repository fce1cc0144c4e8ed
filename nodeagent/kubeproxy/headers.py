"""What of a client's headers and address goes to the cluster, and what of the cluster's headers comes back.

The proxy is an administrator there and says on whose behalf it asks. So nothing that a client sends may say who asks,
in any spelling, and nothing may be read by the cluster as another request than it was here.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

Header = tuple[bytes, bytes]

UPGRADES = frozenset({b"spdy/3.1", b"websocket"})
"""What exec, attach and port-forward switch to."""

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_BAD_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_SPELLING = re.compile(rb"[^a-z0-9]")
_TARGET = re.compile(rb"/[\x21-\x22\x24-\x7e]*")  # visible ASCII without `#`
_ADDRESS = re.compile(rb"(/k8s/([A-Za-z0-9._-]+)/([A-Za-z0-9._-]+))(?=[/?]|$)")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_HIDDEN = re.compile(rb"%(2f|5c|00|25)|\\", re.IGNORECASE)
_PROXIED = re.compile(rb"/api/v1/(nodes|namespaces/[^/]+/(pods|services))/[^/]+/proxy/")

_IDENTITY = (b"impersonate", b"xremote", b"xforwarded")
_HOP_BY_HOP = frozenset(
    {b"connection", b"keepalive", b"proxyconnection", b"proxyauthenticate", b"proxyauthorization", b"te", b"trailer"}
    | {b"trailers", b"transferencoding", b"upgrade", b"http2settings"}
)
_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"host"})
_SINGLE = frozenset({b"content-length", b"transfer-encoding", b"host", b"authorization", b"upgrade"})
_NOT_TO_CLUSTER = _HOP_BY_HOP | {
    b"authorization", b"cookie", b"host", b"contentlength", b"expect", b"forwarded", b"xrealip", b"via",
}  # fmt: skip
_NOT_TO_CLIENT = _HOP_BY_HOP | {
    b"setcookie", b"stricttransportsecurity", b"altsvc", b"clearsitedata", b"nel", b"reportto", b"serviceworkerallowed",
    b"xcontenttypeoptions",
}  # fmt: skip
"""Most of them would act on our other pages, which have the same host."""

_AS_IT_SAYS = (b"X-Content-Type-Options", b"nosniff")
"""No browser takes what a cluster says for a page or program of ours."""

_BELOW = re.compile(rb"[^/\\:\s]*(?:[/?#].*)?")
"""A redirection without host: relative to what was asked for."""

_WEBSOCKET_TOKEN = b"base64url.bearer.authorization.k8s.io."
"""Kubernetes takes a bearer token in a websocket's list of protocols, too."""


class Ambiguous(ValueError):
    """Two readers could take the request for two different ones; the text says why."""


class Elsewhere(ValueError):
    """The address is not of a cluster's API."""


@dataclass(frozen=True)
class Address:
    """Where a request goes to."""

    prefix: str
    organisation: str
    cluster: str
    target: str  # path and query as the cluster gets them


@dataclass(frozen=True)
class Head:
    """What a client's headers say, who asks left out."""

    kept: tuple[Header, ...]
    token: str  # of `Authorization: Bearer`; empty without one
    command: str  # of `Kubectl-Command`
    upgrade: bytes  # one of UPGRADES, or empty


def address(target: bytes) -> Address:
    """Take a request's target apart. Raises Elsewhere or Ambiguous."""
    if not target.startswith(b"/"):
        raise Ambiguous("the request's target is not a path")
    found = _ADDRESS.match(target)
    if not found:
        raise Elsewhere("this address is not of a cluster's API: it begins with /k8s/ORGANISATION/CLUSTER/")
    prefix, organisation, cluster = (part.decode() for part in found.groups())
    rest = target[found.end() :]
    if not rest.startswith(b"/"):
        rest = b"/" + rest
    if {organisation, cluster} & {".", ".."} or not _TARGET.fullmatch(rest) or _BAD_ESCAPE.search(rest):
        raise Ambiguous("the request's path has characters that no path has")
    _check_path(rest.partition(b"?")[0])
    return Address(prefix, organisation, cluster, rest.decode())


def _check_path(path: bytes) -> None:
    """Whoever reads the path, decoded or not, reads the same resource. What follows `proxy/` is another program's."""
    proxied = _PROXIED.match(path)
    ours, theirs = (path[: proxied.end()], path[proxied.end() :]) if proxied else (path, b"")
    if _HIDDEN.search(ours) or b"//" in ours:
        raise Ambiguous("the request's path hides a slash")
    if b".." in re.split(rb"[/\\]", _decoded(theirs)):
        raise Ambiguous("the request's path leads upwards")
    if {b".", b".."} & set(unquote_to_bytes(ours).split(b"/")):
        raise Ambiguous("the request's path leads upwards")


def _decoded(path: bytes) -> bytes:
    """With what is encoded twice decoded twice, and so on."""
    while (once := unquote_to_bytes(path)) != path:
        path = once
    return path


def understand(headers: Iterable[Header]) -> Head:
    """What goes on of a client's headers, in their order. Raises Ambiguous."""
    headers = list(headers)
    values: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        _check(name, value)
        values.setdefault(name.lower(), []).append(value.strip(b" \t"))
    for name in _SINGLE:
        if len(values.get(name, ())) > 1:
            raise Ambiguous(f"the request has several {name.decode()} headers")
    framing = _framing(values)
    named = [token.strip(b" \t").lower() for line in values.get(b"connection", ()) for token in line.split(b",")]
    dropped = _NOT_TO_CLUSTER | {_spelling(token) for token in named}
    kept = [
        (name, value)
        for name, value in ((name, _without_token(name, value.strip(b" \t"))) for name, value in headers)
        if (spelling := _spelling(name)) not in dropped and not spelling.startswith(_IDENTITY) and value is not None
    ]
    upgrade = values.get(b"upgrade", [b""])[0].lower()
    return Head(
        kept=(*kept, *framing),
        token=_bearer(values.get(b"authorization", [b""])[0]),
        command=values.get(b"kubectl-command", [b""])[0].decode("latin-1"),
        upgrade=upgrade if b"upgrade" in named and upgrade in UPGRADES else b"",
    )


def _check(name: bytes, value: bytes) -> None:
    if not _TOKEN.fullmatch(name):
        raise Ambiguous("the request has a header whose name is none")
    if _BAD_VALUE.search(value):
        raise Ambiguous(f"the value of the request's header {name.decode()} has control characters")
    spelled = name.lower().replace(b"_", b"-")
    if spelled in _FRAMING and spelled != name.lower():
        raise Ambiguous(f"the request has a header {name.decode()}, which some take for {spelled.decode()}")


def _framing(values: dict[bytes, list[bytes]]) -> list[Header]:
    """The header that says how long the body is."""
    length, encoding = values.get(b"content-length"), values.get(b"transfer-encoding")
    if length and encoding:
        raise Ambiguous("the request has both content-length and transfer-encoding")
    if encoding:
        if encoding[0].lower() != b"chunked":
            raise Ambiguous("the request's transfer-encoding is not chunked")
        return [(b"Transfer-Encoding", b"chunked")]
    if length:
        if not re.fullmatch(rb"[0-9]{1,18}", length[0]):
            raise Ambiguous("the request's content-length is not a number")
        return [(b"Content-Length", length[0])]
    return []


def _without_token(name: bytes, value: bytes) -> bytes | None:
    """A header's value less a bearer token in it; None when nothing is left."""
    if _spelling(name) != b"secwebsocketprotocol" or _WEBSOCKET_TOKEN not in value.lower():
        return value
    protocols = [protocol.strip(b" \t") for protocol in value.split(b",")]
    return b", ".join(item for item in protocols if not item.lower().startswith(_WEBSOCKET_TOKEN)) or None


def _bearer(value: bytes) -> str:
    scheme, _, token = value.partition(b" ")
    return token.strip(b" \t").decode("latin-1") if scheme.lower() == b"bearer" else ""


def _spelling(name: bytes) -> bytes:
    """What all spellings of a name have in common."""
    return _SPELLING.sub(b"", name.lower())


def to_cluster(head: Head, user: str, groups: Iterable[str], caller: str) -> list[Header]:
    """All headers of the request as the cluster gets it: on behalf of `user`, called from the address `caller`.

    Raises ValueError for a user or group that no header can hold.
    """
    said = [(b"Impersonate-User", user), *((b"Impersonate-Group", group) for group in groups)]
    if caller:
        said.append((b"X-Forwarded-For", caller))
    headers: list[Header] = [(b"Host", b"kubernetes"), *head.kept]
    for name, text in said:
        value = text.encode()
        if not value or _BAD_VALUE.search(value) or value.strip() != value:
            raise ValueError(f"{name.decode()} cannot be {text!r}")
        headers.append((name, value))
    if head.upgrade:
        headers += [(b"Connection", b"Upgrade"), (b"Upgrade", head.upgrade)]
    return headers


def to_client(headers: Iterable[Header], prefix: str) -> list[Header]:
    """An answer's headers as the client gets them. Redirections stay at this host; those with a path below `prefix`."""
    headers = list(headers)
    named = {
        _spelling(token)
        for name, value in headers
        if name.lower() == b"connection"
        for token in value.split(b",")
    } - {b"contentlength", b"contenttype"}  # fmt: skip
    dropped = _NOT_TO_CLIENT | named
    kept = [
        (name, said)
        for name, value in headers
        if _spelling(name) not in dropped and (said := _within(name, value, prefix)) is not None
    ]
    return [*kept, _AS_IT_SAYS]


def _within(name: bytes, value: bytes, prefix: str) -> bytes | None:
    """A header's value, a redirection's led below `prefix`. None for one to another host: whoever follows it shows
    their token there."""
    if _spelling(name) != b"location":
        return value
    if value.startswith(b"/"):
        return prefix.encode() + value
    return value if _BELOW.fullmatch(value) else None
