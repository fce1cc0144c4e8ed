"""REST: service accounts."""

from typing import Any, ClassVar

from django.db.models import Q, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.response import Response

from apps.accounts import keys, queries, service_accounts
from apps.accounts.key_api import AccessKeySerializer
from apps.accounts.models import ROLE_CHOICES, ServiceAccount
from apps.accounts.token_serializers import NewApiTokenSerializer
from apps.api.base import TenantRequest, TenantViewSet


class ServiceAccountSerializer(serializers.ModelSerializer[ServiceAccount]):
    tokens = serializers.IntegerField(read_only=True, default=0, help_text="Usable API tokens.")
    keys = serializers.IntegerField(read_only=True, default=0, help_text="Usable keys for talosctl and kubectl.")
    last_used_at = serializers.DateTimeField(
        read_only=True, default=None, help_text="When any of its credentials was used."
    )

    class Meta:
        model = ServiceAccount
        fields = ["id", "name", "description", "role", "tokens", "keys", "last_used_at", "created_by", "created_at"]
        read_only_fields = ["id", "created_by", "created_at"]
        extra_kwargs: ClassVar[dict[str, Any]] = {"description": {"allow_blank": True}}


class NewServiceAccountTokenSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=80, help_text="What uses it.")
    role = serializers.ChoiceField(choices=ROLE_CHOICES, required=False, help_text="The account's own by default.")
    expires_at = serializers.DateTimeField(required=False, allow_null=True, default=None)


class NewServiceAccountKeySerializer(serializers.Serializer[Any]):
    public_key = serializers.CharField(
        max_length=16 * 1024, help_text="An OpenPGP key that lives a year at most: armored, without its private half."
    )
    name = serializers.CharField(
        max_length=120, required=False, default="", help_text="What uses it; by default what the key itself says."
    )
    role = serializers.ChoiceField(choices=ROLE_CHOICES, required=False, help_text="The account's own by default.")


class ServiceAccountViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, TenantViewSet):
    """Programs that act by themselves, by name. Their credentials are under `api-tokens` and `access-keys`."""

    kind = "service-account"
    verbs: ClassVar[dict[str, str]] = {
        "list": "service-account.list",
        "retrieve": "service-account.list",
        "create": "service-account.write",
        "partial_update": "service-account.write",
        "destroy": "service-account.write",
        "tokens": "service-account.write",
        "keys": "service-account.write",
    }
    serializer_class = ServiceAccountSerializer
    lookup_field = "name"
    lookup_value_regex = "[^/]+"
    filterset_fields = ["role"]
    sorts: ClassVar[dict[str, tuple[str, ...]]] = service_accounts.SORTS

    def get_queryset(self) -> QuerySet[ServiceAccount]:
        return service_accounts.service_accounts()

    def search(self, rows: QuerySet[ServiceAccount], text: str) -> QuerySet[ServiceAccount]:
        text = queries.searchable(text)
        return rows.filter(Q(name__icontains=text) | Q(description__icontains=text))

    def create(self, request: TenantRequest, slug: str) -> Response:
        """Make a service account, with a role no higher than the caller's."""
        given = self.get_serializer(data=request.data)
        given.is_valid(raise_exception=True)
        values = given.validated_data
        row = service_accounts.create(request.actor, values["name"], values["role"], values.get("description", ""))
        return Response(self.get_serializer(self.find(row.name)).data, status=status.HTTP_201_CREATED)

    def partial_update(self, request: TenantRequest, slug: str, name: str) -> Response:
        """Change role or description. A service account keeps its name."""
        row = self.get_object()
        given = self.get_serializer(row, data=request.data, partial=True)
        given.is_valid(raise_exception=True)
        values = given.validated_data
        if values.get("name", name) != name:
            raise ValidationError({"name": f"a service account keeps its name: {name}"})
        service_accounts.update(
            request.actor, row, values.get("role", row.role), values.get("description", row.description)
        )
        return Response(self.get_serializer(self.find(name)).data)

    def destroy(self, request: TenantRequest, slug: str, name: str) -> Response:
        """End it and every credential of it, at once."""
        service_accounts.delete(request.actor, self.get_object())
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(request=NewServiceAccountTokenSerializer, responses={201: NewApiTokenSerializer})
    @action(detail=True, methods=["post"])
    def tokens(self, request: TenantRequest, slug: str, name: str) -> Response:
        """Make an API token that acts for it; the secret is answered this once."""
        row = self.get_object()
        given = NewServiceAccountTokenSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        values = given.validated_data
        made = service_accounts.create_token(
            request.actor, row, values["name"], values.get("role", ""), values["expires_at"]
        )
        answer = NewApiTokenSerializer(made.row).data | {"secret": made.secret}
        return Response(answer, status=status.HTTP_201_CREATED)

    @extend_schema(request=NewServiceAccountKeySerializer, responses={201: AccessKeySerializer})
    @action(detail=True, methods=["post"])
    def keys(self, request: TenantRequest, slug: str, name: str) -> Response:
        """Let it sign talosctl's calls with a key whose private half stays where it was made."""
        row = self.get_object()
        given = NewServiceAccountKeySerializer(data=request.data)
        given.is_valid(raise_exception=True)
        values = given.validated_data
        key = keys.add_signing_key(
            request.actor, row, values["public_key"], role=values.get("role", ""), name=values["name"]
        )
        return Response(AccessKeySerializer(key).data, status=status.HTTP_201_CREATED)
