"""What kubelogin asks of our OIDC provider, judged by OAuth (RFC 6749, 7636, 8252) and OpenID Connect. Pure.

There is one client, `native`, which has no secret and therefore proves by PKCE that the code it brings is its own. It
listens on the user's own machine, or shows them where to type a code: nothing is ever sent elsewhere.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

CLIENT = "native"
OUT_OF_BAND = "urn:ietf:wg:oauth:2.0:oob"
"""In the place of an address: the person types the code into the terminal."""

_LOOPBACK = re.compile(r"http://(localhost|127\.0\.0\.1|\[::1\]):([1-9][0-9]{0,4})/?")
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
_SCOPE = re.compile(r"cluster:([a-z0-9][a-z0-9.-]{0,62})")
_LONGEST = 1024
_UNDERSTOOD = (
    "response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge", "code_challenge_method",
    "response_mode", "prompt", "request", "request_uri",
)  # fmt: skip

Query = Mapping[str, Sequence[str]]


class Misdirected(Exception):
    """There is nobody to send an answer to: it is shown to the person instead."""


class Refused(Exception):
    """An error of OAuth: `code` for programs, the text for people; `state` goes back with it."""

    def __init__(self, code: str, text: str) -> None:
        self.code = code
        super().__init__(text)


@dataclass(frozen=True)
class Wish:
    """What `/authorize` was asked for."""

    redirect_uri: str
    state: str
    cluster: str
    nonce: str
    challenge: str  # of PKCE, S256


def destination(query: Query) -> tuple[str, str]:
    """Where an answer goes, and the state that goes with it. Raises `Misdirected`: then nothing is sent anywhere."""
    client = _once(query, "client_id")
    if client != CLIENT:
        raise Misdirected(f"this provider knows one client, {CLIENT}: give kubelogin --oidc-client-id={CLIENT}")
    uri = _once(query, "redirect_uri")
    if uri is None or not is_own_machine(uri):
        raise Misdirected("redirect_uri has to be http://localhost:PORT, and is none on the user's own machine")
    state = _once(query, "state") or ""
    return uri, state if _plain(state) else ""


def is_own_machine(uri: str) -> bool:
    """Whether an answer may go there: a port of the user's own machine, or nowhere at all."""
    match = _LOOPBACK.fullmatch(uri)
    return uri == OUT_OF_BAND or (match is not None and int(match[2]) < 65536)


def wish(query: Query) -> Wish:
    """What is asked for, once `destination` is known. Raises `Refused`."""
    redirect_uri, state = destination(query)
    given = {name: _once(query, name) for name in _UNDERSTOOD}
    if any(len(query.get(name, ())) > 1 for name in _UNDERSTOOD):
        raise Refused("invalid_request", "a parameter is there twice")
    if any(not _plain(value) for value in given.values() if value is not None):
        raise Refused("invalid_request", f"a parameter is longer than {_LONGEST} characters, or cannot be printed")
    if given["request"] is not None:
        raise Refused("request_not_supported", "request objects are not understood here")
    if given["request_uri"] is not None:
        raise Refused("request_uri_not_supported", "request objects are not understood here")
    if given["response_type"] != "code":
        raise Refused("unsupported_response_type", "response_type has to be code")
    if given["response_mode"] not in (None, "query"):
        raise Refused("invalid_request", "response_mode has to be query")
    if "none" in (given["prompt"] or "").split():
        raise Refused("interaction_required", "a person has to grant this in the browser")
    if given["code_challenge_method"] != "S256" or not _CHALLENGE.fullmatch(given["code_challenge"] or ""):
        raise Refused("invalid_request", "PKCE is needed: code_challenge, and code_challenge_method=S256")
    return Wish(
        redirect_uri, state, _cluster(given["scope"] or ""), given["nonce"] or "", given["code_challenge"] or ""
    )


def _cluster(scope: str) -> str:
    """The cluster of a scope. Scopes that mean nothing here are ignored (OpenID Connect Core 3.1.2.1)."""
    scopes = scope.split()
    if "openid" not in scopes:
        raise Refused("invalid_scope", "the scope has to have openid")
    names = [match[1] for match in map(_SCOPE.fullmatch, scopes) if match]
    if len(names) != 1 or sum(one.startswith("cluster:") for one in scopes) != 1:
        raise Refused("invalid_scope", "the scope has to name one cluster: --oidc-extra-scope=cluster:NAME")
    return names[0]


def proves(verifier: str, challenge: str) -> bool:
    """Whether a PKCE verifier is the one of a challenge (RFC 7636 4.6)."""
    if not _VERIFIER.fullmatch(verifier):
        return False
    digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    return hmac.compare_digest(digest, challenge)


def answer(redirect_uri: str, **values: str) -> str:
    """The address that brings an answer to the program; empty values stay out."""
    return f"{redirect_uri}?{urlencode({name: value for name, value in values.items() if value})}"


def _once(query: Query, name: str) -> str | None:
    """A parameter that is there once; one without a value counts as missing (RFC 6749 3.1)."""
    values = query.get(name, ())
    return values[0] or None if len(values) == 1 else None


def _plain(text: str) -> bool:
    return len(text) <= _LONGEST and text.isprintable()
