"""Reading policies, whom and what they are about, and who may reach what."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import Q, QuerySet

from apps.access.actor import ROLES, Actor
from apps.access.check import check, standing_of
from apps.access.facts import Facts
from apps.access.models import Policy, rules
from apps.access.policy import LIMIT, Rule, Standing
from apps.accounts.models import Membership, ServiceAccount
from apps.clusters import queries as clusters
from apps.clusters.models import Cluster
from apps.machines import queries as machines
from apps.machines.models import Machine
from apps.tenants.scope import current_tenant

TOLD = 100
"""Holders and objects for whom a preview says what changes; the others are counted."""

SORTS = {"name": ("name",), "changed": ("updated_at", "name")}


class Unknown(LookupError):
    """Nobody, or nothing that the asker may see, is called so."""


def policies() -> QuerySet[Policy]:
    """The policies of the organisation in scope."""
    return Policy.objects.all()


def search(rows: QuerySet[Policy], text: str) -> QuerySet[Policy]:
    """Narrow by a text in name, description, or what the policy says. Raises ValueError for one that nothing has."""
    if "\0" in text:
        raise ValueError("a NUL character is in no name")
    text = text.strip()
    return rows.filter(Q(name__icontains=text) | Q(description__icontains=text) | Q(spec__icontains=text))


@dataclass(frozen=True)
class Holder:
    """Somebody who has a role in the organisation."""

    kind: str  # user, service-account
    name: str
    subject: str
    role: str

    def acts(self, known: tuple[Rule, ...]) -> Actor:
        """Them, signed in themselves, under these policies."""
        return Actor(self.kind, "", self.name, current_tenant(), self.role, subject=self.subject, rules=known)


def holders() -> list[Holder]:
    """Everybody with a role in the organisation in scope: people, then service accounts, by name."""
    people = Membership.objects.filter(user__is_active=True).select_related("user").order_by("user__email")
    accounts = ServiceAccount.objects.order_by("name")
    return [
        *(Holder("user", row.user.email, f"user:{row.user.email}", row.role) for row in people),
        *(Holder("service-account", row.name, f"service-account:{row.name}", row.role) for row in accounts),
    ]


def actor_named(asker: Actor, name: str) -> Actor:
    """Somebody of the organisation as an actor, by address, service account's name, or subject; the asker for their own
    and for no name.

    Raises Unknown, and `Denied` for another one unless the asker is an admin.
    """
    wanted = name.strip().lower()
    if not wanted or wanted in (asker.subject, asker.subject.partition(":")[2]):
        return asker
    check(asker, "policy.write", f"the rights of {name}")
    found = [holder for holder in holders() if wanted in (holder.subject, holder.name)]
    if not found:
        raise Unknown(f"nobody in this organisation is called {name}; write an address, or service-account:NAME")
    return found[0].acts(rules())


def object_named(asker: Actor, name: str) -> Facts | None:
    """What `cluster/NAME`, `machine/UUID` or `machine/HOSTNAME` means; None for an empty text.

    Raises Unknown for what is not there or hidden from the asker.
    """
    kind, _, key = name.strip().partition("/")
    if not name.strip():
        return None
    found: Cluster | Machine | None = None
    if kind == "cluster" and key:
        found = clusters.visible(asker, Cluster.objects.filter(name=key)).first()
    elif kind == "machine" and key and "\0" not in key:
        rows = machines.visible(asker, machines.listed())
        named = list(rows.filter(Q(uuid=key.lower()) | Q(observation__hostname=key))[:2])
        if len(named) > 1:
            raise Unknown(f"several machines are called {key}; name one by its UUID")
        found = named[0] if named else None
    else:
        raise Unknown(f"“{name}” names nothing; write cluster/NAME or machine/NAME")
    if found is None:
        raise Unknown(f"there is no {kind} {key} here")
    return found.facts


@dataclass(frozen=True)
class Reach:
    """What somebody is towards an object."""

    holder: Holder
    standing: Standing

    @property
    def differs(self) -> bool:
        """Whether policies make it otherwise than the role in the organisation does."""
        return bool(self.standing.why)


def who(on: Facts) -> list[Reach]:
    """Everybody with what they are towards an object, the most powerful first, those shut out last."""
    known = rules()
    found = [Reach(holder, standing_of(holder.acts(known), on)) for holder in holders()]
    return sorted(found, key=lambda reach: -_rank(reach.standing.role))


def _rank(role: str | None) -> int:
    return -1 if role is None else ROLES.index(role)


@dataclass(frozen=True)
class Change:
    """What a policy makes of somebody's role on some of the objects that it is about."""

    holder: Holder
    before: str | None
    after: str | None
    on: tuple[str, ...]


@dataclass(frozen=True)
class Preview:
    """Whom and what a policy touches, as things are now."""

    holders: tuple[Holder, ...]
    clusters: tuple[str, ...]
    machines: int
    changes: tuple[Change, ...]  # where it makes a role another one
    unbound: tuple[str, ...]  # owners whom it names and does not limit


def preview(asker: Actor, rule: Rule) -> Preview:
    """Whom and what a policy would touch, among what the asker may see; it replaces the one of its name."""
    named = [holder for holder in holders() if rule.names(holder.subject, holder.role)]
    seen = clusters.visible(asker, Cluster.objects.order_by("name"))
    covered = [row.facts for row in seen if rule.covers(row.facts)]
    found = machines.facts_of(machines.visible(asker, Machine.objects.order_by("uuid")))
    single = [facts for _, facts in found if rule.covers(facts)]
    others = tuple(one for one in rules() if one.name != rule.name)
    return Preview(
        holders=tuple(named),
        clusters=tuple(facts.name for facts in covered),
        machines=len(single),
        changes=tuple(_changes(named[:TOLD], (covered or single)[:TOLD], others, (*others, rule))),
        unbound=tuple(holder.name for holder in named if rule.effect == LIMIT and holder.role == ROLES[-1]),
    )


def _changes(
    named: Iterable[Holder], objects: list[Facts], before: tuple[Rule, ...], after: tuple[Rule, ...]
) -> Iterable[Change]:
    for holder in named:
        kinds: dict[tuple[str | None, str | None], list[str]] = {}
        for facts in objects:
            was = standing_of(holder.acts(before), facts).role
            will = standing_of(holder.acts(after), facts).role
            if was != will:
                kinds.setdefault((was, will), []).append(facts.name)
        for (was, will), names in kinds.items():
            yield Change(holder, was, will, tuple(names))
