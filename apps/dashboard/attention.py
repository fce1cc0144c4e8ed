"""What needs a person now, and what moves by itself: behind the home page, `GET .../status` and `omni status`.

One cause is one item: seven machines behind one silent agent are one line with a count. Each source below reads in a
constant number of queries, whatever the size of the fleet.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, reduce
from operator import or_
from typing import Any

from django.db.models import Count, Min, Q, QuerySet
from django.urls import reverse

from apps.access.actor import Actor
from apps.access.check import allowed, hidden_by
from apps.clusters import queries as clusters
from apps.clusters import states as cluster_states
from apps.clusters.decision import count
from apps.clusters.models import Cluster
from apps.machines import queries as machines
from apps.machines import states as machine_states
from apps.machines.models import Agent, AgentTarget, JoinToken, Link, Machine, MachineStatus
from apps.mesh import meshes
from apps.mesh.models import MeshStatus
from apps.reconcile.conditions import WORST_FIRST, State

STANDS_STILL = timedelta(minutes=10)
"""A wait that lasts longer is shown as something for a person; before, it ends by itself as a rule."""

AT_THE_DOOR = timedelta(minutes=5)
"""How long a machine that called may take to be registered before that is worth a look."""

OLD_MESH = timedelta(hours=2)
"""A reading of a mesh that is older says nothing any more."""

NAMED = 3
"""Objects of one item that are named; the others are counted."""

LOOKED_AT = 200
"""Machines with a condition of their own that are read; more of them are the same few causes."""


@dataclass(frozen=True)
class Item:
    """One thing that needs a person, or that goes on by itself.

    `key` is the same as long as the cause is; `page` is the address that says more, `act` the word on its button.
    `done` and `steps` tell how far known steps are; both 0 where there are none.
    """

    key: str
    shape: State
    title: str
    sentence: str
    since: datetime | None
    kind: str
    name: str
    page: str
    act: str
    done: int = 0
    steps: int = 0

    @property
    def step(self) -> int:
        """The step at hand, from 1."""
        return min(self.done + 1, self.steps)

    @property
    def progress(self) -> list[tuple[State, int]]:
        """Steps done and the one at hand, as parts of a bar."""
        parts: list[tuple[State, int]] = [("ok", self.done), (self.shape, 1)]
        return parts if self.done else parts[1:]


@dataclass(frozen=True)
class Fleet:
    """An organisation at a glance. `machines` and `clusters` count by state, with `all`; `worst` names the clusters,
    those in the gravest state first."""

    needs: list[Item]
    moving: list[Item]
    machines: dict[str, int]
    clusters: dict[str, int]
    worst: list[str]

    @property
    def connected(self) -> int:
        return self.machines["all"] - self.machines["off"]


@dataclass(frozen=True)
class _Look:
    """Who looks, where, when."""

    actor: Actor
    slug: str
    now: datetime

    @cached_property
    def machines(self) -> QuerySet[Machine]:
        """The machines that they may see."""
        return machines.visible(self.actor, Machine.objects.all())

    @cached_property
    def clusters(self) -> QuerySet[Cluster]:
        """The clusters that they may see."""
        return clusters.visible(self.actor, Cluster.objects.select_related("status").order_by("name"))

    def page(self, name: str, *arguments: str, query: str = "") -> str:
        return reverse(name, args=[self.slug, *arguments]) + (f"?{query}" if query else "")


def fleet(actor: Actor, slug: str, now: datetime) -> Fleet:
    """Everything that the home page shows. Call it in the organisation's scope."""
    look = _Look(actor, slug, now)
    rows = list(look.clusters)
    items = list(_clusters(look, rows))
    shown = {cluster.name: cluster_states.cluster_state(cluster).shape for cluster in rows}
    shapes = Counter(shown.values())
    return Fleet(
        needs=_needs(look, items),
        moving=[item for item in items if _moves(item, now)],
        machines=_machine_counts(look),
        clusters={"all": len(rows), **{shape: shapes[shape] for shape in WORST_FIRST if shapes[shape]}},
        worst=sorted(shown, key=lambda name: (WORST_FIRST.index(shown[name]), name)),
    )


def needs(actor: Actor, slug: str, now: datetime) -> list[Item]:
    """What needs a person, the gravest first, of these the newest first."""
    look = _Look(actor, slug, now)
    return _needs(look, list(_clusters(look, list(look.clusters))))


def _machine_counts(look: _Look) -> dict[str, int]:
    """Machines by what they do; `changing` are those on their way from one state to another."""
    counts = machines.counts(look.machines)
    settled = sum(number for name, number in counts.items() if name != "all")
    return {**counts, "changing": counts["all"] - settled}


def _needs(look: _Look, clusters: list[Item]) -> list[Item]:
    items = [item for item in clusters if not _moves(item, look.now)]
    silent = {item.name for item in items if item.shape == "off"}
    for source in SOURCES:
        items += source(look)
    items += _silent_machines(look, silent)
    newest = sorted(items, key=lambda item: -(item.since or look.now).timestamp())
    return sorted(newest, key=lambda item: WORST_FIRST.index(item.shape))


def _moves(item: Item, now: datetime) -> bool:
    """Whether it goes on by itself as far as one can tell now."""
    patience = {"wait": STANDS_STILL, "off": machine_states.STALE_AFTER}.get(item.shape)
    if patience is not None:
        return item.since is None or now - item.since < patience
    return item.shape == "work"


_OF_CLUSTERS: dict[State, str] = {
    "bad": "{name} stopped",
    "ask": "{name} asks for a decision",
    "warn": "{name} is degraded",
    "off": "{name} misses a machine",
    "wait": "{name} waits",
}

_ON_THE_WAY = {
    "Creating": "{name} is being created",
    "Changing": "{name} is changing",
    "Destroying": "{name} is being destroyed",
}


def _clusters(look: _Look, rows: list[Any]) -> Iterator[Item]:
    """Clusters that are not ready, each with the worst of its conditions."""
    for cluster in rows:
        shown = cluster_states.cluster_state(cluster)
        if shown.shape in ("ok", "idle", "unknown"):
            continue
        status = getattr(cluster, "status", None)
        creating = status is not None and status.ready_at is None and cluster.deleting_at is None
        steps = cluster_states.progress(status) if status and creating else []
        title = _OF_CLUSTERS.get(shown.shape) or _ON_THE_WAY.get(shown.word, "{name} is working")
        yield Item(
            key=f"cluster/{cluster.name}",
            shape=shown.shape,
            title=title.format(name=cluster.name),
            sentence=shown.sentence,
            since=_since(status.conditions if status else [], shown.sentence) or cluster.created_at,
            kind="cluster",
            name=cluster.name,
            page=look.page("cluster", cluster.name),
            act="Open cluster",
            done=sum(step["state"] == "ok" for step in steps),
            steps=len(steps),
        )


def _since(conditions: list[dict[str, Any]], message: str) -> datetime | None:
    """Since when the condition with this message holds."""
    found = (item["since"] for item in conditions if item["message"] == message and item["since"])
    stamp = next(found, "")
    return datetime.fromisoformat(stamp) if stamp else None


def _silent_machines(look: _Look, known: set[str]) -> Iterator[Item]:
    """Machines of clusters that went silent, by cluster; `known` are clusters whose own item says so already.

    Those behind an agent that is silent itself have one cause, which is the agent's item.
    """
    lost = look.machines.filter(observation__connected=False, observation__observed_at__isnull=False)
    lost = lost.filter(observation__connected_changed_at__lt=look.now - machine_states.STALE_AFTER)
    lost = lost.filter(cluster_machine__isnull=False).exclude(cluster_machine__cluster__name__in=known)
    lost = lost.exclude(targets__agent__observation__connected=False)
    by_cluster = lost.values_list("cluster_machine__cluster__name").annotate(
        number=Count("id"), first=Min("observation__connected_changed_at")
    )
    for name, number, first in by_cluster.order_by("cluster_machine__cluster__name"):
        yield Item(
            key=f"machines/off/{name}",
            shape="warn",
            title=f"{count(number, 'machine')} of {name} {'is' if number == 1 else 'are'} not connected",
            sentence="Workloads may still run: nothing was restarted or moved by us. A machine looks for us by itself"
            " at the latest 5 min after its network is back.",
            since=first,
            kind="machine",
            name=name,
            page=look.page("machines", query=f"q=state%3Doff+cluster%3D{name}"),
            act=f"Show {'it' if number == 1 else f'the {number:,}'}",
        )


def _agents(look: _Look) -> Iterator[Item]:
    """Agents that went silent, with how many machines they leave behind."""
    since = look.now - machine_states.STALE_AFTER
    silent = Agent.objects.filter(removed_at=None, observation__connected=False)
    silent = silent.filter(observation__connected_changed_at__lt=since)
    seen = Q(targets__machine__in=look.machines) if hidden_by(look.actor) else Q()
    behind = Count("targets__machine", filter=seen, distinct=True)
    for agent in silent.select_related("observation").annotate(behind=behind).filter(behind__gt=0).order_by("name"):
        yield Item(
            key=f"agent/{agent.name}",
            shape="warn",
            title=f"Agent {agent.name} is silent, and with it {count(agent.behind, 'machine')}",
            sentence=f"{agent.observation.problem or 'Its connection ended'}. Workloads may still run; the machines"
            " are back when the agent is.",
            since=agent.observation.connected_changed_at,
            kind="agent",
            name=agent.name,
            page=look.page("agent", agent.name),
            act="Open agent",
        )


def _found(look: _Look) -> Iterator[Item]:
    """Machines in maintenance mode that agents found and nobody accepted yet, by agent."""
    found = AgentTarget.objects.filter(api_mode="maintenance", machine=None, problem="")
    found = found.filter(agent__observation__connected=True, agent__removed_at=None)
    by_agent = found.values_list("agent__name").annotate(number=Count("id"), first=Min("created_at"))
    for name, number, first in by_agent.order_by("agent__name"):
        yield Item(
            key=f"found/{name}",
            shape="ask",
            title=f"Agent {name} found {count(number, 'machine')}",
            sentence="They wait in maintenance mode and are not let in before somebody accepts them.",
            since=first,
            kind="agent",
            name=name,
            page=look.page("agent", name),
            act="Look at them",
        )


def _troubled_machines(look: _Look) -> Iterator[Item]:
    """Machines in no cluster with a condition that a person has to end, by condition."""
    troubled = [Q(conditions__contains=[{"state": shape}]) for shape in ("bad", "ask", "warn")]
    rows = MachineStatus.objects.filter(reduce(or_, troubled))
    rows = rows.filter(machine__cluster_machine__isnull=True, machine__observation__connected=True)
    rows = rows.filter(machine__in=look.machines) if hidden_by(look.actor) else rows
    groups: dict[tuple[str, State], list[tuple[MachineStatus, dict[str, Any]]]] = {}
    for row in rows.select_related("machine__observation").order_by("machine__uuid")[:LOOKED_AT]:
        for item in row.conditions:
            if item["state"] in ("bad", "ask", "warn"):
                groups.setdefault((item["name"], item["state"]), []).append((row, item))
    for (name, shape), members in groups.items():
        row, first = members[0]
        one = len(members) == 1
        who = row.machine.observation.hostname or row.machine.uuid[:8]
        yield Item(
            key=f"machines/{name.lower()}/{shape}",
            shape=shape,
            title=f"{who} needs a look" if one else f"{len(members)} machines need a look",
            sentence=first["message"],
            since=min(datetime.fromisoformat(item["since"]) for _, item in members),
            kind="machine",
            name=row.machine.uuid if one else name,
            page=look.page("machine", row.machine.uuid) if one else look.page("machines", query="q=free%3Dyes"),
            act="Open machine" if one else "Show machines",
        )


def _deaf_machines(look: _Look) -> Iterator[Item]:
    """Machines whose link is up while their API has not answered for a while."""
    deaf = look.machines.filter(observation__connected=True, observation__reachable=False)
    deaf = deaf.filter(observation__connected_changed_at__lt=look.now - STANDS_STILL)
    found = deaf.aggregate(number=Count("id"), first=Min("observation__connected_changed_at"))
    if number := found["number"]:
        yield Item(
            key="machines/deaf",
            shape="warn",
            title=f"{count(number, 'machine')} {'does' if number == 1 else 'do'} not answer",
            sentence="The link is up, but the API of Talos gives no answer. Its page says what it said last.",
            since=found["first"],
            kind="machine",
            name="",
            page=look.page("machines", query="q=connected%3Dyes+reachable%3Dno"),
            act=f"Show {'it' if number == 1 else 'them'}",
        )


def _at_the_door(look: _Look) -> Iterator[Item]:
    """Machines that called with a valid token and do not get registered."""
    waiting = Link.objects.filter(state=Link.PENDING, created_at__lt=look.now - AT_THE_DOOR)
    found = waiting.aggregate(number=Count("id"), first=Min("created_at"))
    if number := found["number"]:
        yield Item(
            key="links/pending",
            shape="wait",
            title=f"{count(number, 'machine')} called and {'is' if number == 1 else 'are'} not registered",
            sentence="Waiting for the identity that we gave to come back over the link: is its API on port 50000"
            " reachable for us, and its clock right?",
            since=found["first"],
            kind="machine",
            name="",
            page=look.page("machines"),
            act="Show machines",
        )


def _join_tokens(look: _Look) -> Iterator[Item]:
    """Join tokens that end soon, and a default token that lets nobody in any more."""
    if not allowed(look.actor, "join-token.list"):
        return
    soon = Q(expires_at__lt=look.now + machine_states.ENDS_SOON)
    for token in JoinToken.objects.filter(soon, revoked_at=None).order_by("name"):
        ended = token.expires_at is not None and token.expires_at <= look.now
        if ended and not token.is_default:
            continue
        yield Item(
            key=f"join-token/{token.id}",
            shape="bad" if ended else "warn",
            title=f"The default join token {token.name} has expired"
            if ended
            else f"Join token {token.name} expires {token.expires_at:%a %-d %b %H:%M} UTC",
            sentence="No machine can join with it any more. Make another token the default, or give this one more time."
            if ended
            else "From then on no machine can join with it; those that joined stay.",
            since=token.expires_at if ended else None,
            kind="join-token",
            name=token.name,
            page=look.page("join-token", str(token.id)),
            act="Open token",
        )


def _meshes(look: _Look) -> Iterator[Item]:
    """Meshes with pairs that should be up and were not when they were read last, for a while."""
    rows = MeshStatus.objects.filter(kubespan=MeshStatus.ON, broken_since__lt=look.now - STANDS_STILL)
    rows = rows.filter(read_at__gt=look.now - OLD_MESH, cluster__in=look.clusters, cluster__deleting_at=None)
    for status in rows.select_related("cluster").order_by("cluster__name"):
        state = meshes.summary(look.actor, status).state
        if state.shape not in ("warn", "bad"):
            continue
        name = status.cluster.name
        yield Item(
            key=f"mesh/{name}",
            shape=state.shape,
            title=f"Mesh of {name}: {state.word}",
            sentence=state.sentence,
            since=status.broken_since,
            kind="cluster",
            name=name,
            page=look.page("cluster-mesh", name),
            act="Open mesh",
        )


SOURCES: tuple[Callable[[_Look], Iterator[Item]], ...] = (
    _agents, _found, _troubled_machines, _deaf_machines, _at_the_door, _meshes, _join_tokens,
)  # fmt: skip
"""Where items come from beside clusters and their silent machines; a new room adds its function here."""
