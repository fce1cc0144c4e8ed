"""Every cell of the matrix, decided by what each way asks: no unexpected allow, and `explain` agrees everywhere.

The decisions are those of the viewsets, pages, tails and gates, on rows of the database and with identities that came
of real credentials; `test_wire.py` sends a sample over the wire.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from django.http import Http404
from rest_framework.exceptions import NotFound

from apps.access.actor import Actor
from apps.access.check import Denied, allowed, check, check_somewhere
from apps.access.explain import explain
from apps.access.facts import Facts
from apps.access.models import Policy
from apps.access.verbs import VERBS
from apps.accounts import identity
from apps.accounts.actions import token_hash
from apps.accounts.identity import Identity, actor_in
from apps.accounts.models import AccessKey, ApiToken, Membership, ServiceAccount, User
from apps.api.registry import watched
from apps.clusters.models import Cluster, ClusterMachine
from apps.dashboard import clusters, machines
from apps.dashboard.consumers import KINDS
from apps.dashboard.tails import EventTail, LogTail
from apps.dashboard.tails import Refused as TailRefused
from apps.machines.models import Machine, MachineObservation
from apps.machines.queries import listed
from apps.proxies.callers import Ended, Key
from apps.proxies.kubernetes import KubernetesGate
from apps.proxies.names import Place, Spot
from apps.proxies.talos import TalosGate
from apps.tenants.ids import uuid7
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope
from nodeagent.caller import Caller
from nodeagent.kubeproxy import ports as kubeproxy
from nodeagent.proxy import ports as talosproxy
from nodeagent.tls import Credentials
from talos import openpgp, signing
from talos.pem import CertKey
from tests.matrix import routes
from tests.matrix.cells import (
    ALLOW,
    FOREIGN,
    HIDE,
    NOWHERE,
    OWN,
    POLICIES,
    REFUSE,
    STRANGER,
    UNPROVED,
    WHO,
    Way,
    Who,
    expected,
    policies,
    transports,
    ways,
)  # fmt: skip

LEAST_CELLS = 10_000

GRPC = {
    "UNAUTHENTICATED": UNPROVED,
    "NOT_FOUND": HIDE,
    "PERMISSION_DENIED": REFUSE,
}
STATUS = {401: UNPROVED, 404: HIDE, 403: REFUSE}


@dataclass
class House:
    """An organisation with a cluster, a machine in it and a free one, and everybody's credentials."""

    organisation: Organisation
    cluster: Cluster
    machine: Machine
    free: Machine
    keys: dict[tuple[str, str], AccessKey] = field(default_factory=dict)  # by who, transport
    tokens: dict[str, str] = field(default_factory=dict)
    users: dict[str, User] = field(default_factory=dict)
    signers: dict[str, openpgp.PrivateKey] = field(default_factory=dict)

    def facts(self, on: str) -> Facts | None:
        """Of what a way is about."""
        known = {"cluster": self.cluster, "machine": self.machine, "free": self.free}
        return known[on].facts if on else None


def make_house(organisation: Organisation, port: int) -> House:
    """Store it."""
    with tenant_scope(organisation.id):
        cluster = Cluster.new(
            name=f"{organisation.slug}-cluster", kubernetes_version="1.33.0", talos_version="1.10.0",
            initial_talos_version="1.10.0", balancer_port=port,
        )  # fmt: skip
        rows = []
        for number in (1, 2):
            machine = Machine.new(uuid=f"00000000-0000-4000-8000-{port:08d}000{number}")
            MachineObservation.new(machine=machine, api_mode="maintenance" if number == 2 else "secure", connected=True)
            rows.append(machine)
        ClusterMachine.new(cluster=cluster, machine=rows[0], role="controlplane")
        house = House(organisation, cluster, *listed().order_by("uuid"))
        for who in WHO:
            _credentials(house, who)
    return house


def _credentials(house: House, who: Who) -> None:
    name = f"{who.name.replace(' ', '-')}@{house.organisation.slug}.example.com"
    holder: dict[str, Any]
    if who.program:
        assert who.role
        holder = {"service_account": ServiceAccount.new(name=who.name.replace(" ", "-"), role=who.role)}
    else:
        house.users[who.name] = user = User.objects.create_user(name)
        if who.role:
            Membership.new(user=user, role=who.role, accepted_at=datetime.now(UTC))
        holder = {"user": user}
    role = who.ceiling if who.ceiling != "owner" else (who.role or "owner")  # its holder's whole role, or less
    house.tokens[who.name] = secret = f"omni_{name}"
    ApiToken.new(name="t", role=role, token_hash=token_hash(secret), **holder)
    ends = datetime.now(UTC) + timedelta(hours=1)
    for transport, kind in (("signed", "pgp"), ("certificate", "certificate"), ("kubernetes", "kubernetes")):
        id, public, fingerprint = uuid7(), b"", ""
        if kind == "pgp":
            house.signers[who.name] = key = openpgp.generate(f"Test <{name}>", datetime.now(UTC), timedelta(hours=2))
            public, fingerprint = key.public.armored.encode(), key.public.fingerprint
        house.keys[who.name, transport] = AccessKey.new(
            id=id, kind=kind, fingerprint=fingerprint or id.hex, public=public, name="k", role=role, expires_at=ends,
            cluster_id=house.cluster.id if kind == "kubernetes" else None, **holder,
        )  # fmt: skip


@pytest.fixture
def houses(organisation: Organisation, other_organisation: Organisation) -> tuple[House, House]:
    return make_house(organisation, 10001), make_house(other_organisation, 10002)


def identity_of(house: House, who: Who, transport: str) -> Identity | None:
    """Whose credential it is, found as the way in finds it."""
    if transport == "token":
        return identity.from_token(house.tokens[who.name])
    if transport == "session":
        return Identity(house.users[who.name])
    return identity.from_key(house.keys[who.name, transport].fingerprint)


@dataclass
class Web:
    """REST, pages and websockets, as they decide: on their verb, then on their object."""

    house: House
    known: dict[str, routes.Route]

    def decide(self, way: Way, actor: Actor | None) -> str:
        """What comes of it."""
        if actor is None:
            return STRANGER
        try:
            with tenant_scope(self.house.organisation.id):
                getattr(self, f"_{way.kind}")(way, actor)
        except (NotFound, Http404):
            return HIDE
        except Denied as denied:
            return HIDE if denied.hidden else REFUSE
        except TailRefused as refused:
            return HIDE if refused.code == 4404 else REFUSE
        return ALLOW

    def _rest(self, way: Way, actor: Actor) -> None:
        route = self.known[way.name]
        view = route.view.cls(action=route.action, kwargs={"slug": self.house.organisation.slug}, format_kwarg=None)
        view.request = SimpleNamespace(actor=actor, method="GET", headers={}, query_params={})
        key = {"cluster": self.house.cluster.name, "machine": self.house.machine.uuid}.get(way.on, "")
        view.kwargs[view.lookup_url_kwarg or view.lookup_field] = key
        view.permit(actor)
        if way.on and way.governed:
            view.get_object()

    def _page(self, way: Way, actor: Actor) -> None:
        check_somewhere(actor, way.verb)  # what `page` asks
        request: Any = SimpleNamespace(actor=actor, verb=way.verb)
        if way.on == "cluster":
            clusters.cluster_of(request, self.house.cluster.name)
        elif way.on == "machine":
            machines.machine_of(request, self.house.machine.uuid)

    def _watch(self, way: Way, actor: Actor) -> None:
        resource = way.name.removesuffix("/watch").rpartition("/")[2]
        check(actor, watched()[resource].verbs["list"])

    def _live(self, way: Way, actor: Actor) -> None:
        if not allowed(actor, KINDS[way.name.rpartition(" ")[2]]):
            raise TailRefused(4403)

    def _tail(self, way: Way, actor: Actor) -> None:
        tail: Any = (LogTail if "/logs/" in way.name else EventTail)()
        tail._machine(actor, uuid=self.house.machine.uuid)


class Keys:
    """Callers of the gates: keys and holders as the database has them now."""

    def __init__(self, *houses: House) -> None:
        rows = [(house, row) for house in houses for row in house.keys.values()]
        self._keys = {
            row.fingerprint: Key(
                row.id, house.organisation.id, row.kind, row.name,
                signing.parse_public(row.kind, bytes(row.public)) if row.public else None,
            )
            for house, row in rows
        }  # fmt: skip
        self._actors: dict[UUID, Actor | str] = {}

    def look(self, house: House) -> None:
        """Read again who acts, e.g. under other policies."""
        with tenant_scope(house.organisation.id):
            self._actors |= identity.actors_with([row.id for row in house.keys.values()])

    async def key(self, fingerprint: str) -> Key | None:
        return self._keys.get(fingerprint)

    async def actor(self, key: Key, request_id: str, source: str) -> Actor:
        found = self._actors[key.id]
        if isinstance(found, str):
            raise Ended(found)
        return found


class Places:
    """Names of the gates: what the houses have, each in its own organisation."""

    def __init__(self, *houses: House) -> None:
        held = Credentials(b"", CertKey(b"", b""))
        self._places, self._spots = {}, {}
        for house in houses:
            id = house.organisation.id
            for machine in (house.machine, house.free):
                member = getattr(machine, "cluster_machine", None)
                spot = Spot(
                    id=machine.id, uuid=machine.uuid, seen=(machine.facts, member.cluster_id if member else None),
                    names=frozenset({machine.uuid}), addresses=frozenset(), link="fdae::1", connected=True, since=None,
                    mode=machine.observation.api_mode, credentials=held, fingerprint="",
                )  # fmt: skip
                self._spots[id, machine.uuid] = self._spots[id, machine.id] = spot
            self._places[id, house.cluster.name] = Place(
                id=house.cluster.id, facts=house.cluster.facts, control_planes=(house.machine.id,), administrator=held
            )

    async def cluster(self, organisation_id: UUID, name: str) -> Place | None:
        return self._places.get((organisation_id, name))

    async def machine(self, organisation_id: UUID, machine_id: UUID) -> Spot | None:
        return self._spots.get((organisation_id, machine_id))

    async def machines(
        self, organisation_id: UUID, cluster_id: UUID | None, name: str, visible: Callable[[Facts], bool]
    ) -> list[Spot]:
        found = self._spots.get((organisation_id, name))
        return [found] if found and visible(found.facts) else []


class Silent:
    """Journal and open calls that keep nothing."""

    def add(self, ticket: Any) -> None: ...
    def note(self, entry: Any) -> None: ...
    def refused(self, key_id: UUID, entry: Any) -> None: ...
    def first_read(self, *seen: Any) -> bool:
        return False

    async def before(self, entry: Any) -> None: ...


class ProvedKubernetes(KubernetesGate):
    """A gate that has verified the token: tests of tokens do that."""

    async def _prove(self, request: kubeproxy.Request) -> tuple[Key, UUID]:
        if not request.token:
            return await super()._prove(request)
        key = await self._callers.key(request.token)
        assert key
        return key, UUID(request.command)


@dataclass
class Proxies:
    """The gates of the proxies, in front of the houses."""

    house: House
    callers: Any
    names: Any

    def __post_init__(self) -> None:
        silent: Any = Silent()
        self.talos = TalosGate(self.callers, self.names, silent, silent)
        self.kubernetes = ProvedKubernetes(self.callers, self.names, silent, silent)

    async def call(self, way: Way, come: House, who: Who, transport: str) -> str:
        """What comes of a call to the house's machine by somebody of a house; of `transport` "" without proof."""
        machine = self.house.free if way.on == "free" else self.house.machine
        metadata = {"runtime": ["Talos"], "node": [machine.uuid]}
        method, certificate = f"/{way.name}", ""
        if transport == "certificate":
            certificate = come.keys[who.name, transport].fingerprint
        elif transport == "signed":
            metadata |= signing.sign(come.signers[who.name], "test", method, metadata, datetime.now(UTC))
        pairs = tuple((key, value) for key, values in metadata.items() for value in values)
        caller = Caller("https", "192.0.2.9", 1, certificate)
        try:
            passage = await self.talos.admit(talosproxy.Call(method, pairs, caller))
        except talosproxy.Refused as refused:
            return GRPC.get(refused.code.name, f"{refused.code.name}: {refused}")
        assert [target.uuid for target in passage.targets] == [machine.uuid]
        return ALLOW

    async def ask(self, come: House, who: Who, transport: str) -> str:
        """The same for a request to the house's Kubernetes API."""
        token = come.keys[who.name, "kubernetes"].fingerprint if transport else ""
        request = kubeproxy.Request(
            organisation=self.house.organisation.slug, cluster=self.house.cluster.name, method="GET",
            target="/api/v1/pods", token=token, command=str(come.cluster.id), upgrade=False,
            caller=Caller("https", "192.0.2.9", 1),
        )  # fmt: skip
        try:
            passage = await self.kubernetes.admit(request)
        except kubeproxy.Refused as refused:
            return STATUS.get(refused.status, f"{refused.status}: {refused}")
        assert passage.groups
        assert "system:masters" not in passage.groups
        return ALLOW


def under(house: House, name: str) -> None:
    """Let one policy be, about everybody, on the cluster."""
    with tenant_scope(house.organisation.id):
        Policy.objects.all().delete()
        if POLICIES[name]:
            Policy.new(name=name, spec={"subjects": ["*"], "clusters": [house.cluster.name], **POLICIES[name]})


def test_every_cell(houses: tuple[House, House]) -> None:
    house, other = houses
    web, callers, names = Web(house, routes.http()), Keys(house, other), Places(house, other)
    callers.look(other)
    every = ways(VERBS)
    counted: Counter[str] = Counter()
    wrong: list[str] = []
    for policy in POLICIES:
        under(house, policy)
        callers.look(house)
        actors = dict(_actors(house, other))
        cells = [
            (way, who, transport, place)
            for way in every
            if policy in policies(way)
            for who in WHO
            for transport in transports(way, who)
            for place in (OWN, FOREIGN, NOWHERE)
        ]
        proxied = [cell for cell in cells if cell[0].kind in ("talos", "kubernetes")]
        found = dict(zip(proxied, asyncio.run(_through(Proxies(house, callers, names), other, proxied)), strict=True))
        for cell in cells:
            way, who, transport, place = cell
            came = found[cell] if cell in found else _by_web(web, way, actors, who, transport, place)
            wanted = expected(way, who, place, policy, VERBS)
            counted[came] += 1
            if not _same(way, came, wanted):
                wrong.append(f"{way.name} ({way.kind} on {way.on or 'nothing'}) for {who.name} by {transport}, "
                             f"{place}, policy {policy}: {came}, not {wanted}")  # fmt: skip
            actor = actors.get((who.name, transport, place))
            if place == OWN and actor is not None and (told := _disagrees(house, way, actor, came)):
                wrong.append(f"{way.name} for {who.name} by {transport}, policy {policy}: {came}, but {told}")
    assert not wrong, f"{len(wrong)} cells are wrong:\n" + "\n".join(wrong[:40])
    assert counted.total() > LEAST_CELLS
    assert set(counted) == {ALLOW, REFUSE, HIDE, STRANGER, UNPROVED}


def _actors(house: House, other: House) -> Iterator[tuple[tuple[str, str, str], Actor | None]]:
    """Everybody by each of their credentials, in the house: those who belong to it, and those of the other."""
    for place, home in ((OWN, house), (FOREIGN, other)):
        for who in WHO:
            for transport in ("token", "session", "signed", "certificate", "kubernetes"):
                if transport == "session" and who.program:
                    continue
                found = identity_of(home, who, transport)
                actor = found and actor_in(found, house.organisation.id, "r", "192.0.2.9")
                yield (who.name, transport, place), actor


def _by_web(web: Web, way: Way, actors: Any, who: Who, transport: str, place: str) -> str:
    return UNPROVED if place == NOWHERE else web.decide(way, actors[who.name, transport, place])


async def _through(proxies: Proxies, other: House, cells: list[tuple[Way, Who, str, str]]) -> list[str]:
    outcomes = []
    for way, who, transport, place in cells:
        home, proof = (other if place == FOREIGN else proxies.house), ("" if place == NOWHERE else transport)
        if way.kind == "talos":
            outcomes.append(await proxies.call(way, home, who, proof))
        else:
            outcomes.append(await proxies.ask(home, who, proof))
    return outcomes


def _same(way: Way, came: str, wanted: str) -> bool:
    """Strangers learn from proxies that nothing is there, or that their key is nobody's any more; and a policy that
    shuts out of a cluster refuses its Kubernetes API, whose token says already that it is there.
    """
    if way.kind == "talos" and wanted == STRANGER:
        return came in (HIDE, UNPROVED)
    if way.kind == "kubernetes":
        return came == wanted or came in {STRANGER: (HIDE, UNPROVED), HIDE: (REFUSE,)}.get(wanted, ())
    return came == wanted


def _disagrees(house: House, way: Way, actor: Actor, came: str) -> str:
    """What `explain` says if it is something else than what came of it."""
    on = house.facts(way.on)
    told = explain(actor, way.verb, on)
    somewhere = way.governed and not way.on and "a policy may let them" in told.sentence
    if (told.allowed or somewhere) != (came == ALLOW):
        return told.sentence
    return f"not hidden: {told.sentence}" if came == HIDE and not told.hidden else ""
