"""Pages of machines: the list, one machine, joining."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone

from apps.access.check import allowed, check
from apps.dashboard.history_parts import SHORT_EVENTS, SHORT_LINES, event_view, log_view
from apps.dashboard.page import PageRequest, drops, headings, in_order, page, show, start_of
from apps.machines import actions, agent_queries, queries, states
from apps.machines.history import EventFilter, LogFilter
from apps.machines.joinpage import agent_command, join_arguments
from apps.machines.models import AgentTarget, JoinToken, Link, Machine
from apps.mesh.listing import part_of
from apps.reconcile.conditions import Shown
from apps.tenants.windows import window
from nodeagent.inventory import node_addresses

ROWS = 50
ARRIVALS = 6
VIEWS = (("", "All", "all"), ("free=yes state=free", "Free", "free"), ("state=ready", "Running", "ready"),
         ("state=degraded", "Degraded", "degraded"), ("state=off", "Not connected", "off"))  # fmt: skip
"""Saved views: query, title, key of the count."""

COLUMNS = (("name", "Machine"), ("state", "State"), ("cluster", "Cluster"), ("talos", "Talos"), ("", "Link, address"),
            ("cores", "CPU · GB"), ("", "Labels"), ("joined", "Since"))  # fmt: skip


TRANSPORTS = {Link.UDP: "WireGuard over UDP", Link.GRPC: "WireGuard over gRPC", Link.AGENT: "an agent"}
"""How a link is carried, in words."""


@dataclass(frozen=True)
class Way:
    """An agent that reaches a machine, at an address."""

    target: AgentTarget
    state: Shown
    agent: Shown


@dataclass(frozen=True)
class Row:
    """A machine as a row or a page shows it."""

    machine: Machine
    state: Shown
    name: str
    cluster: str | None
    role: str
    stale: bool
    addresses: list[str]
    transport: str
    since: Any


def row_of(machine: Machine) -> Row:
    """What is shown of one machine."""
    observed = machine.observation
    cluster = states.cluster_of(machine)
    conditions = machine.status.conditions if hasattr(machine, "status") else []
    member = getattr(machine, "cluster_machine", None)
    link = getattr(machine, "link", None)
    since = max([item["since"] for item in conditions if item.get("since")], default=None)
    return Row(
        machine=machine,
        state=states.machine_state(observed, cluster),
        name=observed.hostname or machine.uuid[:8],
        cluster=cluster,
        role=member.role if member is not None else "",
        stale=states.stale(observed, timezone.now()),
        addresses=node_addresses(observed.addresses),
        transport=TRANSPORTS.get(link.transport if link else "", ""),
        since=observed.connected_changed_at or since or machine.created_at,
    )


@page("machine.list")
def machine_list(request: PageRequest) -> HttpResponse:
    """The list of machines: filter, sort, live rows, more as one scrolls."""
    query, sort = request.GET.get("q", ""), request.GET.get("sort", "name")
    start = start_of(request)
    seen, error = queries.visible(request.actor, queries.listed()), ""
    try:
        rows = queries.search(seen, query)
    except ValueError as problem:
        error, rows = str(problem), seen
    counts = queries.counts(seen)
    total = rows.count() if query else counts["all"]
    shown = window(in_order(rows, queries.SORTS, sort), start, start + ROWS)
    more = start + len(shown)
    context = {
        "rows": [row_of(machine) for machine in shown],
        "query": query,
        "sort": sort,
        "error": error,
        "total": total,
        "drops": [] if shown or error else drops(lambda text: queries.search(seen, text).count(), query),
        "more": urlencode({"q": query, "sort": sort, "from": more}) if more < total else "",
        "counts": counts,
        "views": VIEWS,
        "columns": headings(COLUMNS, query, sort),
        "links": _joining("created_at", 50),
        "can_join": allowed(request.actor, "join-token.reveal"),
    }
    if start:
        return render(request, "machines/rows.html", {**context, "organisation": request.organisation})
    return show(request, "machines/list.html", context, "machines", "machine,link")


@page("machine.list")
def machine_row(request: PageRequest, uuid: str) -> HttpResponse:
    """One row of the list, for a live swap."""
    row = row_of(machine_of(request, uuid))
    return render(request, "machines/row.html", {"row": row, "organisation": request.organisation})


@page("machine.list")
def machine_count(request: PageRequest) -> HttpResponse:
    """How many machines match now, beside what the page shows, for a live swap."""
    seen = queries.visible(request.actor, queries.machines())
    try:
        total = queries.search(seen, request.GET.get("q", "")).count()
    except ValueError:
        total = seen.count()
    return render(
        request,
        "includes/count.html",
        {"total": total, "shown": request.GET.get("shown", ""), "noun": "machine",
         "src": request.get_full_path(), "topics": "machine:*"},
    )  # fmt: skip


@page("machine.list")
def pending_links(request: PageRequest) -> HttpResponse:
    """Machines that called and are not registered yet, for a live swap."""
    context = {"links": _joining("created_at", 50), "organisation": request.organisation}
    return render(request, "machines/pending.html", context)


def _joining(order: str, most: int) -> list[tuple[Link, Shown]]:
    """Links whose machines called and are not registered yet, with their states."""
    pending = Link.objects.filter(state=Link.PENDING).order_by(order)[:most]
    return [(link, states.link_state(link)) for link in pending]


def machine_of(request: PageRequest, uuid: str) -> Machine:
    """The machine of a page's address, on which the page's verb is allowed. Raises Http404, Denied."""
    machine = queries.machines().filter(uuid=uuid).first()
    if machine is None:
        raise Http404(f"no machine {uuid} in this organisation")
    check(request.actor, request.verb, machine)
    return machine


@page("machine.read")
def machine_detail(request: PageRequest, uuid: str) -> HttpResponse:
    """One machine: what it is, does and says."""
    context = _detail(request, uuid)
    context["log"] = log_view(context["machine"], LogFilter(), "", SHORT_LINES)
    context["part"] = part_of(request.actor, context["machine"])
    context["events"] = event_view(context["machine"], EventFilter(), "", SHORT_EVENTS)
    return show(request, "machines/detail.html", context, "machines", "machine")


@page("machine.read")
def machine_overview(request: PageRequest, uuid: str) -> HttpResponse:
    """The changing part of a machine's page, for a live swap."""
    return render(request, "machines/overview.html", {"organisation": request.organisation, **_detail(request, uuid)})


def _detail(request: PageRequest, uuid: str) -> dict[str, Any]:
    machine = machine_of(request, uuid)
    member = getattr(machine, "cluster_machine", None)
    conditions = list(machine.status.conditions) if hasattr(machine, "status") else []
    if member is not None:
        conditions += member.conditions
    labels = queries.labels_of(machine)
    link = getattr(machine, "link", None)
    ways = agent_queries.ways_to(machine) if link is not None and not link.reaches_us else ()
    return {
        "row": row_of(machine),
        "machine": machine,
        "observed": machine.observation,
        "link": link,
        "ways": [Way(target, states.target_state(target), states.agent_state(target.agent)) for target in ways],
        "member": member,
        "conditions": conditions,
        "own_labels": machine.labels,
        "machine_labels": {key: value for key, value in labels.items() if key not in machine.labels},
        "can_label": allowed(request.actor, "machine.label", on=machine),
        "can_remove": allowed(request.actor, "machine.remove", on=machine) and member is None,
    }


@page("machine.label")
def machine_label(request: PageRequest, uuid: str) -> HttpResponse:
    """Replace a machine's own labels by lines of `key=value`."""
    machine = machine_of(request, uuid)
    if request.method == "POST":
        pairs = [line.partition("=") for line in request.POST.get("labels", "").split() if line]
        try:
            actions.set_machine_labels(request.actor, machine, {key: value for key, _, value in pairs})
        except ValidationError as error:
            messages.error(request, " ".join(error.messages))
    return redirect("machine", request.organisation.slug, machine.uuid)


@page("machine.remove")
def machine_remove(request: PageRequest, uuid: str) -> HttpResponse:
    """Forget a machine."""
    machine = machine_of(request, uuid)
    if request.method != "POST":
        return redirect("machine", request.organisation.slug, uuid)
    try:
        actions.remove_machine(request.actor, machine)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("machine", request.organisation.slug, uuid)
    messages.success(request, f"Machine {str(uuid)[:8]} is forgotten. It comes back as a new one if it dials in again.")
    return redirect("machines", request.organisation.slug)


@page("join-token.list")
def join(request: PageRequest) -> HttpResponse:
    """How machines join: arguments, documents, tokens, and who arrives."""
    now = timezone.now()
    tokens = list(JoinToken.objects.order_by("-is_default", "name"))
    chosen = next((t for t in tokens if str(t.id) == request.GET.get("token")), None)
    chosen = chosen or next((t for t in tokens if t.is_default), tokens[0] if tokens else None)
    tunnel = request.GET.get("tunnel") == "on"
    context = {
        "tokens": [(token, states.token_state(token, now)) for token in tokens],
        "chosen": chosen,
        "chosen_state": states.token_state(chosen, now) if chosen else None,
        "tunnel": tunnel,
        "join": join_arguments("●●●●●●", tunnel) if chosen else None,
        "can_create": allowed(request.actor, "join-token.create"),
        "once": uuid4().hex,
        "config": settings.CONFIG,
        **_arrivals(request),
    }
    return show(request, "machines/join.html", context, "join", "link,machine,join-token")


@page("join-token.list")
def arriving(request: PageRequest) -> HttpResponse:
    """Who arrives, for a live swap."""
    return render(request, "machines/arriving.html", {"organisation": request.organisation, **_arrivals(request)})


def _arrivals(request: PageRequest) -> dict[str, Any]:
    """Machines that came last, and those on their way."""
    newest = queries.visible(request.actor, queries.machines()).order_by("-created_at")[:ARRIVALS]
    return {"arrived": [row_of(machine) for machine in newest], "links": _joining("-id", ARRIVALS)}


@page("join-token.reveal")
def join_secret(request: PageRequest, token_id: str, form: str) -> HttpResponse:
    """The kernel arguments, documents or an agent's command with the token in them; audited."""
    if request.method != "POST":
        return HttpResponse(status=405)
    row = JoinToken.objects.filter(id=token_id).first()
    if row is None:
        raise Http404("no such join token")
    token = actions.reveal_join_token(request.actor, row)
    join = join_arguments(token, request.GET.get("tunnel") == "on")
    texts = {"arguments": join.kernel_arguments, "agent": agent_command(token)}
    text = texts.get(form, join.documents)
    return HttpResponse(text, content_type="text/plain", headers={"Cache-Control": "no-store"})
