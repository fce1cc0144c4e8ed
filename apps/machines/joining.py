"""Finding and storing what `Provision` is decided on: the tenant, the token, the links. The decision is `decide.py`'s.

Everything here runs in a thread of the gateway, one short transaction a call.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db import IntegrityError
from django.db.models import F
from django.utils import timezone

from apps.access.actor import Actor
from apps.audit.actions import record
from apps.machines.holders import tell
from apps.machines.models import AgentTarget, JoinToken, Link, Machine, MachineObservation, MachineStatus
from apps.reconcile.outbox import changed, hint
from apps.tenants import lookups
from apps.tenants.ids import uuid7
from apps.tenants.scope import tenant_scope
from apps.tenants.sealing import seal, unseal
from nodeagent.ports import ProvisionRefused, ProvisionRequest
from nodeagent.siderolink.decide import Act, Facts, KnownLink, Refusal, decide
from talos import jointoken, siderolink
from talos.jointoken import NodeUniqueToken

PENDING_LIMIT = 5000
"""Pending links an organisation may have; beyond it new machines are refused until some register or go."""

_PENDING_LIMIT_TEXT = "machine registration limit reached: too many machines are waiting to be registered"


class NoToken(ProvisionRefused):
    """Neither token of the call lets anybody in."""

    def __init__(self) -> None:
        super().__init__("PERMISSION_DENIED", "unauthorized: the join token is unknown, revoked or expired")


@dataclass(frozen=True)
class _Claim:
    """The organisation that a call belongs to, and by which right."""

    organisation_id: UUID
    join_token_id: UUID | None  # an active join token was given
    by_unique_token: UUID | None  # link that holds exactly the given unique token


def token_hash(token: str) -> bytes:
    """What a token is found by: SHA-256 of its text."""
    return hashlib.sha256(token.encode()).digest()


def usable(token: JoinToken) -> bool:
    """Whether machines may join with this token now."""
    return token.revoked_at is None and (token.expires_at is None or token.expires_at > timezone.now())


def read_unique_token(link: Link) -> NodeUniqueToken | None:
    """The node unique token stored with a link."""
    if link.sealed_unique_token is None:
        return None
    return jointoken.parse_node_token(unseal(bytes(link.sealed_unique_token), link.organisation_id, link.id).decode())


def write_unique_token(link: Link, token: NodeUniqueToken) -> None:
    """Set the link's unique token, sealed and findable; the caller saves."""
    text = token.encode()
    link.sealed_unique_token = seal(text.encode(), link.organisation_id, link.id)
    link.unique_token_hash = token_hash(token.token)


def provision(request: ProvisionRequest, stream_alive: Callable[[Link], bool], gateway: str) -> Link:
    """Decide one `Provision` call, which came to `gateway`, and store its outcome. Raises `ProvisionRefused`.

    `stream_alive` tells whether the tunnel of a link is open, here or at another gateway.
    """
    try:
        unique = jointoken.parse_node_token(request.unique_token or "")
        if unique and not unique.token:
            unique = None  # proves nothing, so it is none
        claim = _claim(request, unique)
    except ValueError as error:
        raise ProvisionRefused("PERMISSION_DENIED", f"unauthorized: {error}") from None
    if claim is None:
        raise NoToken
    for attempt in range(3):
        try:
            with tenant_scope(claim.organisation_id):
                return _provision_in(claim, request, unique, stream_alive, gateway)
        except IntegrityError:  # the same machine called twice at once: the second look sees the first's row
            if attempt == 2:
                raise
    raise AssertionError("unreachable")


def _claim(request: ProvisionRequest, unique: NodeUniqueToken | None) -> _Claim | None:
    """Which organisation the call belongs to. The unique token of a registered machine beats a join token."""
    held = lookups.link_by_unique_token(token_hash(unique.token)) if unique else None
    token = active_join_token(request.join_token) if request.join_token else None
    if held and token and token[0] != held[0] and not _established(*held):
        held = None
    if held:
        same = token if token and token[0] == held[0] else None
        return _Claim(held[0], same[1] if same else None, held[1])
    return _Claim(token[0], token[1], None) if token else None


def _established(organisation_id: UUID, link_id: UUID) -> bool:
    with tenant_scope(organisation_id):
        return Link.objects.filter(id=link_id, state=Link.ESTABLISHED).exists()


def active_join_token(text: str) -> tuple[UUID, UUID] | None:
    """(organisation, join token) that let this in: a plain token by its hash, a signed one by a default token."""
    parsed = jointoken.parse(text)
    if parsed.version == "plain":
        found = lookups.join_token(token_hash(text))
        candidates: Iterable[tuple[UUID, UUID]] = [found] if found else []
    else:
        candidates = _signers(parsed)
    for organisation_id, token_id in candidates:
        with tenant_scope(organisation_id):
            row = JoinToken.objects.filter(id=token_id).first()
            if row and usable(row):
                return organisation_id, token_id
    return None


def _signers(parsed: jointoken.JoinToken) -> Iterator[tuple[UUID, UUID]]:
    """Default tokens that this signed token verifies under."""
    for organisation_id, token_id in lookups.default_join_tokens() if parsed.signature else ():
        with tenant_scope(organisation_id):
            row = JoinToken.objects.filter(id=token_id).first()
        if row and parsed.verify(unseal(bytes(row.sealed), organisation_id, token_id).decode()):
            yield organisation_id, token_id


def _provision_in(
    claim: _Claim,
    request: ProvisionRequest,
    unique: NodeUniqueToken | None,
    stream_alive: Callable[[Link], bool],
    gateway: str,
) -> Link:
    uuid = request.node_uuid.lower()
    by_key = Link.objects.select_for_update().filter(public_key=request.public_key).first()
    holder = (
        Link.objects.select_for_update().filter(id=claim.by_unique_token).first() if claim.by_unique_token else None
    )
    registered = holder if holder and holder.state == Link.ESTABLISHED else None
    by_uuid = Link.objects.select_for_update().filter(machine__uuid=uuid).first()
    foreign = lookups.link_by_public_key(request.public_key)
    facts = Facts(
        node_uuid=uuid,
        public_key=request.public_key,
        unique_token=unique,
        talos_version=request.talos_version,
        token_valid=claim.join_token_id is not None,
        by_unique_token=_known(registered, by_key),
        by_uuid=_known(by_uuid, by_key),
        key_elsewhere=(foreign is not None and foreign[0] != claim.organisation_id)
        or (by_key is not None and by_key.state == Link.ESTABLISHED and by_key not in (registered, by_uuid)),
    )
    act = decide(facts)
    if isinstance(act, Refusal):
        raise ProvisionRefused(act.code, act.text)
    known_before = by_key.id if by_key else None
    link = _apply(act, claim, request, unique, by_key, registered or by_uuid)
    _choose_holder(link, by_key, gateway)
    link.join_token_id = claim.join_token_id or link.join_token_id
    link.talos_version, link.source = (request.talos_version or "")[:60], request.source[:64]
    _choose_transport(link, request, stream_alive)
    link.save()
    for changed_id in {link.id, known_before or link.id}:
        tell(changed_id, claim.organisation_id, gateway)
    if link.machine_id:
        changed("machine", link.machine_id, claim.organisation_id)
    else:
        changed("link", link.id, claim.organisation_id)
    return link


def _known(link: Link | None, caller: Link | None) -> KnownLink | None:
    """What decides about a registered machine; `caller` is the link under the key that the call came with."""
    if link is None or link.machine is None:
        return None
    observed = MachineObservation.objects.filter(machine_id=link.machine_id).first()
    return KnownLink(
        node_uuid=link.machine.uuid,
        public_key=link.public_key or "",
        unique_token=read_unique_token(link),
        installed=bool(observed and observed.installed),
        over_agent=link.transport == Link.AGENT,
        in_cluster=hasattr(link.machine, "cluster_machine"),
        same_hardware=caller.fingerprint == link.fingerprint if caller and caller.fingerprint else None,
    )


def _apply(
    act: Act,
    claim: _Claim,
    request: ProvisionRequest,
    unique: NodeUniqueToken | None,
    by_key: Link | None,
    registered: Link | None,
) -> Link:
    """The link record after the decision, not yet saved."""
    pending = by_key if by_key and by_key.state == Link.PENDING else None
    match act:
        case Act.KEEP:
            assert registered is not None
            return registered
        case Act.PEND | Act.PEND_CONFLICT:
            link = pending or _new_pending(claim, request)
            link.claimed_uuid = request.node_uuid.lower()
            link.conflict = act is Act.PEND_CONFLICT
            return link
        case Act.RETURN | Act.ADOPT_TOKEN:
            assert registered is not None
            if pending:  # its key moves to the machine's own link
                pending.delete()
            registered.public_key = request.public_key
            if registered.transport == Link.AGENT:
                AgentTarget.objects.filter(machine=registered.machine).update(machine=None)
            if unique:
                write_unique_token(registered, unique)
            return registered
        case Act.REGISTER:
            assert unique is not None
            return _register(pending or _new_pending(claim, request), claim, request, unique)


def _new_pending(claim: _Claim, request: ProvisionRequest) -> Link:
    if Link.objects.filter(state=Link.PENDING).count() >= PENDING_LIMIT:
        raise ProvisionRefused("RESOURCE_EXHAUSTED", _PENDING_LIMIT_TEXT)
    return Link(
        id=uuid7(),
        organisation_id=claim.organisation_id,
        claimed_uuid=request.node_uuid.lower(),
        public_key=request.public_key,
        address=str(siderolink.random_address(siderolink.prefix())),
    )


def _register(link: Link, claim: _Claim, request: ProvisionRequest, unique: NodeUniqueToken) -> Link:
    uuid = request.node_uuid.lower()
    machine = establish(link, uuid)
    write_unique_token(link, unique)
    token = JoinToken.objects.filter(id=claim.join_token_id or link.join_token_id).first()
    if token:
        JoinToken.objects.filter(id=token.id).update(use_count=F("use_count") + 1, last_used_at=timezone.now())
    actor = Actor("machine", str(machine.id), uuid, claim.organisation_id, source=request.source)
    record(actor, "machine.join", "machine", machine.id, uuid, join_token=token.name if token else "")
    return link


def establish(link: Link, uuid: str) -> Machine:
    """The machine of this UUID, made if it is new, at the end of a link; the caller saves the link and audits."""
    machine = Machine.objects.filter(uuid=uuid).first() or Machine.new(uuid=uuid)
    MachineObservation.objects.get_or_create(machine=machine)
    MachineStatus.objects.get_or_create(machine=machine)
    link.machine, link.claimed_uuid, link.state, link.conflict = machine, uuid, Link.ESTABLISHED, False
    hint("machine", machine.id, link.organisation_id)
    return machine


def _choose_holder(link: Link, by_key: Link | None, gateway: str) -> None:
    """Who shook hands under this key holds the link; where nobody can have yet, the gateway that was called."""
    if by_key is None:
        link.gateway, link.alive, link.handshake_at = gateway, False, None
    elif by_key.id != link.id:
        link.gateway, link.alive, link.handshake_at = by_key.gateway, by_key.alive, by_key.handshake_at


def _choose_transport(link: Link, request: ProvisionRequest, stream_alive: Callable[[Link], bool]) -> None:
    """UDP or tunnel as the machine asks. A tunnel keeps its virtual address only while its stream lives."""
    link.transport = "grpc" if request.wants_tunnel else "udp"
    if not request.wants_tunnel:
        link.virtual_address = None
        return
    link.last_endpoint = ""
    if link.virtual_address is None or not stream_alive(link):
        link.virtual_address = str(siderolink.random_address(siderolink.prefix(purpose=siderolink.Purpose.VIRTUAL)))


def remember_endpoints(endpoints: list[tuple[UUID, UUID, str]]) -> None:
    """Keep (organisation, link, endpoint) of links seen over UDP, so that a restart finds their machines at once."""
    for organisation_id, link_id, endpoint in endpoints:
        with tenant_scope(organisation_id):
            Link.objects.filter(id=link_id).update(last_endpoint=endpoint)


def stored_links() -> set[UUID]:
    """Ids of all links of all organisations."""
    return {link_id for _, link_id in lookups.links()}


def drop_stale_pending(silent: Iterable[tuple[UUID, UUID]], life: timedelta, gateway: str) -> set[UUID]:
    """Remove those of the pending links (organisation, link) held by `gateway` whose machine has not called for `life`;
    their ids."""
    by_organisation: defaultdict[UUID, list[UUID]] = defaultdict(list)
    for organisation_id, link_id in silent:
        by_organisation[organisation_id].append(link_id)
    dropped: set[UUID] = set()
    for organisation_id, ids in by_organisation.items():
        with tenant_scope(organisation_id):
            stale = Link.objects.select_for_update().filter(
                id__in=ids, state=Link.PENDING, gateway=gateway, provisioned_at__lt=timezone.now() - life
            )
            found = list(stale.values_list("id", flat=True))
            Link.objects.filter(id__in=found).delete()
            for link_id in found:
                tell(link_id, organisation_id, gateway)
            dropped.update(found)
    return dropped
