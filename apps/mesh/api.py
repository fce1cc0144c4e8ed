"""REST: the mesh of a cluster, beside `clusters`: as a whole, its nodes, its pairs."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, ClassVar, TypeVar

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.response import Response

from apps.api.base import TenantRequest, TenantViewSet
from apps.api.pagination import DEFAULT_LIMIT, HIGHEST_LIMIT
from apps.api.routing import TenantRouter
from apps.api.state import StateSerializer
from apps.clusters import queries as clusters
from apps.clusters.models import Cluster
from apps.mesh import listing, meshes, reconcile_mesh, states
from apps.mesh.kubespan_api import KubeSpanActions
from apps.mesh.listing import Filter, NodeRow, PairRow, SideRow
from apps.mesh.meshes import View
from apps.mesh.models import MeshStatus
from apps.reconcile.conditions import Shown
from kubespan.reasons import kinds

router = TenantRouter()

T = TypeVar("T")

MOST_PROBLEMS = 200
MOST_SITES = 200


class MeshSiteSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    nodes = serializers.IntegerField()
    up = serializers.IntegerField(help_text="Pairs inside that are up.")
    pairs = serializers.IntegerField(help_text="Pairs inside.")


class MeshBetweenSerializer(serializers.Serializer[Any]):
    sites = serializers.ListField(child=serializers.CharField(), min_length=2, max_length=2)
    up = serializers.IntegerField()
    pairs = serializers.IntegerField()


class MeshSideSerializer(serializers.Serializer[Any]):
    """What one node says of the other."""

    state = StateSerializer()
    endpoint = serializers.CharField(help_text="Where it sends to now; empty for nowhere.")
    last_used = serializers.CharField(help_text="The endpoint that it chose last; another one when the peer moved.")
    received = serializers.IntegerField(help_text="Bytes.")
    sent = serializers.IntegerField(help_text="Bytes.")
    handshake = serializers.DateTimeField(allow_null=True, help_text="The last one; null for never.")
    changed = serializers.DateTimeField(allow_null=True, help_text="When it last chose another endpoint.")


class MeshPairSerializer(serializers.Serializer[Any]):
    one = serializers.CharField(help_text="Name of a node.")
    other = serializers.CharField(help_text="Name of the other.")
    sites = serializers.ListField(child=serializers.CharField(), min_length=2, max_length=2)
    state = serializers.ChoiceField(choices=list(states.BY_NAME))
    there = MeshSideSerializer(help_text="What `one` says of `other`.")
    back = MeshSideSerializer(help_text="What `other` says of `one`.")
    reason = serializers.ChoiceField(choices=["", *states.REASONS], help_text="Empty while the pair is up.")
    sentence = serializers.CharField(help_text="What is known of the reason.")


class MeshProblemSerializer(MeshPairSerializer):
    """A pair that is not up, seen from the node to look at first."""

    others = serializers.ListField(
        child=serializers.CharField(), help_text="All nodes with which it is so; the first is `other`."
    )
    since = serializers.DateTimeField(allow_null=True, help_text="When it was read first.")
    advice = serializers.ListField(child=serializers.CharField())


class MeshCountsSerializer(serializers.Serializer[Any]):
    total = serializers.IntegerField()
    up = serializers.IntegerField()
    one_sided = serializers.IntegerField(help_text="One hears the other, and is not heard.")
    connecting = serializers.IntegerField()
    down = serializers.IntegerField()
    missing = serializers.IntegerField(help_text="One does not know the other.")
    unread = serializers.IntegerField(help_text="Neither was read.")


class MeshSerializer(serializers.Serializer[Any]):
    """A mesh as it was read last."""

    kubespan = serializers.ChoiceField(choices=["unknown", "on", "off"])
    state = StateSerializer()
    read_at = serializers.DateTimeField(allow_null=True, help_text="Null: it is being read for the first time.")
    complete = serializers.BooleanField(help_text="Whether all nodes were read at that time.")
    nodes = serializers.IntegerField()
    unread = serializers.IntegerField(help_text="Nodes of which nothing was read.")
    pairs = MeshCountsSerializer()
    reasons = serializers.DictField(child=serializers.IntegerField(), help_text="Pairs that are not up, by reason.")
    sites = MeshSiteSerializer(many=True, help_text="Nodes near each other: by label, else by network.")
    between = MeshBetweenSerializer(many=True)
    problems = MeshProblemSerializer(many=True, help_text=f"The gravest first, at most {MOST_PROBLEMS}.")
    more_problems = serializers.IntegerField(help_text="How many are left out.")


class MeshNodeSerializer(serializers.Serializer[Any]):
    id = serializers.CharField(help_text="Its id for discovery.")
    name = serializers.CharField()
    machine = serializers.CharField(allow_null=True, help_text="UUID; null for one that is no machine of yours.")
    role = serializers.CharField()
    site = serializers.CharField()
    state = StateSerializer()
    up = serializers.IntegerField(help_text="With how many of the others it is up.")
    others = serializers.IntegerField()
    address = serializers.CharField(help_text="In the mesh.")
    public_key = serializers.CharField()
    endpoints = serializers.ListField(child=serializers.CharField(), help_text="That it announces.")
    seen_as = serializers.CharField(help_text="Where most others hear it, if it does not announce that.")
    clock = serializers.FloatField(allow_null=True, help_text="Seconds ahead, to half a minute; null: unknown.")
    received = serializers.IntegerField(help_text="Bytes, from all its peers.")
    sent = serializers.IntegerField(help_text="Bytes, to all its peers.")
    heard = serializers.DateTimeField(allow_null=True, help_text="The last handshake of any other with it.")
    read_at = serializers.DateTimeField(allow_null=True)
    unread = serializers.CharField(help_text="Why it was not read, as a clause; empty if it was.")


class MeshNodePageSerializer(serializers.Serializer[Any]):
    items = MeshNodeSerializer(many=True)
    next = serializers.CharField(allow_null=True, help_text="`cursor` of the next page; null on the last.")


class MeshPairPageSerializer(serializers.Serializer[Any]):
    items = MeshPairSerializer(many=True)
    next = serializers.CharField(allow_null=True, help_text="`cursor` of the next page; null on the last.")


_PAGE = [
    OpenApiParameter("cursor", str, description="`next` of the page before."),
    OpenApiParameter("limit", int, description=f"Rows a page, at most {HIGHEST_LIMIT}."),
]
_SITE = OpenApiParameter("site", str, description="Only with this site.")


@router.resource("clusters")
class ClusterMeshViewSet(KubeSpanActions, TenantViewSet):
    """Which nodes of a cluster hear each other over KubeSpan. To ask is to look: they are read while somebody does."""

    verbs: ClassVar[dict[str, str]] = {
        **KubeSpanActions.kubespan_verbs,
        "mesh": "cluster.read",
        "mesh_nodes": "cluster.read",
        "mesh_pairs": "cluster.read",
    }
    serializer_class = MeshSerializer
    lookup_field = "name"
    lookup_value_regex = "[^/]+"

    def get_queryset(self) -> QuerySet[Cluster]:
        return clusters.visible(self.request.actor, Cluster.objects.all())

    @extend_schema(responses=MeshSerializer)
    @action(detail=True, methods=["get"], pagination_class=None)
    def mesh(self, request: TenantRequest, slug: str, name: str) -> Response:
        """The mesh as a whole: counts, sites, and what is wrong with the reason."""
        status, view = self._look()
        return Response(_mesh(status, view, meshes.summary(request.actor, status, view).state))

    @extend_schema(
        responses=MeshNodePageSerializer,
        parameters=[
            OpenApiParameter("q", str, description="Part of a name, an address or an endpoint."),
            _SITE,
            OpenApiParameter("troubled", bool, description="Only nodes that are not up with all others."),
            *_PAGE,
        ],
    )
    @action(detail=True, methods=["get"], pagination_class=None, url_path="mesh/nodes")
    def mesh_nodes(self, request: TenantRequest, slug: str, name: str) -> Response:
        """The nodes, by site, role and name."""
        query = request.query_params
        _, view = self._look()
        found = listing.nodes(
            view, query.get("q", ""), query.get("site", ""), query.get("troubled", "") in ("true", "yes", "1")
        )
        limit, start = _limit(query), _start(query)
        numbers, more = _part(iter(number for number in found if number >= start), limit)
        return Response({"items": [_node(listing.node_row(view, number)) for number in numbers], "next": _next(more)})

    @extend_schema(
        responses=MeshPairPageSerializer,
        parameters=[
            OpenApiParameter(
                "state", str, enum=[*states.BY_NAME, states.TROUBLE],
                description=f"Only in this state; `{states.TROUBLE}`: all that should be up and are not.",
            ),
            OpenApiParameter("reason", str, enum=list(states.REASONS), description="Only for this reason."),
            OpenApiParameter("node", str, description="Only with this node, by name or id."),
            _SITE,
            *_PAGE,
        ],
    )  # fmt: skip
    @action(detail=True, methods=["get"], pagination_class=None, url_path="mesh/pairs")
    def mesh_pairs(self, request: TenantRequest, slug: str, name: str) -> Response:
        """The pairs, each with what both say of each other."""
        query = request.query_params
        _, view = self._look()
        try:
            wanted = Filter.parse(view, *(query.get(word, "") for word in ("state", "reason", "node", "site")))
        except ValueError as error:
            raise ValidationError({"query": str(error)}) from None
        numbers, more = _part(listing.pairs(view, wanted, _start(query)), _limit(query))
        rows = [_pair(view, listing.pair_row(view, i, j)) for i, j in numbers]
        return Response({"items": rows, "next": _next(more[0] * view.mesh.size + more[1] if more else None)})

    def _look(self) -> tuple[MeshStatus, View]:
        status = meshes.status_of(self.get_object())
        reconcile_mesh.look(status, self.request.actor.organisation_id)
        return status, meshes.view_of(self.request.actor, status)


def _part(found: Iterator[T], limit: int) -> tuple[list[T], T | None]:
    """The first so many, and the one behind them."""
    part = list(islice(found, limit + 1))
    return part[:limit], part[limit] if len(part) > limit else None


def _limit(query: Any) -> int:
    given = query.get("limit", str(DEFAULT_LIMIT))
    if not given.isdecimal() or len(given) > 9 or not 1 <= int(given) <= HIGHEST_LIMIT:
        raise ValidationError({"limit": f"{given!r} is not a number from 1 to {HIGHEST_LIMIT}"})
    return int(given)


def _start(query: Any) -> int:
    """Where a page begins: in the order of names, which a node that comes or goes moves a little."""
    given = query.get("cursor", "0")
    if not given.isdecimal() or len(given) > 12:
        raise ValidationError({"cursor": "this cursor is not of this list; begin again without one"})
    return int(given)


def _next(number: int | None) -> str | None:
    return None if number is None else str(number)


def _mesh(status: MeshStatus, view: View, state: Shown) -> dict[str, Any]:
    mesh, problems = view.mesh, view.problems
    groups, counts = mesh.groups, mesh.counts
    return {
        "kubespan": status.kubespan,
        "state": _shown(state),
        "read_at": status.read_at,
        "complete": status.complete,
        "nodes": mesh.size,
        "unread": view.unread,
        "pairs": {
            "total": mesh.total,
            **{name.replace("-", "_"): counts[pair] for pair, name in states.PAIRS.items()},
        },
        "reasons": dict(kinds(problems)),
        "sites": [
            {"name": site.name, "nodes": site.size, "up": site.up, "pairs": site.total} for site in groups[:MOST_SITES]
        ],
        "between": [
            {"sites": [groups[item.one].name, groups[item.other].name], "up": item.up, "pairs": item.total}
            for item in mesh.between[: MOST_SITES * 2]
        ],
        "problems": [
            {
                **_pair(view, row := listing.problem_row(view, problem, status.since)),
                "others": [mesh.nodes[other].name for other in problem.others],
                "since": row.since,
                "advice": states.advice(problem.kind, mesh.nodes[row.one].name, mesh.nodes[row.other].name),
            }
            for problem in problems[:MOST_PROBLEMS]
        ],
        "more_problems": max(0, len(problems) - MOST_PROBLEMS),
    }


def _pair(view: View, row: PairRow) -> dict[str, Any]:
    mesh = view.mesh
    return {
        "one": mesh.nodes[row.one].name,
        "other": mesh.nodes[row.other].name,
        "sites": [mesh.sites[row.one], mesh.sites[row.other]],
        "state": states.PAIRS[row.state],
        "there": _side(row.there),
        "back": _side(row.back),
        "reason": row.kind or "",
        "sentence": row.reason,
    }


def _side(side: SideRow) -> dict[str, Any]:
    fields: Sequence[str] = ("endpoint", "last_used", "received", "sent", "handshake", "changed")
    return {"state": _shown(side.state), **{name: getattr(side, name) for name in fields}}


def _node(row: NodeRow) -> dict[str, Any]:
    fields = ("id", "name", "role", "site", "up", "others", "address", "endpoints", "seen_as", "clock", "received",
              "sent", "heard", "read_at", "unread")  # fmt: skip
    return {
        **{name: getattr(row, name) for name in fields},
        "machine": row.machine or None,
        "public_key": row.key,
        "state": _shown(row.state),
    }


def _shown(state: Shown) -> dict[str, str]:
    return {"shape": state.shape, "word": state.word, "sentence": state.sentence}
