"""Pages of agents: the list, and one agent with what it found."""

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render

from apps.access.check import allowed
from apps.dashboard.page import PageRequest, in_order, page, show
from apps.machines import agent_queries, agents, states
from apps.machines.joinpage import agent_command
from apps.machines.models import AgentTarget, JoinToken
from apps.reconcile.conditions import Shown

ROWS = 200
"""Agents on the list, and targets in each part of an agent's page; more are counted."""


@dataclass(frozen=True)
class Row:
    """An agent as its row or its page shows it."""

    agent: Any
    state: Shown


@dataclass(frozen=True)
class Found:
    """What an agent found at an address, as a row shows it."""

    target: AgentTarget
    state: Shown
    name: str  # of the machine that it leads to


def found_of(target: AgentTarget) -> Found:
    """What is shown of one target."""
    machine = target.machine
    name = (machine.observation.hostname or machine.uuid[:8]) if machine else ""
    return Found(target, states.target_state(target), name)


@page("agent.list")
def agent_list(request: PageRequest) -> HttpResponse:
    """The agents; without any, how to run one."""
    query = request.GET.get("q", "")
    error = ""
    try:
        found = agent_queries.search(agent_queries.agents(), query)
    except ValueError as problem:
        error, found = str(problem), agent_queries.agents()
    total = found.count()
    context = {
        "rows": [
            Row(agent, states.agent_state(agent)) for agent in in_order(found, agent_queries.SORTS, "name")[:ROWS]
        ],
        "query": query,
        "error": error,
        "total": total,
        "rest": max(0, total - ROWS),
        **_command(request),
    }
    if request.headers.get("HX-Request"):
        return render(request, "agents/table.html", {"organisation": request.organisation, **context})
    return show(request, "agents/list.html", context, "agents", "agent,join-token")


def _command(request: PageRequest) -> dict[str, Any]:
    """How to run an agent, for those who may see join tokens."""
    can_join = allowed(request.actor, "join-token.reveal")
    token = JoinToken.objects.filter(is_default=True).first() if can_join else None
    return {"can_join": can_join, "token": token, "command": agent_command("●●●●●●") if token else ""}


def _agent(name: str) -> Any:
    agent = agent_queries.agents().filter(name=name).first()
    if agent is None:
        raise Http404(f"no agent {name} in this organisation")
    return agent


@page("agent.list")
def agent_detail(request: PageRequest, name: str) -> HttpResponse:
    """One agent: what it found, what is wrong, which machines it reaches."""
    agent = _agent(name)
    found = [found_of(target) for target in agent_queries.targets(agent, request.actor)]
    context = {
        "row": Row(agent, states.agent_state(agent)),
        "agent": agent,
        "new": [item for item in found if item.state.shape == "ask"][:ROWS],
        "troubled": [item for item in found if item.target.problem][:ROWS],
        "joined": [item for item in found if item.state.shape == "ok"][:ROWS],
        "looking": sum(item.state.shape == "work" for item in found),
        "can_accept": allowed(request.actor, "agent.accept"),
        "can_remove": allowed(request.actor, "agent.remove"),
    }
    if request.headers.get("HX-Request"):
        return render(request, "agents/overview.html", {"organisation": request.organisation, **context})
    return show(request, "agents/detail.html", context, "agents", "agent,machine")


@page("agent.accept")
def agent_accept(request: PageRequest, name: str) -> HttpResponse:
    """Make machines of what an agent found: at the addresses given, each by itself."""
    agent = _agent(name)
    if request.method == "POST":
        wanted = request.POST.getlist("address")
        accepted = 0
        for target in agent_queries.targets(agent, request.actor).filter(address__in=wanted):
            try:
                with transaction.atomic():
                    agents.accept(request.actor, target)
                accepted += 1
            except ValidationError as error:
                messages.error(request, " ".join(error.messages))
        if accepted:
            messages.success(request, f"{accepted} machine{'s' * (accepted != 1)} accepted.")
    return redirect("agent", request.organisation.slug, name)


@page("agent.remove")
def agent_remove(request: PageRequest, name: str) -> HttpResponse:
    """Turn an agent away for good."""
    agent = _agent(name)
    if request.method != "POST":
        return redirect("agent", request.organisation.slug, name)
    agents.remove(request.actor, agent)
    messages.success(request, f"Agent {name} is removed. Machines that only it reached have no link now.")
    return redirect("agents", request.organisation.slug)
