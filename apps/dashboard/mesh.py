"""Pages of meshes: all clusters, one of them as a picture and in tables, a machine's part in it."""

from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpResponse
from django.shortcuts import render

from apps.access.check import allowed
from apps.clusters import queries as clusters
from apps.clusters.models import Cluster
from apps.dashboard.clusters import cluster_of
from apps.dashboard.machines import machine_of
from apps.dashboard.page import PageRequest, page, show
from apps.mesh import listing, meshes, picture, reconcile_mesh, states
from apps.mesh.listing import Filter, PairRow, part_of
from apps.mesh.meshes import Summary, View
from apps.mesh.models import MeshStatus
from apps.reconcile.conditions import WORST_FIRST, Shown
from kubespan.sites import LABELS

ROWS = 50
MOST_ROWS = 500
"""Of a list that is fetched anew with all that was scrolled to."""

PROBLEMS = 50
SITES = 8

VIEWS = (("", "Problems"), ("nodes", "Nodes"), ("pairs", "Pairs"), ("sites", "Sites"))
MATRIX = 12
"""Sites of which each pair has a cell."""
KEPT = ("view", "node", "q", "state", "reason", "site")
"""What the address of the page says of it."""


@dataclass(frozen=True)
class Row:
    """A cluster's mesh as the list shows it, of the last reading."""

    cluster: Cluster
    status: MeshStatus
    told: Summary


@dataclass(frozen=True)
class Looked:
    """A mesh that somebody looks at."""

    cluster: Cluster
    status: MeshStatus
    view: View
    state: Shown

    @property
    def on(self) -> bool:
        return self.status.kubespan == MeshStatus.ON


def row_of(request: PageRequest, cluster: Cluster) -> Row:
    """What the list shows of a cluster that comes with its mesh."""
    status: MeshStatus = getattr(cluster, "mesh", None) or MeshStatus(cluster=cluster)
    return Row(cluster, status, meshes.summary(request.actor, status))


@page("cluster.list")
def mesh_list(request: PageRequest) -> HttpResponse:
    """The meshes of all clusters, the worst first."""
    context = _rows(request)
    if request.headers.get("HX-Request"):
        return render(request, "mesh/rows.html", {"organisation": request.organisation, **context})
    return show(request, "mesh/meshes.html", context, "mesh", "cluster,mesh")


def _rows(request: PageRequest) -> dict[str, Any]:
    found = clusters.visible(request.actor, Cluster.objects.select_related("mesh").order_by("name"))
    rows = [row_of(request, cluster) for cluster in found]
    rows.sort(key=lambda row: WORST_FIRST.index(row.told.state.shape))
    return {"rows": rows}


def look(request: PageRequest, name: str) -> Looked:
    """The mesh of the address, as this person may see it."""
    cluster = cluster_of(request, name)
    status = meshes.status_of(cluster)
    view = meshes.view_of(request.actor, status)
    return Looked(cluster, status, view, meshes.summary(request.actor, status, view).state)


@page("cluster.read")
def cluster_mesh(request: PageRequest, name: str) -> HttpResponse:
    """Who of a cluster's nodes hears whom: live picture, what is wrong and why, all nodes and pairs."""
    looked = look(request, name)
    reconcile_mesh.look(looked.status, request.actor.organisation_id)
    if request.GET.get("from"):
        return render(request, "mesh/further.html", {"organisation": request.organisation, **_list(request, looked)})
    context = _page(request, looked)
    return show(request, "mesh/mesh.html", context, "mesh", "mesh,cluster")


@page("cluster.read")
def cluster_mesh_part(request: PageRequest, name: str, part: str) -> HttpResponse:
    """A part of the page, for a live swap: to show its head anew is to look on."""
    looked = look(request, name)
    makers = {"head": _head, "picture": _picture, "node": _panel, "list": _list, "all": _page}
    if part not in makers:
        raise Http404(f"the page of a mesh has no part {part}")
    if part in ("head", "all"):
        reconcile_mesh.look(looked.status, request.actor.organisation_id)
    context = {"organisation": request.organisation, **makers[part](request, looked)}
    return render(request, f"mesh/{part}.html", context)


def _page(request: PageRequest, looked: Looked) -> dict[str, Any]:
    context: dict[str, Any] = {}
    for make in (_head, _picture, _panel, _list):
        context |= make(request, looked)
    return context


def _head(request: PageRequest, looked: Looked) -> dict[str, Any]:
    given = {key: request.GET[key] for key in KEPT if request.GET.get(key)}
    others = clusters.visible(
        request.actor, Cluster.objects.filter(mesh__kubespan=MeshStatus.ON).exclude(id=looked.cluster.id)
    )
    return {
        "cluster": looked.cluster,
        "status": looked.status,
        "mesh": looked.view.mesh,
        "state": looked.state,
        "on": looked.on,
        "unread": looked.view.unread,
        "given": urlencode(given),
        "others": others.order_by("name")[:ROWS],
        "up": looked.view.mesh.counts[states.BY_NAME["up"]],
        "can_enable": allowed(request.actor, "cluster.update", on=looked.cluster),
    }


def _picture(request: PageRequest, looked: Looked) -> dict[str, Any]:
    view = looked.view
    drawn = picture.draw(view.mesh, view.problems, _chosen(request, view))
    return {**_head(request, looked), "picture": drawn, "told": _told(view)}


def _told(view: View) -> str:
    """What the picture shows, in words."""
    groups = view.mesh.groups
    sites = ", ".join(f"{site.name} with {states.count(site.size, 'node')}" for site in groups[:SITES])
    more = f" and {len(groups) - SITES} more" if len(groups) > SITES else ""
    return f"{states.count(len(groups), 'site')}: {sites}{more}. The tables beside it list all that is wrong."


def _chosen(request: PageRequest, view: View) -> int | None:
    """The node that is looked at: the one of the address, else the first of the gravest problem."""
    name = request.GET.get("node", "")
    if name in view.index:
        return view.index[name]
    return view.problems[0].about if view.problems else None


def _panel(request: PageRequest, looked: Looked) -> dict[str, Any]:
    """One node, with what keeps it from others; and the sites."""
    view, status = looked.view, looked.status
    chosen = _chosen(request, view)
    about = [problem for problem in view.problems if chosen is not None and _concerns(problem, chosen)]
    first = {problem.kind: problem for problem in reversed(about)}
    kinds = [problem for problem in about if first[problem.kind] is problem][:2]
    groups = view.mesh.groups
    worst = sorted(range(len(groups)), key=lambda n: (groups[n].up == groups[n].total, -groups[n].size))
    return {
        **_head(request, looked),
        "chosen": listing.node_row(view, chosen) if chosen is not None else None,
        "missing": name if (name := request.GET.get("node", "")) and name not in view.index else "",
        "reasons": [
            {
                "title": states.REASONS[problem.kind],
                "what": problem.sentence.partition(": ")[2] or problem.sentence,
                "row": listing.problem_row(view, problem, status.since),
                "advice": states.advice(
                    problem.kind, view.mesh.nodes[problem.about].name, view.mesh.nodes[problem.others[0]].name
                ),
            }
            for problem in kinds
        ],
        "sites": [groups[number] for number in worst[:SITES]] if chosen is None else [],
        "more_sites": max(0, len(groups) - SITES),
    }


def _concerns(problem: Any, node: int) -> bool:
    return problem.about == node or node in problem.others


def _list(request: PageRequest, looked: Looked) -> dict[str, Any]:
    view, chosen = looked.view, request.GET.get("view", "")
    chosen = chosen if chosen in dict(VIEWS) else ""
    first, size = _number(request, "from", 0), min(MOST_ROWS, max(ROWS, _number(request, "rows", ROWS)))
    context: dict[str, Any] = {
        "error": "",
        "more": "",
        "columns": "1234567" if chosen == "nodes" else "12345678",
        "chosen_view": chosen,
    }
    if chosen == "nodes":
        context |= _nodes(request, view, first, size)
    elif chosen == "pairs":
        context |= _pairs(request, view, first, size)
    elif chosen == "sites":
        context |= _sites(view)
    else:
        since = looked.status.since
        rows = [listing.problem_row(view, problem, since) for problem in view.problems[:PROBLEMS]]
        context |= {"rows": [_named(view, row) for row in rows], "rest": max(0, len(view.problems) - PROBLEMS)}
    counts = {"": len(view.problems), "nodes": view.mesh.size, "pairs": view.mesh.total, "sites": len(view.mesh.groups)}
    return {
        **_head(request, looked),
        **context,
        "views": [(name, title, counts[name]) for name, title in VIEWS],
        "words": {key: request.GET.get(key, "") for key in KEPT},
        "states": [(name, states.pair_state(pair).word) for name, pair in states.BY_NAME.items()],
        "kinds": _kinds(view),
        "site_names": [site.name for site in view.mesh.groups],
    }


def _kinds(view: View) -> list[tuple[str, str, int]]:
    """Reasons that there are now, with how many pairs have each."""
    counts: Counter[str] = Counter()
    for problem in view.problems:
        counts[problem.kind] += len(problem.others)
    return [(kind, states.REASONS[kind], number) for kind, number in counts.most_common()]  # type: ignore[index]


def _nodes(request: PageRequest, view: View, first: int, size: int) -> dict[str, Any]:
    """Nodes, those in trouble first."""
    given = request.GET
    found = listing.nodes(view, given.get("q", ""), given.get("site", ""), given.get("state") == states.TROUBLE)
    found.sort(key=view.mesh.up)
    part = found[first : first + size]
    more = first + len(part)
    return {
        "rows": [listing.node_row(view, i) for i in part],
        "total": len(found),
        "more": _further(request, more) if more < len(found) else "",
    }


def _pairs(request: PageRequest, view: View, first: int, size: int) -> dict[str, Any]:
    """Pairs in order, from a number on."""
    given = request.GET
    try:
        wanted = Filter.parse(view, given.get("state", ""), given.get("reason", ""), given.get("q", ""),
                              given.get("site", ""))  # fmt: skip
    except ValueError as error:
        return {"error": str(error), "rows": []}
    found = list(islice(listing.pairs(view, wanted, first), size + 1))
    rows = [listing.pair_row(view, i, j) for i, j in found[:size]]
    more = found[size] if len(found) > size else None
    return {
        "rows": [_named(view, row) for row in rows],
        "more": _further(request, more[0] * view.mesh.size + more[1]) if more else "",
    }


def _sites(view: View) -> dict[str, Any]:
    """Sites, each with its pairs inside and with all others, and how many are up of those between any two."""
    groups = view.mesh.groups
    cells: dict[tuple[int, int], tuple[int, int]] = {(n, n): (site.up, site.total) for n, site in enumerate(groups)}
    outside = [[0, 0] for _ in groups]
    for item in view.mesh.between:
        cells[item.one, item.other] = cells[item.other, item.one] = item.up, item.total
        for number in (item.one, item.other):
            outside[number][0] += item.up
            outside[number][1] += item.total
    matrix = len(groups) <= MATRIX
    rows = [
        {
            "site": site,
            "inside": (site.up, site.total),
            "outside": tuple(outside[n]),
            "cells": [cells[n, m] for m in range(len(groups))] if matrix else [],
        }
        for n, site in enumerate(groups)
    ]
    return {
        "rows": rows[:MOST_ROWS],
        "rest": max(0, len(rows) - MOST_ROWS),
        "matrix": matrix,
        "labels": LABELS,
    }


def _named(view: View, row: PairRow) -> tuple[PairRow, str, str]:
    """A pair with the names of its nodes."""
    return row, view.mesh.nodes[row.one].name, view.mesh.nodes[row.other].name


def _further(request: PageRequest, number: int) -> str:
    given = {key: request.GET[key] for key in KEPT if request.GET.get(key)}
    return urlencode({**given, "from": number})


def _number(request: PageRequest, name: str, default: int) -> int:
    given = request.GET.get(name, "")
    return int(given) if given.isdecimal() and len(given) < 12 else default


@page("machine.read")
def machine_mesh(request: PageRequest, uuid: str) -> HttpResponse:
    """A machine's part in the mesh of its cluster, for a live swap."""
    machine = machine_of(request, uuid)
    context = {"organisation": request.organisation, "machine": machine, "part": part_of(request.actor, machine)}
    return render(request, "machines/mesh.html", context)
