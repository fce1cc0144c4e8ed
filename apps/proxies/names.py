"""What calls name, found: machines by whatever one calls them, and clusters by name."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address, ip_interface
from uuid import UUID

from django.db.models import Q

from apps.access.facts import Facts
from apps.clusters import credentials
from apps.clusters.models import Cluster, ClusterMachine, MachineSet
from apps.machines.models import Machine
from apps.machines.queries import facts_of
from apps.proxies.memory import Memory
from apps.tenants.scope import tenant_scope
from nodeagent.tls import Credentials

LONGEST = 253
"""Characters of a name that is looked for."""

LOOKED_AT = 100
"""Machines that are looked at for one name."""

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

Seen = tuple[Facts, UUID | None]
"""What decisions about a machine or cluster are made by: its facts, and the id of the cluster (it is in)."""


@dataclass(frozen=True)
class Spot:
    """A machine, and how it is reached."""

    id: UUID
    uuid: str
    seen: Seen
    names: frozenset[str]
    addresses: frozenset[str]
    link: str  # its address for `dial`
    connected: bool
    since: datetime | None
    mode: str  # of its API: maintenance, secure, or empty when it never answered
    credentials: Credentials | None = field(repr=False)  # of its cluster
    fingerprint: str  # that its hardware has to have in maintenance mode

    @property
    def facts(self) -> Facts:
        """As policies see it."""
        return self.seen[0]

    @property
    def cluster_id(self) -> UUID | None:
        """Of the cluster that it is in."""
        return self.seen[1]

    @property
    def in_maintenance(self) -> bool:
        """It has no configuration, as far as is known."""
        return self.mode == "maintenance" or (not self.mode and self.cluster_id is None)

    def called(self, name: str) -> int:
        """How well a name fits: 2 what is its alone, 1 an address that it says it has, 0 not at all.

        Machines choose their hostnames: one that is called like an address is not found by it.
        """
        if _is_address(name):
            return 2 if name == self.link else int(name in self.addresses)
        return 2 * (name in self.names)


@dataclass(frozen=True)
class Place:
    """A cluster, and who runs its API."""

    id: UUID
    facts: Facts
    control_planes: tuple[UUID, ...]
    administrator: Credentials | None = field(repr=False)  # of Kubernetes; None until it has its secrets


class Names:
    """Machines and clusters of all organisations, remembered for moments."""

    def __init__(self) -> None:
        self._spots = Memory(_spot)
        self._places = Memory(_place)
        self._found = Memory(_find)

    async def cluster(self, organisation_id: UUID, name: str) -> Place | None:
        """The cluster of this name."""
        return await self._places.get((organisation_id, name)) if _possible(name) else None

    async def machine(self, organisation_id: UUID, machine_id: UUID) -> Spot | None:
        """The machine of this id."""
        return await self._spots.get((organisation_id, machine_id))

    async def machines(
        self, organisation_id: UUID, cluster_id: UUID | None, name: str, visible: Callable[[Facts], bool]
    ) -> list[Spot]:
        """The visible machines that a name fits best, of one cluster or of the organisation.

        A name is a node name, hostname, UUID or address.
        """
        if not _possible(name):
            return []
        name = plain(name)
        where = (organisation_id, cluster_id, name)
        for _ in range(2):  # what is remembered may be of a moment ago
            ids = await self._found.get(where)
            looked = [await self.machine(organisation_id, machine_id) for machine_id in ids]
            named = [spot for spot in looked if spot and spot.called(name) and cluster_id in (None, spot.cluster_id)]
            if named:
                fitting = [spot for spot in named if visible(spot.facts)]
                best = max((spot.called(name) for spot in fitting), default=0)
                return [spot for spot in fitting if spot.called(name) == best]
            self._found.forget(where)
            for machine_id in ids:
                self.machine_changed(organisation_id, machine_id)
        return []

    def machine_changed(self, organisation_id: UUID, machine_id: UUID) -> None:
        """It says something else, or is gone."""
        self._spots.forget((organisation_id, machine_id))

    def changed(self, organisation_id: UUID) -> None:
        """Its clusters are not what they were: their machines, labels, or they themselves."""
        self._places.forget_all(lambda key: key[0] == organisation_id)
        self._spots.forget_all(lambda key: key[0] == organisation_id)

    def clear(self) -> None:
        """Anything may have changed."""
        for memory in (self._spots, self._places, self._found):
            memory.clear()


def plain(name: str) -> str:
    """A name as it is compared: addresses in their one form, UUIDs in lower case."""
    try:
        return str(ip_address(name))
    except ValueError:
        return name.lower() if _UUID.fullmatch(name) else name


def machines_now(ids: Iterable[UUID]) -> dict[UUID, Seen]:
    """Machines of the organisation in scope as decisions see them; those that are gone are left out."""
    wanted = list(ids)
    members = dict(ClusterMachine.objects.filter(machine__in=wanted).values_list("machine_id", "cluster_id"))
    return {id: (facts, members.get(id)) for id, facts in facts_of(Machine.objects.filter(id__in=wanted))}


def clusters_now(ids: Iterable[UUID]) -> dict[UUID, Seen]:
    """The same of clusters."""
    return {row.id: (row.facts, row.id) for row in Cluster.objects.filter(id__in=list(ids))}


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _possible(name: str) -> bool:
    return 0 < len(name) <= LONGEST and "\0" not in name


def _find(key: tuple[UUID, UUID | None, str]) -> tuple[UUID, ...]:
    """Where to look for a name."""
    organisation_id, cluster_id, name = key
    if _UUID.fullmatch(name):
        fits = Q(uuid=name)
    elif _is_address(name):
        fits = Q(observation__addresses__icontains=f"{name}/") | Q(link__address=name)
    else:
        fits = Q(observation__hostname=name) | Q(observation__node_name=name) | Q(cluster_machine__node_name=name)
    with tenant_scope(organisation_id):
        rows = Machine.objects.filter(fits)
        if cluster_id is not None:
            rows = rows.filter(cluster_machine__cluster_id=cluster_id)
        return tuple(rows.order_by("id").values_list("id", flat=True)[:LOOKED_AT])


def _spot(key: tuple[UUID, UUID]) -> Spot | None:
    organisation_id, machine_id = key
    with tenant_scope(organisation_id):
        rows = Machine.objects.select_related("link", "observation", "cluster_machine__cluster__secrets")
        row = rows.filter(id=machine_id, link__isnull=False, observation__isnull=False).first()
        if row is None:
            return None
        member = getattr(row, "cluster_machine", None)
        secrets = getattr(member.cluster, "secrets", None) if member else None
        return Spot(
            id=row.id,
            uuid=row.uuid,
            seen=(row.facts, member.cluster_id if member else None),
            names=frozenset({row.uuid, row.observation.hostname, row.observation.node_name} - {""})
            | ({member.node_name} - {""} if member else frozenset()),
            addresses=frozenset({_address(item) for item in row.observation.addresses} | {row.link.address}),
            link=row.link.address,
            connected=row.observation.connected,
            since=row.observation.connected_changed_at,
            mode=row.observation.api_mode,
            credentials=credentials.impersonator_credentials(secrets) if secrets else None,
            fingerprint=row.link.required_fingerprint,
        )


def _address(text: str) -> str:
    try:
        return str(ip_interface(text).ip)
    except ValueError:
        return text


def _place(key: tuple[UUID, str]) -> Place | None:
    organisation_id, name = key
    with tenant_scope(organisation_id):
        row = Cluster.objects.select_related("secrets").filter(name=name).first()
        if row is None:
            return None
        members = ClusterMachine.objects.filter(cluster=row, role=MachineSet.CONTROL_PLANE, leaving_at=None)
        secrets = getattr(row, "secrets", None)
        return Place(
            id=row.id,
            facts=row.facts,
            control_planes=tuple(members.order_by("machine__uuid").values_list("machine_id", flat=True)),
            administrator=credentials.kubernetes_credentials(secrets) if secrets else None,
        )
