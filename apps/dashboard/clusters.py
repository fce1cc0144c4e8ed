"""Pages of clusters: the list, one cluster with its creation in progress, its credentials, its end."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import Count, Q
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render

from apps.access.check import allowed, allowed_somewhere, check, hidden_by
from apps.clusters import actions, picking, queries, states, ways
from apps.clusters.models import Cluster, ClusterMachine, MachineSet, MachineSetNode
from apps.clusters.observe_cluster import seen_of, wanted_of
from apps.clusters.observe_machine import machine_name
from apps.dashboard.page import PageRequest, drops, headings, in_order, page, show, start_of
from apps.machines import queries as machines
from apps.machines.models import Machine
from apps.mesh import meshes
from apps.reconcile.conditions import WORST_FIRST, Shown, State

ROWS = 50

COLUMNS = (("name", "Cluster"), ("", "State"), ("", "Machines"), ("", "Control plane"), ("talos", "Talos"),
           ("kubernetes", "Kubernetes"), ("created", "Since"))  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A cluster as the list shows it."""

    cluster: Cluster
    state: Shown
    bar: list[tuple[State, int]]
    etcd: int
    control_planes: int
    wanted: int


@dataclass(frozen=True)
class Member:
    """A machine of a cluster, or one that was picked and is not taken yet."""

    uuid: str
    name: str
    role: str
    set_name: str
    state: Shown
    since: str
    row: ClusterMachine | None = None
    joined: bool = True  # the machine is known here
    current: bool = False  # it runs the config that is wanted


def listed_clusters() -> Any:
    """Clusters with what `row_of` shows of each."""
    control_planes = Q(machines__role=MachineSet.CONTROL_PLANE)
    return queries.clusters().annotate(
        etcd=Count("machines", filter=control_planes & ~Q(machines__etcd_member_id=""), distinct=True),
        control_planes=Count("machines", filter=control_planes, distinct=True),
    )


def wanted_machines(cluster: Any) -> int:
    """How many machines a cluster has or shall have."""
    return max(cluster.machines_wanted, cluster.machines_total)


def row_of(cluster: Any) -> Row:
    """What the list shows of a cluster that comes from `listed_clusters`."""
    wanted = wanted_machines(cluster)
    ready, silent = cluster.machines_ready, cluster.machines_total - cluster.machines_connected
    parts: list[tuple[State, int]] = [
        ("ok", ready),
        ("work", max(0, cluster.machines_total - ready - silent)),
        ("off", silent),
        ("wait", wanted - cluster.machines_total),
    ]
    state = states.cluster_state(cluster)
    return Row(cluster, state, [part for part in parts if part[1]], cluster.etcd, cluster.control_planes, wanted)


@page("cluster.list")
def cluster_list(request: PageRequest) -> HttpResponse:
    """The list of clusters: filter, sort, live rows."""
    query, sort = request.GET.get("q", ""), request.GET.get("sort", "name")
    seen, error = queries.visible(request.actor, listed_clusters()), ""
    try:
        rows = queries.search(seen, query)
    except ValueError as problem:
        error, rows = str(problem), seen
    first = start_of(request)
    total = rows.count()
    window = list(in_order(rows, queries.SORTS, sort)[first : first + ROWS])
    more = first + len(window)
    context = {
        "rows": [row_of(cluster) for cluster in window],
        "query": query,
        "sort": sort,
        "error": error,
        "total": total,
        "everything": seen.count(),
        "drops": [] if window or error else drops(lambda text: queries.search(seen, text).count(), query),
        "more": urlencode({"q": query, "sort": sort, "from": more}) if more < total else "",
        "columns": headings(COLUMNS, query, sort),
        "free": machines.counts(machines.visible(request.actor, Machine.objects.all()))["free"],
        "can_create": allowed_somewhere(request.actor, "template.sync"),
    }
    if first:
        return render(request, "clusters/rows.html", {**context, "organisation": request.organisation})
    return show(request, "clusters/list.html", context, "clusters", "cluster")


@page("cluster.list")
def cluster_row(request: PageRequest, name: str) -> HttpResponse:
    """One row of the list, for a live swap."""
    cluster = queries.visible(request.actor, listed_clusters().filter(name=name)).first()
    if cluster is None:
        return HttpResponse(status=404)
    return render(request, "clusters/row.html", {"row": row_of(cluster), "organisation": request.organisation})


@page("cluster.list")
def cluster_count(request: PageRequest) -> HttpResponse:
    """How many clusters there are now, beside what the page shows, for a live swap."""
    total = queries.visible(request.actor, Cluster.objects.all()).count()
    return render(
        request,
        "includes/count.html",
        {"total": total, "shown": request.GET.get("shown", ""), "noun": "cluster",
         "src": request.get_full_path(), "topics": "cluster:*"},
    )  # fmt: skip


def cluster_of(request: PageRequest, name: str) -> Cluster:
    """The cluster of a page's address, on which the page's verb is allowed. Raises Http404, Denied."""
    cluster = queries.clusters().filter(name=name).first()
    if cluster is None:
        raise Http404(f"no cluster {name} in this organisation")
    check(request.actor, request.verb, cluster)
    return cluster


@page("cluster.read")
def cluster_detail(request: PageRequest, name: str) -> HttpResponse:
    """One cluster: what it is, what it waits for, its machines, the ways in."""
    cluster = cluster_of(request, name)
    context = {
        **_overview(request, cluster),
        **_members(request, cluster),
        "can_download": allowed(request.actor, "cluster.kubeconfig", on=cluster),
        "kubeconfig_ways": _ways(ways.open_to(cluster), ways.WAYS),
        "talosconfig_ways": _ways([ways.NODE, *([ways.OWN] if cluster.own_endpoint else [])], ways.TALOS_WAYS),
        "carrier": _carrier(request, cluster),
        **_mesh(request, cluster),
        "cli": f"omni clusters get {name}\nomni cluster template export {name}",
    }
    return show(request, "clusters/detail.html", context, "clusters", "cluster,machine,mesh")


@page("cluster.read")
def cluster_overview(request: PageRequest, name: str) -> HttpResponse:
    """State, blocker, steps and conditions, for a live swap; says so when the cluster is gone."""
    cluster = queries.visible(request.actor, queries.clusters().filter(name=name)).first()
    if cluster is None:
        return render(request, "clusters/gone.html", {"name": name, "organisation": request.organisation})
    context = {"organisation": request.organisation, **_overview(request, cluster)}
    return render(request, "clusters/overview.html", context)


@page("cluster.read")
def cluster_mesh_line(request: PageRequest, name: str) -> HttpResponse:
    """How its nodes hear each other, for a live swap."""
    cluster = cluster_of(request, name)
    context = {"organisation": request.organisation, "cluster": cluster, **_mesh(request, cluster)}
    return render(request, "clusters/mesh.html", context)


@page("cluster.read")
def cluster_machines(request: PageRequest, name: str) -> HttpResponse:
    """The machines of a cluster, for a live swap."""
    cluster = cluster_of(request, name)
    context = {"organisation": request.organisation, **_members(request, cluster)}
    return render(request, "clusters/machines.html", context)


def _overview(request: PageRequest, cluster: Any) -> dict[str, Any]:
    status = getattr(cluster, "status", None)
    conditions = [
        {**item, "title": states.STEPS.get(item["name"], item["name"].capitalize())}
        for item in (status.conditions if status else [])
    ]
    steps = states.progress(status) if status else []
    return {
        "cluster": cluster,
        "state": states.cluster_state(cluster),
        "blocking": _blocking(conditions),
        "conditions": conditions,
        "creating": status is None or (status.ready_at is None and cluster.deleting_at is None),
        "steps": steps,
        "done": sum(step["state"] == "ok" for step in steps),
        "wanted": wanted_machines(cluster),
        "sets": _sets(cluster),
        "etcd": _etcd(request, cluster),
        "can_export": allowed(request.actor, "template.export", on=cluster),
        "can_destroy": allowed(request.actor, "cluster.destroy", on=cluster),
    }


def _blocking(conditions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What to say first: what is wrong, gravest first; else the one thing that everything after it waits for."""
    wrong = [item for item in conditions if item["state"] in ("bad", "ask", "off", "warn")]
    wrong.sort(key=lambda item: WORST_FIRST.index(item["state"]))
    return wrong[:2] or [item for item in conditions if item["state"] != "ok"][:1]


def _mesh(request: PageRequest, cluster: Cluster) -> dict[str, Any]:
    """How its nodes hear each other over KubeSpan, as it was read last."""
    status = meshes.status_of(cluster)
    return {
        "mesh_status": status,
        "mesh_state": meshes.summary(request.actor, status).state,
        "can_enable": allowed(request.actor, "cluster.update", on=cluster),
    }


def _sets(cluster: Cluster) -> list[dict[str, Any]]:
    """Machine sets with how many machines of each are ready, changing and missing."""
    rows = list(ClusterMachine.objects.filter(cluster=cluster).select_related("machine__observation"))
    result = []
    for machine_set in MachineSet.objects.filter(cluster=cluster).annotate(picked=Count("nodes")).order_by("name"):
        own = [row for row in rows if row.machine_set_id == machine_set.id]
        shapes = [states.member_state(row).shape for row in own]
        wanted = machine_set.machine_count if machine_set.machine_count is not None else machine_set.picked
        shapes += ["wait"] * max(0, wanted - len(own))
        order: list[State] = ["ok", *(state for state in WORST_FIRST if state != "ok")]
        result.append(
            {
                "row": machine_set,
                "name": machine_set.name.removeprefix(f"{cluster.name}-"),
                "total": len(shapes),
                "ready": shapes.count("ok"),
                "bar": [(state, shapes.count(state)) for state in order if state in shapes],
            }
        )
    return result


def _etcd(request: PageRequest, cluster: Cluster) -> dict[str, Any]:
    """The control planes as etcd sees them, and how many of its members may be lost."""
    rows = queries.machines_seen(request.actor, cluster).filter(role=MachineSet.CONTROL_PLANE)
    members: list[dict[str, Any]] = [
        {
            "name": machine_name(row.machine),
            "uuid": row.machine.uuid,
            "id": row.etcd_member_id,
            "version": row.machine.observation.talos_version,
            "state": _etcd_state(row),
        }
        for row in rows
    ]
    count = sum(1 for member in members if member["id"])
    healthy = sum(1 for member in members if member["state"].shape == "ok")
    quorum = count // 2 + 1
    return {"members": members, "count": count, "healthy": healthy, "spare": max(0, healthy - quorum)}


def _etcd_state(row: ClusterMachine) -> Shown:
    observed = row.machine.observation
    if not row.etcd_member_id:
        return Shown("idle", "No member yet", "etcd of this control plane has not joined.")
    if not observed.connected:
        return Shown("off", "Not connected", "Nothing is known of this member while its machine is silent.")
    if observed.stage != "running":
        return Shown("work", "Starting", "The machine is not running yet.")
    return Shown("ok", "Member", "The member is in etcd's list and its machine runs.")


def _members(request: PageRequest, cluster: Cluster) -> dict[str, Any]:
    rows = list(queries.machines_seen(request.actor, cluster))
    members = [
        Member(
            uuid=row.machine.uuid,
            name=machine_name(row.machine),
            role=row.role,
            set_name=row.machine_set.name.removeprefix(f"{cluster.name}-") if row.machine_set else "",
            state=states.member_state(row),
            since=max((item["since"] for item in row.conditions), default=""),
            row=row,
            current=bool(row.applied_sha) and row.applied_sha == row.config_sha,
        )
        for row in rows
    ]
    return {
        "cluster": cluster,
        "members": members + _picked(request, cluster, {member.uuid for member in members}),
        "can_config": allowed(request.actor, "cluster.config", on=cluster),
    }


def _picked(request: PageRequest, cluster: Cluster, taken: set[str]) -> list[Member]:
    """Machines that were picked for the cluster and are not part of it yet."""
    nodes = MachineSetNode.objects.filter(machine_set__cluster=cluster).exclude(machine_uuid__in=taken)
    rows = machines.machines().filter(uuid__in=nodes.values("machine_uuid"))
    known = {machine.uuid: machine for machine in machines.visible(request.actor, rows)}
    if hidden_by(request.actor):
        nodes = nodes.exclude(machine_uuid__in=Machine.objects.exclude(uuid__in=known).values("uuid"))
    return [
        Member(
            uuid=node.machine_uuid,
            name=machine_name(known[node.machine_uuid]) if node.machine_uuid in known else node.machine_uuid[:8],
            role=node.machine_set.role,
            set_name=node.machine_set.name.removeprefix(f"{cluster.name}-"),
            state=_awaited(cluster, node, known.get(node.machine_uuid)),
            since=node.created_at.isoformat(),
            joined=node.machine_uuid in known,
        )
        for node in nodes.select_related("machine_set").order_by("machine_set__role", "machine_uuid")
    ]


def _awaited(cluster: Cluster, node: MachineSetNode, machine: Machine | None) -> Shown:
    wanted = wanted_of(cluster, node.machine_set, machine)
    sentence, state = picking.blocker(node.machine_uuid, seen_of(machine) if machine else None, wanted)
    return Shown(state, "Picked", sentence) if sentence else Shown("work", "Picked", "It is taken in a moment.")


@page("cluster.config")
def machine_config(request: PageRequest, name: str, uuid: str) -> HttpResponse:
    """The config that a machine of the cluster was last given, without its secrets."""
    cluster = cluster_of(request, name)
    row = queries.machines_seen(request.actor, cluster).filter(machine__uuid=uuid).first()
    if row is None:
        raise Http404(f"{name} has no machine {uuid}")
    check(request.actor, request.verb, row.machine)
    context = {"cluster": cluster, "row": row, "machine": row.machine, "title": machine_name(row.machine)}
    return show(request, "clusters/config.html", context, "clusters")


@page("cluster.destroy")
def cluster_destroy(request: PageRequest, name: str) -> HttpResponse:
    """Give all machines back, wiped, and end the cluster; the form says its name."""
    cluster = cluster_of(request, name)
    if request.method == "POST":
        if request.POST.get("name") != name:
            messages.error(request, f"Nothing was destroyed: the name typed was not {name}.")
        else:
            actions.destroy_cluster(request.actor, cluster)
    return redirect("cluster", request.organisation.slug, name)


@page("cluster.talosconfig")
def talosconfig_download(request: PageRequest, name: str) -> HttpResponse:
    """An administrator's talosconfig, audited."""
    return _download(request, name, "talosconfig", actions.download_talosconfig)


@page("cluster.kubeconfig")
def kubeconfig_download(request: PageRequest, name: str) -> HttpResponse:
    """An administrator's kubeconfig, audited."""
    return _download(request, name, "kubeconfig", actions.download_kubeconfig)


def _ways(names: list[str], meanings: dict[str, str]) -> list[dict[str, str]]:
    """Where a downloaded file may point, as radio buttons."""
    titles = {ways.OWN: "Own endpoint", ways.NODE: "Node", ways.OMNI: "Balancer"}
    return [{"name": name, "title": titles[name], "words": meanings[name]} for name in names]


def _carrier(request: PageRequest, cluster: Cluster) -> str:
    """The machine that carries the cluster's virtual IP now, as far as machines told."""
    for row in queries.machines_seen(request.actor, cluster) if cluster.virtual_ip else ():
        if any(address.partition("/")[0] == cluster.virtual_ip for address in row.machine.observation.addresses):
            return machine_name(row.machine)
    return ""


def _download(request: PageRequest, name: str, kind: str, make: Any) -> HttpResponse:
    cluster = cluster_of(request, name)
    if request.method != "POST":
        return redirect("cluster", request.organisation.slug, name)
    try:
        text = make(request.actor, cluster, request.POST.get("endpoint", ""))
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("cluster", request.organisation.slug, name)
    headers = {"Content-Disposition": f'attachment; filename="{name}.{kind}"', "Cache-Control": "no-store"}
    return HttpResponse(text, content_type="application/yaml", headers=headers)
