"""The gate of the Kubernetes proxy: proves whose token it is, and says as whom they act in the cluster."""

import itertools
import time
from dataclasses import dataclass, field, replace
from uuid import UUID

from django.db import Error as DatabaseError

from apps.access.actor import Actor
from apps.access.calls import kubernetes_groups
from apps.access.check import Denied
from apps.access.facts import Facts
from apps.accounts import identity
from apps.accounts.models import AccessKey
from apps.audit.actions import Entry
from apps.proxies import audit, tokens
from apps.proxies.audit import Journal
from apps.proxies.callers import Callers, Ended, Key
from apps.proxies.live import KUBERNETES, Live, Open
from apps.proxies.memory import Memory
from apps.proxies.names import Names, Place
from apps.proxies.requests import Described, command, describe
from nodeagent.kubeproxy.ports import Passage, Refused, Request

UNPROVED = "this request shows no token; get a config with `omni kubeconfig`, whose user asks for one by itself"
FOREIGN = "this token was not signed by this organisation"
"""Also where there is no such organisation: nobody learns which ones there are."""


class KubernetesGate:
    """Decides about requests to Kubernetes APIs (`nodeagent.kubeproxy.ports.Gate`)."""

    def __init__(self, callers: Callers, names: Names, live: Live, journal: Journal) -> None:
        self._callers, self._names, self._live, self._journal = callers, names, live, journal
        self._organisations = Memory(identity.organisation_by_slug)
        self._tokens = Memory(_verified)
        self._turn = itertools.count()

    async def admit(self, request: Request) -> Passage:
        """Raises Refused. Nothing is looked up before it is proved whose request it is."""
        try:
            return await self._admit(request)
        except DatabaseError:
            raise Refused(503, "the database does not answer; try again in a moment") from None

    def changed(self, organisation_id: UUID) -> None:
        """Its clusters, keys or name are not what they were."""
        self._tokens.forget_all(lambda shown: shown.organisation_id == organisation_id)
        self._organisations.clear()

    def clear(self) -> None:
        """Anything may have changed."""
        self._tokens.clear()
        self._organisations.clear()

    async def _admit(self, request: Request) -> Passage:
        key, cluster_id = await self._prove(request)
        described = describe(request.method, request.target, request.upgrade)
        request_id, source = identity.new_request_id(), request.caller.address
        actor = key.nobody(request_id, source)
        try:
            actor = await self._act(key, request_id, source)
            place = await self._names.cluster(actor.organisation_id, request.cluster)
            if place is None or place.id != cluster_id:
                raise Refused(404, f"there is no cluster {request.cluster} any more that this token is for")
            groups = _groups(actor, place.facts)
            if place.administrator is None:
                raise Refused(503, f"cluster {request.cluster} has no control plane yet")
            control_planes = await self._control_planes(actor, place)
        except Refused as refused:
            details = {**_details(described, request), "code": refused.status, "reason": str(refused)[:400]}
            cluster = Facts("cluster", str(cluster_id), request.cluster)
            self._journal.refused(key.id, _entry(actor, cluster, "refused", details))
            raise
        if not described.plain_read:
            await self._journal.before(_entry(actor, place.facts, "asked", _details(described, request)))
        ticket = self._ticket(key, actor, place, groups, described, request)
        return Passage(_user(actor), groups, control_planes, place.administrator, ticket)

    async def _prove(self, request: Request) -> tuple[Key, UUID]:
        """The key of the request's token, and the cluster that it is for."""
        if not request.token:
            raise Refused(401, UNPROVED)
        organisation_id = await self._organisations.get(request.organisation)
        if organisation_id is None:
            raise Refused(401, FOREIGN)
        shown = _Shown(organisation_id, request.organisation, request.cluster, request.token)
        try:
            claims = await self._tokens.get(shown)
        except tokens.BadToken as error:
            raise Refused(401, str(error)) from None
        if claims.expires_at.timestamp() <= time.time():
            raise Refused(401, "this token has expired; get a new one")
        key = await self._callers.key(claims.key)
        if key is None or key.organisation_id != organisation_id or key.kind != AccessKey.KUBERNETES:
            raise Refused(401, "this token's key was removed; get a new one")
        return key, claims.cluster_id

    async def _act(self, key: Key, request_id: str, source: str) -> Actor:
        try:
            return await self._callers.actor(key, request_id, source)
        except Ended as ended:
            raise Refused(401, f"{ended}; sign in again or get a new config") from None

    async def _control_planes(self, actor: Actor, place: Place) -> tuple[str, ...]:
        """Addresses of the control planes, the connected ones first, each of those first in its turn."""
        looked = [await self._names.machine(actor.organisation_id, id) for id in place.control_planes]
        spots = [spot for spot in looked if spot]
        connected = [spot.link for spot in spots if spot.connected and not spot.in_maintenance]
        if not connected:
            raise Refused(503, f"no control plane of cluster {place.facts.name} is connected")
        first = next(self._turn) % len(connected)
        away = [spot.link for spot in spots if not spot.connected]
        return (*connected[first:], *connected[:first], *away)

    def _ticket(
        self, key: Key, actor: Actor, place: Place, groups: tuple[str, ...], described: Described, request: Request
    ) -> Open:
        began = time.monotonic()

        def ended(status: str, withdrawn: str) -> None:
            if described.plain_read and not self._journal.first_read(key.id, place.id, described.kind):
                return
            details = {**_details(described, request), "code": status, "seconds": round(time.monotonic() - began, 3)}
            if withdrawn:
                details["withdrawn"] = withdrawn
            self._journal.note(_entry(actor, place.facts, audit.kubernetes_outcome(status), details))

        def still(now: Actor, facts: Facts) -> str:
            try:
                same = kubernetes_groups(now, facts) == groups
            except Denied as denied:
                return str(denied)
            return "" if same else f"what {now.name} is in cluster {facts.name} has changed; ask again"

        ticket = Open(
            kind=KUBERNETES,
            key_id=key.id,
            actor=replace(actor, request_id="", source=""),
            machines={},
            clusters={place.id: (place.facts, place.id)},
            still=still,
            ended=ended,
            live=self._live,
        )
        self._live.add(ticket)
        return ticket


@dataclass(frozen=True)
class _Shown:
    """A token, and where it was shown."""

    organisation_id: UUID
    slug: str
    cluster: str
    token: str = field(repr=False)


def _verified(shown: _Shown) -> tokens.Claims:
    return tokens.verify(shown.token, shown.organisation_id, shown.slug, shown.cluster)


def _groups(actor: Actor, facts: Facts) -> tuple[str, ...]:
    try:
        return kubernetes_groups(actor, facts)
    except Denied as denied:
        raise Refused(403, str(denied)) from None


def _user(actor: Actor) -> str:
    """How the cluster knows them: a person by their address, a program as `service-account:NAME`."""
    return actor.subject.removeprefix("user:")


def _details(described: Described, request: Request) -> dict[str, object]:
    details: dict[str, object] = {"request": described.text}
    if request.command:
        details["command"] = command(request.command)
    return details


def _entry(actor: Actor, cluster: Facts, outcome: str, details: dict[str, object]) -> Entry:
    return Entry(actor, audit.KUBERNETES, "cluster", cluster.id, cluster.name, outcome, details)
