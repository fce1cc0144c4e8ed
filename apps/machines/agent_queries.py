"""Reading agents and what they reach, in a constant number of queries."""

from django.db.models import Count, Q, QuerySet

from apps.access.actor import Actor
from apps.access.check import hidden_by
from apps.machines import queries
from apps.machines.models import Agent, AgentTarget, Machine

SORTS = {
    "name": ("name",),
    "connected": ("observation__connected", "name"),
    "machines": ("machines", "name"),
    "enrolled": ("created_at", "name"),
}


def agents() -> QuerySet[Agent]:
    """The agents of the organisation in scope, with how many machines they reach, have found, and have trouble with."""
    found = Q(targets__machine=None, targets__api_mode="maintenance", targets__problem="")
    return (
        Agent.objects.filter(removed_at=None)
        .select_related("observation", "join_token")
        .annotate(
            machines=Count("targets__machine", distinct=True),
            found=Count("targets", filter=found, distinct=True),
            problems=Count("targets", filter=~Q(targets__problem=""), distinct=True),
        )
    )


def search(rows: QuerySet[Agent], text: str) -> QuerySet[Agent]:
    """Narrow by words in an agent's name, the address it comes from, or what it reaches. Raises ValueError."""
    if "\0" in text:
        raise ValueError("a NUL character is in no name")
    for word in text.split():
        reached = AgentTarget.objects.filter(Q(address__icontains=word) | Q(uuid__icontains=word))
        rows = rows.filter(
            Q(name__icontains=word) | Q(observation__source__icontains=word) | Q(id__in=reached.values("agent_id"))
        )
    return rows


def targets(agent: Agent, actor: Actor) -> QuerySet[AgentTarget]:
    """What an agent reaches, by address; without machines that a policy shuts an actor out of."""
    rows = AgentTarget.objects.filter(agent=agent).select_related(*_SHOWN).order_by("address")
    if not hidden_by(actor):
        return rows
    return rows.filter(Q(machine=None) | Q(machine__in=queries.visible(actor, Machine.objects.all())))


def ways_to(machine: Machine) -> QuerySet[AgentTarget]:
    """By which agents, and at which addresses, a machine is reached; those that work first."""
    rows = AgentTarget.objects.filter(machine=machine).select_related(*_SHOWN)
    return rows.order_by("-agent__observation__connected", "problem", "agent__name", "address")


_SHOWN = ("agent__observation", "machine__observation", "machine__cluster_machine__cluster")
