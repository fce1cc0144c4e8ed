"""`auth.AuthService`: talosctl registers the key it will sign calls with, and waits until a person has accepted it.

Nothing here asks who there is: an unknown address is answered like a known one, as late, and its key is never accepted.
Metadata that says which node a call is for is not looked at, as talosctl sends it with these calls too.
"""

import asyncio
import contextlib
import logging
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, Protocol, TypeVar

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError, Message

from nodeagent.caller import caller_of
from nodeagent.pace import Pace
from nodeagent.siderolink.turns import origin
from talos import openpgp, signing
from talos.gen.omni import auth_pb2

SERVICE = "auth.AuthService"

LONGEST = timedelta(hours=8)
"""How long a person's key may live."""

PATIENCE = 300.0
"""Seconds that a caller waits for a person."""

ANSWER_AFTER = 0.25
"""Seconds after which a registration is answered, whatever it took: how long it took tells nothing."""

WAITING_OF_ONE, WAITING = 32, 4096
"""Callers that wait at the same time, of one source and of all."""

_ADDRESS_LIMIT, _KEY_LIMIT, _ID_LIMIT = 254, 16 * 1024, 64

log = logging.getLogger(__name__)

Request = TypeVar("Request", bound=Message)
_Handler = Callable[[Any, Any, str], Awaitable[Message]]


@dataclass(frozen=True)
class NewKey:
    """A key that somebody holds and wants accepted; it was looked at and is a good one."""

    kind: str  # of `talos.signing`: pgp, plain
    fingerprint: str
    public: bytes  # armored, or PEM
    name: str  # what its holder calls it
    expires: datetime
    role: str = ""  # the most it asks for; empty: as much as its holder


class KeyRefused(Exception):
    """A call is refused with a gRPC status code name (`UNAUTHENTICATED`, ...) and a text for the caller."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


class KeyRegistry(Protocol):
    """Who has which keys."""

    async def register(self, email: str, key: NewKey, source: str) -> str:
        """The address of the page on which the person of `email` accepts the key; one where nothing waits, if there is
        no such person. Raises KeyRefused."""

    async def accepted(self, fingerprint: str) -> bool:
        """Whether calls signed with this key are taken now."""

    async def revoke(self, metadata: Mapping[str, Sequence[str]], method: str, fingerprint: str, source: str) -> None:
        """End a key of the one who signed this call. Raises KeyRefused."""


class AuthServer:
    """Answers registrations and those who wait. `home` is the address that people sign in at."""

    def __init__(
        self, registry: KeyRegistry, home: str, patience: float = PATIENCE, answer_after: float = ANSWER_AFTER
    ) -> None:
        self._registry, self._home, self._patience, self._answer_after = registry, home, patience, answer_after
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)  # by fingerprint
        self._sources: Counter[str] = Counter()
        self._by_source, self._by_email = Pace(burst=10, per_minute=20), Pace(burst=30, per_minute=30)
        self._waits = Pace(burst=20, per_minute=60)

    def add_to(self, server: grpc.aio.Server) -> None:
        """Answer on this gRPC server."""
        handlers = {
            "RegisterPublicKey": _unary(auth_pb2.RegisterPublicKeyRequest, self._register),
            "AwaitPublicKeyConfirmation": _unary(auth_pb2.AwaitPublicKeyConfirmationRequest, self._await),
            "ConfirmPublicKey": _unary(auth_pb2.ConfirmPublicKeyRequest, self._confirm),
            "RevokePublicKey": _unary(auth_pb2.RevokePublicKeyRequest, self._revoke),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    @property
    def awaited(self) -> bool:
        """Whether anybody waits."""
        return bool(self._waiting)

    def wake(self, fingerprint: str | None = None) -> None:
        """Let those who wait for a key look again; all of them without one."""
        woken = [fingerprint] if fingerprint is not None else list(self._waiting)
        for one in woken:
            for event in self._waiting.get(one, ()):
                event.set()

    async def _register(self, request: auth_pb2.RegisterPublicKeyRequest, context: Any, source: str) -> Message:
        email = request.identity.email.strip().lower()
        if "@" not in email or len(email) > _ADDRESS_LIMIT or not email.isprintable():
            raise KeyRefused("INVALID_ARGUMENT", "identity has to be the e-mail address of the person who signs in")
        if not (self._by_source.allows(origin(source)) and self._by_email.allows(email)):
            raise KeyRefused("RESOURCE_EXHAUSTED", "too many keys are being registered; wait a minute and try again")
        key = read_key(request, datetime.now(UTC))
        url, _ = await asyncio.gather(self._registry.register(email, key, source), asyncio.sleep(self._answer_after))
        return auth_pb2.RegisterPublicKeyResponse(login_url=url, public_key_id=key.fingerprint)

    async def _await(self, request: auth_pb2.AwaitPublicKeyConfirmationRequest, context: Any, source: str) -> Message:
        fingerprint = _id(request.public_key_id)
        with self._place(fingerprint, origin(source)) as look, contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                while not await self._registry.accepted(fingerprint):
                    await look.wait()
                    look.clear()
            return Empty()
        text = (
            f"nobody accepted the key in {self._patience / 60:.0f} minutes; run the command again, sign in and accept"
        )
        raise KeyRefused("DEADLINE_EXCEEDED", text)

    @contextlib.contextmanager
    def _place(self, fingerprint: str, source: str) -> Iterator[asyncio.Event]:
        """What is set when there is something new to see. Raises KeyRefused when too many wait."""
        full = self._sources[source] >= WAITING_OF_ONE or self._sources.total() >= WAITING
        if full or not self._waits.allows(source):
            raise KeyRefused("RESOURCE_EXHAUSTED", "too many wait for a key to be accepted; try again in a minute")
        look = asyncio.Event()
        self._waiting[fingerprint].add(look)
        self._sources[source] += 1
        try:
            yield look
        finally:
            self._sources -= Counter([source])
            self._waiting[fingerprint].discard(look)
            if not self._waiting[fingerprint]:
                del self._waiting[fingerprint]

    async def _confirm(self, request: auth_pb2.ConfirmPublicKeyRequest, context: Any, source: str) -> Message:
        text = f"keys are accepted in a browser: open the address that was shown, or sign in at {self._home}"
        raise KeyRefused("FAILED_PRECONDITION", text)

    async def _revoke(self, request: auth_pb2.RevokePublicKeyRequest, context: Any, source: str) -> Message:
        metadata: dict[str, list[str]] = {}
        for name, value in context.invocation_metadata() or ():
            if isinstance(value, str):
                metadata.setdefault(name, []).append(value)
        fingerprint = _id(request.public_key_id)
        await self._registry.revoke(metadata, f"/{SERVICE}/RevokePublicKey", fingerprint, source)
        return Empty()


def read_key(request: auth_pb2.RegisterPublicKeyRequest, now: datetime) -> NewKey:
    """The key of a registration. Raises KeyRefused unless it is one of a person, and good now."""
    role = request.role.lower() if request.skip_user_role else ""
    given = request.public_key
    try:
        if given.webauthn_data:
            raise KeyRefused("UNIMPLEMENTED", "keys of security devices cannot sign calls here; use an OpenPGP key")
        if given.HasField("plain_key"):
            return _plain(given.plain_key, role, now)
        if len(given.pgp_data) > _KEY_LIMIT:
            raise ValueError(f"the key is longer than {_KEY_LIMIT // 1024} KiB")
        key = openpgp.read_public(given.pgp_data)
        expires = key.check_lifetime(now, LONGEST)
        name = key.user_id.removesuffix(f"<{key.email}>").strip()
        return NewKey(signing.PGP, key.fingerprint, key.armored.encode(), _shown(name), expires, role)
    except ValueError as error:
        raise KeyRefused("INVALID_ARGUMENT", f"public_key: {error}") from None


def _plain(given: auth_pb2.PublicKey.Plain, role: str, now: datetime) -> NewKey:
    if len(given.key_pem) > _KEY_LIMIT:
        raise ValueError(f"the key is longer than {_KEY_LIMIT // 1024} KiB")
    key = signing.PlainKey.from_pem(given.key_pem.encode())
    try:
        begin, end = given.not_before.ToDatetime(UTC), given.not_after.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise ValueError("not_before and not_after are not both times") from None
    if not begin < end:
        raise ValueError("not_after has to be after not_before")
    if end - begin > LONGEST:
        raise ValueError(f"the key lives too long; {LONGEST // timedelta(hours=1)} hours at most")
    if not begin - openpgp.SKEW <= now < end + openpgp.SKEW:
        raise ValueError("the key has expired, or is not valid yet; are clocks right?")
    return NewKey(signing.PLAIN, key.fingerprint, key.pem, "browser", end, role)


def _shown(name: str) -> str:
    """A name that a stranger gave, fit to be shown."""
    return "".join(letter if letter.isprintable() else "?" for letter in name[:80]) or "talosctl"


def _id(text: str) -> str:
    if not text or len(text) > _ID_LIMIT or not text.isascii() or not text.isprintable():
        raise KeyRefused("INVALID_ARGUMENT", "public_key_id has to be the fingerprint of a key")
    return text


def _unary(kind: type[Request], handle: _Handler) -> "grpc.RpcMethodHandler[Any, Any]":
    """A method that reads its message itself: grpcio calls a malformed one an internal error, which it is not."""

    async def call(data: bytes, context: Any) -> Message:
        caller = caller_of(context.peer())
        try:
            request = kind.FromString(data)
        except DecodeError:
            await _refuse(context, "INVALID_ARGUMENT", f"the message is not a {kind.DESCRIPTOR.name}")
        try:
            return await handle(request, context, caller.address if caller else "")
        except KeyRefused as refusal:
            await _refuse(context, refusal.code, refusal.text)
        except Exception:
            log.exception("%s failed", kind.DESCRIPTOR.name)
            await _refuse(context, "UNAVAILABLE", "the server could not look this up; try again")

    return grpc.unary_unary_rpc_method_handler(call, response_serializer=lambda message: message.SerializeToString())


async def _refuse(context: Any, code: str, text: str) -> NoReturn:
    await context.abort(grpc.StatusCode[code], text)
    raise AssertionError("abort does not return")
