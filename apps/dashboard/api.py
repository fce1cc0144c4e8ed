"""REST: an organisation at a glance, and the search over everything in it."""

from typing import Any, ClassVar

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_serializer
from rest_framework import serializers
from rest_framework.response import Response

from apps.accounts.identity import Identity, places_of
from apps.api.base import TenantRequest, TenantViewSet
from apps.api.routing import TenantRouter
from apps.dashboard import attention
from apps.dashboard.search import LONGEST, search

router = TenantRouter()


class ItemSerializer(serializers.Serializer[Any]):
    """One thing that needs a person, or that goes on by itself."""

    key = serializers.CharField(help_text="The same as long as the cause is.")
    shape = serializers.CharField(help_text="bad, ask, warn, wait, off; work for what goes on by itself")
    title = serializers.CharField()
    sentence = serializers.CharField(help_text="Why, and what ends it.")
    since = serializers.DateTimeField(allow_null=True)
    kind = serializers.CharField(help_text="Of the object: cluster, machine, agent or join-token.")
    name = serializers.CharField(help_text="Of the object, empty where the item is about several.")
    page = serializers.CharField(help_text="Address of the page that says more.")
    done = serializers.IntegerField(help_text="Steps done, of `steps`; both 0 where there are none.")
    steps = serializers.IntegerField()


class FleetSerializer(serializers.Serializer[Any]):
    needs = ItemSerializer(many=True)
    moving = ItemSerializer(many=True)
    machines = serializers.DictField(child=serializers.IntegerField(), help_text="Machines by state, and `all`.")
    clusters = serializers.DictField(child=serializers.IntegerField(), help_text="Clusters by shape, and `all`.")


class HitSerializer(serializers.Serializer[Any]):
    kind = serializers.CharField(
        help_text="page, act, cluster, machine, agent, join-token, member, organisation or audit"
    )
    name = serializers.CharField()
    detail = serializers.CharField()
    page = serializers.CharField(help_text="Address of its page.")


@extend_schema_serializer(many=False)
class HitsSerializer(serializers.Serializer[Any]):
    items = HitSerializer(many=True)


class StatusViewSet(TenantViewSet):
    """What needs a person now: one document, at an address of its own in `apps/api/urls.py`."""

    verbs: ClassVar[dict[str, str]] = {"retrieve": "organisation.read"}

    @extend_schema(responses=FleetSerializer, operation_id="status")
    def retrieve(self, request: TenantRequest, slug: str) -> Response:
        """What needs a person now (the gravest first), what goes on by itself, and counts."""
        return Response(FleetSerializer(attention.fleet(request.actor, slug, timezone.now())).data)


@router.resource("search")
class SearchViewSet(TenantViewSet):
    """One box over everything."""

    verbs: ClassVar[dict[str, str]] = {"list": "organisation.read"}
    filter_backends = []
    pagination_class = None  # type: ignore[assignment]

    @extend_schema(
        parameters=[OpenApiParameter("q", str, description=f"Words, at most {LONGEST} characters; pages without.")],
        responses=HitsSerializer,
        operation_id="search",
    )
    def list(self, request: TenantRequest, slug: str) -> Response:
        """Clusters, machines, join tokens, pages and things to do whose name fits, a few of each kind."""
        identity = request.auth
        assert isinstance(identity, Identity)
        own = [] if identity.token else places_of(identity)
        hits = search(request.actor, slug, request.query_params.get("q", ""), own)
        return Response(HitsSerializer({"items": hits}).data)
