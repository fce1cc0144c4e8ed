"""REST: policies, and what they make of people: who can reach what, and why."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_serializer
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.response import Response

from apps.access import actions, explain, queries, spec
from apps.access.check import check
from apps.access.models import Policy
from apps.access.policy import GRANT, LIMIT
from apps.api.base import TenantRequest, TenantViewSet
from apps.api.routing import TenantRouter

router = TenantRouter()

USER = OpenApiParameter("user", description="Address, or `service-account:NAME`; oneself by default.")
OBJECT = OpenApiParameter("object", description="`cluster/NAME`, `machine/UUID` or `machine/HOSTNAME`.")


class SpecSerializer(serializers.Serializer[Any]):
    """What a policy says. Fields that say nothing are left out or empty."""

    subjects = serializers.ListField(child=serializers.CharField(), help_text=spec.FIELDS["subjects"])
    effect = serializers.ChoiceField([GRANT, LIMIT], default=GRANT, help_text=spec.FIELDS["effect"])
    role = serializers.CharField(default="", help_text=spec.FIELDS["role"])
    clusters = serializers.ListField(child=serializers.CharField(), default=list, help_text=spec.FIELDS["clusters"])
    cluster_labels = serializers.CharField(default="", help_text=spec.FIELDS["cluster_labels"])
    machine_labels = serializers.CharField(default="", help_text=spec.FIELDS["machine_labels"])
    kubernetes_groups = serializers.ListField(
        child=serializers.CharField(), default=list, help_text=spec.FIELDS["kubernetes_groups"]
    )
    talos_methods = serializers.ListField(
        child=serializers.CharField(), default=list, help_text=spec.FIELDS["talos_methods"]
    )


class PolicySerializer(SpecSerializer):
    """A policy: whom it is about, on what, and what it makes of their role there."""

    id = serializers.UUIDField(read_only=True)
    name = serializers.CharField()
    description = serializers.CharField(default="", allow_blank=True)
    created_at = serializers.DateTimeField(read_only=True)
    updated_at = serializers.DateTimeField(read_only=True)

    def to_representation(self, row: Policy) -> dict[str, Any]:
        said = {field: list(value) if isinstance(value := getattr(row.rule, field), tuple) else value
                for field in spec.FIELDS}  # fmt: skip
        head = {"id": str(row.id), "name": row.name, "description": row.description}
        return {**head, **said, "created_at": row.created_at, "updated_at": row.updated_at}


class HolderSerializer(serializers.Serializer[Any]):
    kind = serializers.CharField(help_text="user or service-account")
    name = serializers.CharField()
    subject = serializers.CharField(help_text="As policies name them.")
    role = serializers.CharField(help_text="In the organisation.")


class ChangeSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(source="holder.name")
    before = serializers.CharField(allow_null=True)
    after = serializers.CharField(allow_null=True, help_text="Null: shut out.")
    on = serializers.ListField(child=serializers.CharField())


class PreviewSerializer(serializers.Serializer[Any]):
    """Whom and what a policy would touch, as things are now."""

    holders = HolderSerializer(many=True)
    clusters = serializers.ListField(child=serializers.CharField())
    machines = serializers.IntegerField()
    changes = ChangeSerializer(many=True)
    unbound = serializers.ListField(child=serializers.CharField(), help_text="Owners, whom no limit binds.")


@router.resource("policies")
class PolicyViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, TenantViewSet):
    """What widens or narrows roles, cluster by cluster and machine by machine."""

    kind = "policy"
    verbs: ClassVar[dict[str, str]] = {
        "list": "policy.list",
        "retrieve": "policy.list",
        "create": "policy.write",
        "update": "policy.write",
        "destroy": "policy.write",
        "preview": "policy.write",
    }
    serializer_class = PolicySerializer
    lookup_field = "name"
    lookup_value_regex = "[^/]+"
    sorts: ClassVar[dict[str, tuple[str, ...]]] = queries.SORTS

    def get_queryset(self) -> QuerySet[Policy]:
        return queries.policies()

    def search(self, rows: QuerySet[Policy], text: str) -> QuerySet[Policy]:
        return queries.search(rows, text)

    @extend_schema(responses={201: PolicySerializer})
    def create(self, request: TenantRequest, slug: str) -> Response:
        """Make a policy. It counts from the next request and call of whom it is about."""
        name, description, given = _given(request)
        row = actions.write_policy(request.actor, name, given, description)
        return Response(self.get_serializer(row).data, status=status.HTTP_201_CREATED)

    def update(self, request: TenantRequest, slug: str, name: str) -> Response:
        """Replace what a policy says; fields that are left out are empty then."""
        row = self.get_object()
        wanted, description, given = _given(request, name)
        row = actions.write_policy(request.actor, wanted, given, description, row)
        return Response(self.get_serializer(row).data)

    def destroy(self, request: TenantRequest, slug: str, name: str) -> Response:
        """End a policy. What was open by it ends within seconds."""
        actions.delete_policy(request.actor, self.get_object())
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(request=PolicySerializer, responses=PreviewSerializer)
    @action(detail=False, methods=["post"])
    def preview(self, request: TenantRequest, slug: str) -> Response:
        """Whom and what a policy would touch, in place of the one of its name; nothing is changed."""
        name, _, given = _given(request)
        rule = actions.read_policy(request.actor, name, given)
        return Response(PreviewSerializer(queries.preview(request.actor, rule)).data)


def _given(request: TenantRequest, name: str = "") -> tuple[str, str, dict[str, Any]]:
    """Name, description and the rest of a policy that was sent; what an answer has beside is left out."""
    if not isinstance(request.data, dict):
        raise ValidationError({"policy": "an object with the fields of a policy is expected"})
    given = {key: value for key, value in request.data.items() if key not in ("id", "created_at", "updated_at")}
    head = [given.pop("name", name), given.pop("description", "")]
    for field, value in zip(("name", "description"), head, strict=True):
        if not isinstance(value, str):
            raise ValidationError({field: "a text is expected"})
    return head[0], head[1], given


class ExplanationSerializer(serializers.Serializer[Any]):
    """A decision with its reasons."""

    verb = serializers.CharField()
    object = serializers.CharField(help_text="Empty: the organisation.")
    allowed = serializers.BooleanField()
    hidden = serializers.BooleanField(help_text="Whether it is not there for them.")
    needed = serializers.CharField(help_text="The role that it takes.")
    held = serializers.CharField(allow_null=True, help_text="The role that they have there.")
    own = serializers.CharField(allow_null=True, help_text="The role that they have in the organisation.")
    ceiling = serializers.CharField(help_text="The most that their credential gives.")
    decided_by = serializers.ListField(
        child=serializers.CharField(), help_text="Policies without which the role there would be another one."
    )
    policies = serializers.ListField(child=serializers.CharField(), help_text="All policies about them there.")
    groups = serializers.ListField(child=serializers.CharField(), help_text="Of Kubernetes, in a cluster.")
    sentence = serializers.CharField()


class ReachSerializer(serializers.Serializer[Any]):
    """What somebody is towards an object."""

    kind = serializers.CharField(source="holder.kind")
    name = serializers.CharField(source="holder.name")
    role = serializers.CharField(source="standing.role", allow_null=True, help_text="There; null: shut out.")
    own = serializers.CharField(source="holder.role", help_text="In the organisation.")
    groups = serializers.ListField(child=serializers.CharField(), source="standing.groups", help_text="Of Kubernetes.")
    methods = serializers.ListField(
        child=serializers.CharField(), source="standing.methods", help_text="Talos methods beyond the role."
    )
    policies = serializers.ListField(child=serializers.CharField(), source="standing.why")


@extend_schema_serializer(many=False)
class ReachesSerializer(serializers.Serializer[Any]):
    object = serializers.CharField()
    items = ReachSerializer(many=True)


@router.resource("access")
class AccessViewSet(TenantViewSet):
    """Who may do what, and why."""

    verbs: ClassVar[dict[str, str]] = {"explain": "access.explain", "who": "access.who"}
    filter_backends = []
    pagination_class = None  # type: ignore[assignment]

    @extend_schema(
        parameters=[
            USER, OBJECT,
            OpenApiParameter("verb", required=True, description="Of the product, `talos:METHOD`, or `kubernetes`."),
        ],
        responses=ExplanationSerializer,
    )  # fmt: skip
    @action(detail=False, methods=["get"])
    def explain(self, request: TenantRequest, slug: str) -> Response:
        """Whether somebody may do something, by which policies, in one sentence. Of others: for admins."""
        asked = {name: request.query_params.get(name, "").strip() for name in ("user", "verb", "object")}
        try:
            actor = queries.actor_named(request.actor, asked["user"])
            on = queries.object_named(request.actor, asked["object"])
            verb = explain.resolve(asked["verb"], on)
        except queries.Unknown as error:
            raise NotFound(str(error)) from None
        except ValueError as error:
            raise ValidationError({"verb": str(error)}) from None
        return Response(ExplanationSerializer(explain.explain(actor, verb, on)).data)

    @extend_schema(parameters=[OBJECT], responses=ReachesSerializer)
    @action(detail=False, methods=["get"])
    def who(self, request: TenantRequest, slug: str) -> Response:
        """Everybody who has a role in the organisation, with what they are towards one cluster or machine."""
        try:
            on = queries.object_named(request.actor, request.query_params.get("object", ""))
        except queries.Unknown as error:
            raise NotFound(str(error)) from None
        if on is None:
            raise ValidationError({"object": "name a cluster or machine: cluster/NAME or machine/NAME"})
        check(request.actor, f"{on.kind}.read", on)
        return Response(ReachesSerializer({"object": str(on), "items": queries.who(on)}).data)
