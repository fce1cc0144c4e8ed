"""Everything that is under way through the proxies, and whether it would still be admitted.

It is looked at again when a change is heard that matters to it, and all of it every few seconds, for no change may be
missed: a key that was revoked, a session that ended, a member who left, a policy, a machine that went elsewhere.
"""

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

from django.db import Error as DatabaseError

from apps.access.actor import Actor
from apps.access.facts import Facts
from apps.accounts import identity
from apps.proxies.names import Seen, clusters_now, machines_now
from apps.tenants.scope import tenant_scope
from apps.tenants.threads import in_thread

SWEEP = 5.0
"""Seconds between looks at everything."""

PAUSE = 0.25
"""Seconds between looks for what was heard: many changes come together."""

TALOS, KUBERNETES = KINDS = ("talos", "kubernetes")
"""What can be open."""

Still = Callable[[Actor, Facts], str]
"""Why somebody may not do to an object any more what is under way; empty if they may."""

log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class Open:
    """One call or request under way (`nodeagent.ticket.Ticket`)."""

    kind: str  # of `KINDS`
    key_id: UUID
    actor: Actor
    machines: dict[UUID, Seen]
    clusters: dict[UUID, Seen]
    still: Still
    ended: Callable[[str, str], None]  # told its outcome, and the sentence it was withdrawn with
    live: "Live"
    withdrawn: "asyncio.Future[str]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def over(self, outcome: str) -> None:
        """The call or connection has ended."""
        self.live.remove(self)
        self.ended(outcome, self.withdrawn.result() if self.withdrawn.done() else "")

    def objects(self) -> Iterable[UUID]:
        """What it is about."""
        return (*self.machines, *self.clusters)


class Live:
    """All that is open, by what can end it."""

    def __init__(self, refused: Callable[[UUID], None]) -> None:
        """`refused` hears of organisations where something had to end: what is remembered of them is not true."""
        self._refused = refused
        self._by_organisation: defaultdict[UUID, set[Open]] = defaultdict(set)
        self._by_object: defaultdict[UUID, set[Open]] = defaultdict(set)
        self._due: set[Open] = set()
        self._heard = asyncio.Event()
        self.counts: Counter[str] = Counter()
        """How many are open, by kind."""

    def add(self, ticket: Open) -> None:
        """Watch over it until it is over."""
        self._by_organisation[ticket.actor.organisation_id].add(ticket)
        for object_id in ticket.objects():
            self._by_object[object_id].add(ticket)
        self.counts[ticket.kind] += 1

    def remove(self, ticket: Open) -> None:
        """It is over."""
        _discard(self._by_organisation, ticket.actor.organisation_id, ticket)
        for object_id in ticket.objects():
            _discard(self._by_object, object_id, ticket)
        self._due.discard(ticket)
        self.counts[ticket.kind] -= 1

    def organisation_changed(self, organisation_id: UUID) -> None:
        """Something in it that may end calls changed: keys, members, policies, clusters."""
        self._look_at(self._by_organisation.get(organisation_id, ()))

    def object_changed(self, object_id: UUID) -> None:
        """A machine or cluster changed, or is gone."""
        self._look_at(self._by_object.get(object_id, ()))

    def all_changed(self) -> None:
        """Anything may have changed."""
        for tickets in self._by_organisation.values():
            self._look_at(tickets)

    def _look_at(self, tickets: Iterable[Open]) -> None:
        self._due.update(tickets)
        if self._due:
            self._heard.set()

    async def run(self) -> None:
        """Look, until cancelled."""
        swept = time.monotonic()
        while True:
            try:
                async with asyncio.timeout_at(
                    asyncio.get_running_loop().time() + max(0, swept + SWEEP - time.monotonic())
                ):
                    await self._heard.wait()
            except TimeoutError:
                swept = time.monotonic()
                self.all_changed()
            due, self._due = self._due, set()
            self._heard.clear()
            await self.recheck(due)
            await asyncio.sleep(PAUSE)

    async def recheck(self, tickets: Iterable[Open]) -> None:
        """Withdraw those that would not be admitted now."""
        by_organisation: defaultdict[UUID, list[Open]] = defaultdict(list)
        for ticket in tickets:
            if not ticket.withdrawn.done():
                by_organisation[ticket.actor.organisation_id].append(ticket)
        for organisation_id, its in by_organisation.items():
            try:
                refused = await in_thread(partial(_refused, organisation_id, its))
            except DatabaseError as error:
                log.warning("what is under way cannot be checked, trying again: %s", error)
                return
            except Exception:  # of one organisation, e.g. a policy that cannot be read: others are checked
                log.exception("what is under way in organisation %s cannot be checked", organisation_id)
                continue
            if refused:
                self._refused(organisation_id)
            for ticket, sentence in refused:
                if not ticket.withdrawn.done():
                    ticket.withdrawn.set_result(sentence)


def _refused(organisation_id: UUID, tickets: list[Open]) -> list[tuple[Open, str]]:
    """Those that have to end, each with the reason. A few queries, however many there are."""
    with tenant_scope(organisation_id):
        actors = identity.actors_with({ticket.key_id for ticket in tickets})
        machines = machines_now({id for ticket in tickets for id in ticket.machines})
        clusters = clusters_now({id for ticket in tickets for id in ticket.clusters})
    judged = ((ticket, _verdict(ticket, actors[ticket.key_id], machines, clusters)) for ticket in tickets)
    return [(ticket, sentence) for ticket, sentence in judged if sentence]


def _verdict(ticket: Open, actor: Actor | str, machines: dict[UUID, Seen], clusters: dict[UUID, Seen]) -> str:
    """Why it has to end; empty if it may go on."""
    if isinstance(actor, str):
        return actor
    same_actor = actor == ticket.actor
    for kind, mine, now in (("machine", ticket.machines, machines), ("cluster", ticket.clusters, clusters)):
        for object_id, before in mine.items():
            after = now.get(object_id)
            if after is None:
                return f"{kind} {before[0].name} is not in this organisation any more"
            if after == before and same_actor:
                continue
            if after[1] != before[1]:
                return f"machine {before[0].name} is not in the cluster any more that it was in"
            if reason := ticket.still(actor, after[0]):
                return reason
            mine[object_id] = after
    ticket.actor = actor
    return ""


def _discard(groups: defaultdict[UUID, set[Open]], key: UUID, ticket: Open) -> None:
    group = groups.get(key)
    if group is not None:
        group.discard(ticket)
        if not group:
            del groups[key]
