"""The gate of the talosctl proxy: proves who calls, finds the machines, sees whether they may."""

import itertools
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from django.db import Error as DatabaseError
from grpc import StatusCode

from apps.access.actor import Actor
from apps.access.calls import check_call
from apps.access.check import Denied, standing_of
from apps.access.facts import Facts
from apps.access.methods import SECRET_RESOURCES, Need, need_of
from apps.access.verbs import OPERATOR
from apps.accounts.identity import new_request_id
from apps.accounts.models import AccessKey
from apps.audit.actions import Entry
from apps.proxies import audit
from apps.proxies.audit import Journal
from apps.proxies.callers import Callers, Ended, Key
from apps.proxies.live import TALOS, Live, Open
from apps.proxies.names import Names, Place, Spot
from nodeagent.proxy.ports import Call, Passage, Refused, Target
from talos import signing

MOST_NODES = 1000
"""Nodes that one call can name."""

SHOWN = 20
"""Names that a text or an audit row lists."""

LONGEST_METHOD = 120
"""Characters of a method that an audit row has."""

UNPROVED = (
    "this call is not signed and shows no client certificate, so nobody knows whose it is; get a config with "
    "`omni talosconfig` and use it with --talosconfig, or sign in again"
)

Metadata = dict[str, list[str]]


class TalosGate:
    """Decides about calls to machines (`nodeagent.proxy.ports.Gate`)."""

    def __init__(self, callers: Callers, names: Names, live: Live, journal: Journal) -> None:
        self._callers, self._names, self._live, self._journal = callers, names, live, journal
        self._turn = itertools.count()

    async def admit(self, call: Call) -> Passage:
        """Raises Refused. Nothing is looked up before it is proved whose call it is."""
        try:
            return await self._admit(call)
        except DatabaseError:
            raise Refused(StatusCode.UNAVAILABLE, "the database does not answer; try again in a moment") from None

    async def _admit(self, call: Call) -> Passage:
        metadata = _texts(call)
        key = await self._prove(call, metadata)
        method, request_id, source = call.method.removeprefix("/"), new_request_id(), call.caller.address
        actor, spots = key.nobody(request_id, source), list[tuple[str, Spot]]()
        try:
            actor = await self._act(key, request_id, source)
            spots = await self._find(actor, metadata)
            need = _check(actor, method, spots)
            targets = tuple(_target(name, spot) for name, spot in spots)
            if all(target.away for target in targets):
                raise Refused(StatusCode.UNAVAILABLE, "; ".join(target.away for target in targets[:SHOWN]))
        except Refused as refused:
            entry = _entry(
                actor, method, [spot for _, spot in spots], "refused", code=refused.code.name, reason=str(refused)[:400]
            )
            if not spots:
                entry = replace(entry, object_name=_cluster(metadata)[:100])
            self._journal.refused(key.id, entry)
            raise
        passed = [spot for _, spot in spots]
        if need.changes:
            await self._journal.before(_entry(actor, method, passed, "asked"))
        return Passage(
            targets,
            bool(_nodes(metadata)),
            need.talos_role,
            self._ticket(key, actor, method, need, passed),
            _closed(actor, passed),
        )

    # Who calls

    async def _prove(self, call: Call, metadata: Metadata) -> Key:
        if call.caller.certificate:
            return await self._shown(call.caller.certificate)
        signature = metadata.get(signing.SIGNATURE, [""])[0].split(" ")
        key = await self._callers.key(signature[2]) if len(signature) == 4 and len(signature[2]) <= 64 else None
        try:
            signing.verify(metadata, call.method, datetime.now(UTC), lambda _: key.public if key else None)
        except signing.Unsigned:
            raise Refused(StatusCode.UNAUTHENTICATED, UNPROVED) from None
        except signing.BadSignature as error:
            raise Refused(StatusCode.UNAUTHENTICATED, f"invalid signature: {error}") from None
        assert key is not None
        return key

    async def _act(self, key: Key, request_id: str, source: str) -> Actor:
        try:
            return await self._callers.actor(key, request_id, source)
        except Ended as ended:
            raise Refused(StatusCode.UNAUTHENTICATED, f"{ended}; sign in again or get a new config") from None

    async def _shown(self, serial: str) -> Key:
        """The key of a client certificate, whose holder TLS proved."""
        try:
            key = await self._callers.key(f"{int(serial, 16):032x}")
        except ValueError:
            key = None
        if key is None or key.kind != AccessKey.CERTIFICATE:
            raise Refused(StatusCode.UNAUTHENTICATED, "this client certificate is not known here; get a new config")
        return key

    # Where to

    async def _find(self, actor: Actor, metadata: Metadata) -> list[tuple[str, Spot]]:
        """The machines that a call names, each as it was named."""
        cluster = _cluster(metadata)
        named = [*metadata.get("node", [])[:1], *_nodes(metadata)]
        if not cluster and not named:
            text = "at least one of cluster, node, or nodes must be specified: name nodes with -n, or a cluster with -c"
            raise Refused(StatusCode.INVALID_ARGUMENT, text)
        if "" in named:
            raise Refused(StatusCode.INVALID_ARGUMENT, "resolve nodes: a node's name is empty")
        if len(named) > MOST_NODES:
            text = f"resolve nodes: {len(named):,} nodes are named; one call can go to {MOST_NODES:,}"
            raise Refused(StatusCode.INVALID_ARGUMENT, text)
        place = await self._names.cluster(actor.organisation_id, cluster) if cluster else None
        if cluster and (place is None or not _sees(actor, place.facts)):
            raise Refused(StatusCode.NOT_FOUND, f"resolve nodes: there is no cluster {cluster[:100]!r}")
        if not named:
            assert place is not None
            return [await self._control_plane(actor, place)]
        return [(name, await self._machine(actor, place, name)) for name in named]

    async def _machine(self, actor: Actor, place: Place | None, name: str) -> Spot:
        found = await self._names.machines(
            actor.organisation_id, place.id if place else None, name, lambda facts: _sees(actor, facts)
        )
        where = f"cluster {place.facts.name}" if place else "any cluster"
        if not found:
            raise Refused(StatusCode.NOT_FOUND, f"resolve nodes: there is no node {name[:100]!r} in {where}")
        if len(found) > 1:
            several = ", ".join(sorted(_whole_name(spot) for spot in found)[:SHOWN])
            text = f"resolve nodes: {name[:100]!r} is the name of several machines: {several}; name one by its UUID"
            if place is None:
                text += ", or a cluster with -c"
            raise Refused(StatusCode.INVALID_ARGUMENT, text)
        return found[0]

    async def _control_plane(self, actor: Actor, place: Place) -> tuple[str, Spot]:
        """One of a cluster's control planes that are connected, each in its turn."""
        looked = [await self._names.machine(actor.organisation_id, id) for id in place.control_planes]
        visible = [spot for spot in looked if spot and spot.cluster_id == place.id and _sees(actor, spot.facts)]
        able = [spot for spot in visible if not spot.in_maintenance and not _away(spot)]
        if not able:
            why = [_away(spot) or f"machine {spot.facts.name} is in maintenance mode" for spot in visible[:SHOWN]]
            text = f"no control plane of cluster {place.facts.name} can be called"
            raise Refused(StatusCode.UNAVAILABLE, f"{text}: {'; '.join(why)}" if why else text)
        spot = able[next(self._turn) % len(able)]
        return spot.facts.name, spot

    # What follows

    def _ticket(self, key: Key, actor: Actor, method: str, need: Need, spots: list[Spot]) -> Open:
        began = time.monotonic()

        def ended(code: str, withdrawn: str) -> None:
            details = {"code": code, "seconds": round(time.monotonic() - began, 3)}
            if withdrawn:
                details["withdrawn"] = withdrawn
            self._journal.note(_entry(actor, method, spots, audit.talos_outcome(code, need.changes), **details))

        def still(now: Actor, facts: Facts) -> str:
            try:
                check_call(now, method, facts)
            except Denied as denied:
                return str(denied)
            return ""

        ticket = Open(
            kind=TALOS,
            key_id=key.id,
            actor=replace(actor, request_id="", source=""),
            machines={spot.id: spot.seen for spot in spots},
            clusters={},
            still=still,
            ended=ended,
            live=self._live,
        )
        self._live.add(ticket)
        return ticket


def _texts(call: Call) -> Metadata:
    """Metadata by key, all values in order. Binary values prove and name nothing."""
    texts: Metadata = {}
    for key, value in call.metadata:
        if isinstance(value, str):
            texts.setdefault(key, []).append(value)
    return texts


def _nodes(metadata: Metadata) -> list[str]:
    return [name.strip() for value in metadata.get("nodes", []) for name in value.split(",")]


def _cluster(metadata: Metadata) -> str:
    return next((value for key in ("cluster", "context") for value in metadata.get(key, [])[:1] if value), "")


def _sees(actor: Actor, facts: Facts) -> bool:
    return standing_of(actor, facts).role is not None


def _check(actor: Actor, method: str, spots: Sequence[tuple[str, Spot]]) -> Need:
    """What the method takes, once the actor may call it on each of the machines."""
    for _, spot in spots:
        try:
            check_call(actor, method, spot.facts)
        except Denied as denied:
            raise Refused(StatusCode.PERMISSION_DENIED, str(denied)) from None
    return need_of(method)


def _closed(actor: Actor, spots: Sequence[Spot]) -> frozenset[str]:
    """Resources that hold tokens are for operators."""
    operator = all(standing_of(actor, spot.facts).reaches(OPERATOR) for spot in spots)
    return frozenset() if operator else SECRET_RESOURCES


def _target(name: str, spot: Spot) -> Target:
    held = None if spot.in_maintenance else spot.credentials
    return Target(name, spot.uuid, spot.link, held, spot.fingerprint if held is None else "", _away(spot))


def _away(spot: Spot) -> str:
    """Why a machine cannot be called now; empty if it can."""
    if not spot.connected:
        since = f" since {spot.since:%Y-%m-%d %H:%M:%S} UTC" if spot.since else ""
        return f"machine {spot.facts.name} is not connected{since}"
    if spot.credentials is None and not spot.in_maintenance:
        return f"machine {spot.facts.name} has a configuration that is not of this installation"
    return ""


def _whole_name(spot: Spot) -> str:
    where = f"in cluster {spot.facts.cluster}" if spot.facts.cluster else "in no cluster"
    return f"{spot.facts.name} {where} ({spot.uuid})"


def _entry(actor: Actor, method: str, spots: Sequence[Spot], outcome: str, **details: object) -> Entry:
    """An audit row of a call: of its machine, or of the cluster when there are several or none."""
    details = {"method": method[:LONGEST_METHOD], **details}
    if len(spots) == 1:
        details["node"] = spots[0].facts.name
        return Entry(actor, audit.TALOS, "machine", str(spots[0].id), spots[0].uuid, outcome, details)
    clusters = {(str(spot.cluster_id or ""), spot.facts.cluster) for spot in spots}
    cluster_id, cluster = clusters.pop() if len(clusters) == 1 else ("", "")
    if spots:
        details["nodes"] = [spot.facts.name for spot in spots[:SHOWN]]
    return Entry(actor, audit.TALOS, "cluster", cluster_id, cluster, outcome, details)
