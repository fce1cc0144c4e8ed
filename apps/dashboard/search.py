"""Search or jump: one box over pages, things to do, clusters, machines, tokens, people and other organisations.

What somebody may not list is not found. A constant number of queries, each for a few rows.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlencode

from django.db.models import Case, IntegerField, Q, QuerySet, Value, When
from django.urls import reverse
from django.utils import timezone

from apps.access.actor import Actor
from apps.access.check import allowed, allowed_somewhere
from apps.accounts.identity import Place
from apps.accounts.models import Membership
from apps.clusters import queries as clusters
from apps.clusters import states as cluster_states
from apps.clusters.models import Cluster
from apps.machines import queries as machines
from apps.machines import states as machine_states
from apps.machines.models import Agent, JoinToken, Machine

EACH = 6
"""Hits of one kind."""

ADDRESS = re.compile(r"[0-9a-fA-F]*[.:][0-9a-fA-F.:]*")
"""What may be part of an address."""

LONGEST = 200
"""Characters that are searched for; more are in no name."""


@dataclass(frozen=True)
class Hit:
    """Something found: `kind` of the object, `page` where it is, `icon` of the interface."""

    kind: str
    name: str
    detail: str
    page: str
    icon: str


@dataclass(frozen=True)
class _Entry:
    """A page or a thing to do, found by its name and further words."""

    name: str
    words: str
    view: str
    verb: str
    icon: str
    kind: str = "page"
    query: str = ""


PAGES: tuple[_Entry, ...] = (
    _Entry("Home", "overview needs attention status fleet", "home-page", "organisation.read", "home"),
    _Entry("Machines", "nodes servers list", "machines", "machine.list", "machine"),
    _Entry("Clusters", "kubernetes list", "clusters", "cluster.list", "cluster"),
    _Entry("Mesh", "kubespan wireguard network peers nodes pairs discovery", "meshes", "cluster.list", "mesh"),
    _Entry("Free machines", "unused idle", "machines", "machine.list", "machine", query="q=free%3Dyes+state%3Dfree"),
    _Entry("Machines not connected", "lost silent off", "machines", "machine.list", "machine", query="q=state%3Doff"),
    _Entry("Agents", "tunnel jump host scan accept found", "agents", "agent.list", "swap"),
    _Entry("Join machines", "kernel arguments token add", "join", "join-token.list", "join", "act"),
    _Entry("New cluster", "create make template", "template", "template.sync", "plus", "act"),
    _Entry("Template editor", "yaml sync plan diff", "template", "template.validate", "template"),
    _Entry("Join tokens", "kernel arguments secrets", "join-tokens", "join-token.list", "key"),
    _Entry("Members", "people roles invite", "members", "member.list", "people"),
    _Entry("Service accounts", "programs ci gitops robots", "service-accounts", "service-account.list", "key"),
    _Entry("Access keys", "talosctl kubectl certificates credentials", "access-keys", "access-key.list", "key"),
    _Entry("API tokens", "credentials programs ci", "api-tokens", "api-token.list", "key"),
    _Entry("Policies", "access rights who may roles groups limits explain", "policies", "policy.list", "lock"),
    _Entry("New policy", "grant limit access rights", "policy-new", "policy.write", "plus", "act"),
    _Entry("Audit", "log history who did what", "audit", "audit.list", "audit"),
    _Entry("Settings", "organisation name defaults", "settings", "organisation.read", "settings"),
    _Entry("Your account", "password sessions profile sign out", "account", "organisation.read", "people"),
)
"""Pages and things to do; a new page adds its line."""


def search(actor: Actor, slug: str, text: str, places: list[Place]) -> list[Hit]:
    """What fits a few words, the likeliest first; without words the pages. Call it in the organisation's scope."""
    words = text.replace("\0", "").strip()[:LONGEST]
    if not words:
        return [_hit(entry, slug) for entry in PAGES if allowed_somewhere(actor, entry.verb)]
    return [
        *_clusters(actor, slug, words),
        *_machines(actor, slug, words),
        *_agents(actor, slug, words),
        *_join_tokens(actor, slug, words),
        *_members(actor, slug, words),
        *_pages(actor, slug, words),
        *_organisations(slug, words, places),
        *_history(actor, slug, words),
    ]


def _hit(entry: _Entry, slug: str) -> Hit:
    page = reverse(entry.view, args=[slug]) + (f"?{entry.query}" if entry.query else "")
    return Hit(entry.kind, entry.name, "do" if entry.kind == "act" else "page", page, entry.icon)


def _pages(actor: Actor, slug: str, words: str) -> Iterator[Hit]:
    wanted = words.lower().split()
    for entry in PAGES:
        if allowed_somewhere(actor, entry.verb) and all(
            word in f"{entry.name} {entry.words}".lower() for word in wanted
        ):
            yield _hit(entry, slug)


def _begins(field: str, words: str) -> Case:
    """What is called so comes before what begins so, before what only has it somewhere."""
    return Case(
        When(**{f"{field}__iexact": words}, then=Value(0)),
        When(**{f"{field}__istartswith": words}, then=Value(1)),
        default=Value(2),
        output_field=IntegerField(),
    )


def _clusters(actor: Actor, slug: str, words: str) -> Iterator[Hit]:
    if not allowed(actor, "cluster.list"):
        return
    rows = clusters.visible(actor, Cluster.objects.select_related("status").filter(name__icontains=words))
    for cluster in rows.order_by(_begins("name", words), "name")[:EACH]:
        word = cluster_states.cluster_state(cluster).word.lower()
        yield Hit("cluster", cluster.name, f"cluster, {word}", reverse("cluster", args=[slug, cluster.name]), "cluster")


def _machines(actor: Actor, slug: str, words: str) -> Iterator[Hit]:
    if not allowed(actor, "machine.list"):
        return
    order = (_begins("observation__hostname", words), "observation__hostname", "uuid")
    try:  # first which, over a few narrow columns, then everything of these few
        found = list(_fitting_machines(actor, words).order_by(*order).values_list("id", flat=True)[:EACH])
    except ValueError:
        return
    for machine in machines.machines().filter(id__in=found).order_by(*order) if found else ():
        cluster = machine_states.cluster_of(machine)
        word = machine_states.machine_state(machine.observation, cluster).word.lower()
        detail = f"machine of {cluster}, {word}" if cluster else f"machine, {word}"
        name = machine.observation.hostname or machine.uuid
        yield Hit("machine", name, detail, reverse("machine", args=[slug, machine.uuid]), "machine")


def _fitting_machines(actor: Actor, words: str) -> "QuerySet[Machine]":
    """Machines by a part of name or UUID, by address where it looks like one, or by a query of their list.

    Raises ValueError with the word of a query that is not understood.
    """
    rows = machines.visible(actor, Machine.objects.all())
    if "=" in words or words.startswith("label:"):
        return machines.search(rows, words)
    named = Q(observation__hostname__icontains=words) | Q(uuid__icontains=words)
    if ADDRESS.fullmatch(words):
        named |= Q(observation__addresses__icontains=words) | Q(link__address__icontains=words)
    return rows.filter(named)


def _agents(actor: Actor, slug: str, words: str) -> Iterator[Hit]:
    if not allowed(actor, "agent.list"):
        return
    rows = Agent.objects.filter(name__icontains=words, removed_at=None).select_related("observation")
    for agent in rows.order_by(_begins("name", words), "name")[:EACH]:
        word = "connected" if agent.observation.connected else "silent"
        yield Hit("agent", agent.name, f"agent, {word}", reverse("agent", args=[slug, agent.name]), "swap")


def _join_tokens(actor: Actor, slug: str, words: str) -> Iterator[Hit]:
    if not allowed(actor, "join-token.list"):
        return
    rows = JoinToken.objects.filter(Q(name__icontains=words))
    for token in rows.order_by(_begins("name", words), "name")[:EACH]:
        word = machine_states.token_state(token, timezone.now()).word.lower()
        page = reverse("join-token", args=[slug, token.id])
        yield Hit("join-token", token.name, f"join token, {word}", page, "key")


def _members(actor: Actor, slug: str, words: str) -> Iterator[Hit]:
    if not allowed(actor, "member.list"):
        return
    rows = Membership.objects.select_related("user")
    rows = rows.filter(Q(user__email__icontains=words) | Q(user__name__icontains=words))
    for member in rows.order_by("user__email")[:EACH]:
        page = f"{reverse('members', args=[slug])}?{urlencode({'q': member.user.email})}"
        yield Hit("member", str(member.user), f"{member.role}, {member.user.email}", page, "people")


def _organisations(slug: str, words: str, places: list[Place]) -> Iterator[Hit]:
    for place in places:
        if place.slug != slug and words.lower() in f"{place.name} {place.slug}".lower():
            detail = f"other organisation, you are {place.role}"
            yield Hit("organisation", place.name, detail, reverse("home-page", args=[place.slug]), "swap")


def _history(actor: Actor, slug: str, words: str) -> Iterator[Hit]:
    if allowed(actor, "audit.list"):
        page = f"{reverse('audit', args=[slug])}?{urlencode({'q': words})}"
        yield Hit("audit", f"What happened to “{words}”", "audit", page, "audit")
